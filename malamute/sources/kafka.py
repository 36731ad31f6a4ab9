"""Owns the Kafka source: which partitions it has, where each begins, and the loop that fetches and has them stored.

Positions are the store's: Kafka's committed offsets are neither read nor written. Never makes events of messages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from core.clock import Clock
from core.errors import Fenced, InvalidRequest, MalamuteError, NotFound, Unavailable
from core.limits import SOURCE_FENCED_S_MAX, SOURCE_PAUSE_S, SOURCE_RELEASE_S_MAX, SOURCE_THREADS_MAX
from malamute.sources.kafka_partition import Partition, Stored, stored_position
from malamute.sources.kafka_records import KafkaPosition, Shredder
from malamute.sources.report import Report, patience_of
from malamute.sources.store import SourceStore
from malamute.sources.writer import SourceWriter, refused_stream

FETCH_MESSAGES: Final = 5_000
FETCH_S: Final = 0.1
BROKER_WAIT_S_MAX: Final = 10.0

Answer = TypeVar("Answer")
Key = tuple[str, int]

# What exactly-once rests on. Eager rebalancing: the position of a partition is read again in a moment.
FIXED: Final[Mapping[str, Any]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "partition.assignment.strategy": "roundrobin",
}
DEFAULTS: Final[Mapping[str, Any]] = {
    "client.id": "malamute",
    "log_level": 2,  # errors come through error_cb
    "topic.metadata.refresh.interval.ms": 30_000,  # how soon new partitions and topics are seen
    "queued.max.messages.kbytes": 16_384,  # fetched and not yet taken, of all partitions
    "fetch.queue.backoff.ms": 10,  # a full queue is taken in a moment
}
_HOPELESS: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.INVALID_GROUP_ID,
)


@dataclass(frozen=True, slots=True)
class KafkaPlan:
    """What is read, and where it goes. `properties` are librdkafka's, for authentication and the like."""

    stream: str
    brokers: str
    topics: tuple[str, ...]
    group: str
    format: str
    once: bool
    properties: Mapping[str, str]


class KafkaSource:
    """Reads topics into a stream until `stopping` is set, or with `once` up to where its partitions ended.

    run() returns when everything that it began is settled. Raises what the store or Kafka refuse for good.
    """

    def __init__(
        self, plan: KafkaPlan, store: SourceStore, report: Report, clock: Clock, stopping: threading.Event
    ) -> None:
        self._plan = plan
        self._store = store
        self._report = report
        self._clock = clock
        self._stopping = stopping
        self._patience = patience_of(stopping, report, clock, plan.once)
        self._settings = self._patience.settled(partial(store.stream, plan.stream)).settings
        self._partitions: dict[Key, Partition] = {}
        self._ends: dict[Key, int] = {}  # of the partitions when they were looked at first
        self._paused: set[Key] = set()  # in Kafka's client, which keeps it when a partition goes and comes back
        self._fenced_s: dict[Key, float] = {}
        self._assigned = False  # Kafka has said which partitions are this source's
        self._hopeless: KafkaError | None = None
        self._cluster = ""
        self._pool = ThreadPoolExecutor(SOURCE_THREADS_MAX, "partition")

    def run(self) -> None:
        """Read until the end; see the class."""
        consumer = self._consumer()
        try:
            self._cluster = self._look(consumer)
            consumer.subscribe(
                list(self._plan.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._stopping.is_set() and not self._is_done():
                for message in consumer.consume(FETCH_MESSAGES, FETCH_S):
                    self._take(consumer, message)
                self._turn(consumer)
                self._report.progress()
        finally:
            consumer.close()
            self._pool.shutdown()

    def _consumer(self) -> Consumer:
        given = {**DEFAULTS, **self._plan.properties}
        owned = sorted({*FIXED, "bootstrap.servers", "group.id"} & set(self._plan.properties))
        if owned:
            raise InvalidRequest(f"the property {owned[0]!r} is the source's own: leave it out")
        try:
            return Consumer(
                {
                    **given,
                    **FIXED,
                    "bootstrap.servers": self._plan.brokers,
                    "group.id": self._plan.group,
                    "error_cb": self._on_error,
                }
            )
        except KafkaException as error:
            raise InvalidRequest(f"kafka's client refuses its settings: {_words(error.args[0])}") from error

    def _look(self, consumer: Consumer) -> str:
        """The id of the cluster; raises when no broker answers or a topic is not there."""
        try:
            for topic in self._plan.topics:
                if topic.startswith("^"):
                    continue
                found = consumer.list_topics(topic, BROKER_WAIT_S_MAX).topics[topic]
                if found.error is not None and self._plan.once:
                    raise NotFound(f"topic {topic!r}: {_words(found.error)}")
                if found.error is not None:
                    self._report.remark(f"topic {topic!r}: {_words(found.error)}; waiting for it")
            return str(consumer.list_topics(timeout=BROKER_WAIT_S_MAX).cluster_id or "")
        except KafkaException as error:
            if self._hopeless is not None:
                raise InvalidRequest(f"kafka refuses: {_words(self._hopeless)}") from error
            raise Unavailable(f"no kafka broker answers at {self._plan.brokers}: {_words(error.args[0])}") from error

    def _is_done(self) -> bool:
        return (
            self._plan.once
            and self._assigned
            and all(partition.reached(self._ends[key]) for key, partition in self._partitions.items())
        )

    def _take(self, consumer: Consumer, message: Any) -> None:
        error = message.error()
        key = (message.topic(), message.partition())
        if error is None:
            if key in self._partitions:
                self._partitions[key].take(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            if key in self._partitions:
                self._partitions[key].at_end = True
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            self._begin_again(consumer, key)
        else:
            self._on_error(error)

    def _turn(self, consumer: Consumer) -> None:
        if self._hopeless is not None:
            raise InvalidRequest(f"kafka refuses: {_words(self._hopeless)}")
        for key, partition in list(self._partitions.items()):
            if key in self._fenced_s:
                self._check_fenced(key)
                continue
            try:
                self._count(key, partition.turn(self._pool))
            except Fenced:
                self._fenced_s[key] = self._clock.steady_s()
                self._report.remark(f"{_name(key)} was taken over by another source: letting go of it")
            self._hold(consumer, key, partition.full or key in self._fenced_s)
            _, high = consumer.get_watermark_offsets(TopicPartition(*key), cached=True)
            self._report.lag[_name(key)] = max(0, high - partition.stored.next)

    def _check_fenced(self, key: Key) -> None:
        if self._clock.steady_s() - self._fenced_s[key] > SOURCE_FENCED_S_MAX:
            raise Fenced(
                f"{_name(key)} was taken over by another source while it belongs to this one: "
                f"two groups of sources share the name {self._plan.group!r}; give one of them another --group"
            )

    def _hold(self, consumer: Consumer, key: Key, hold: bool) -> None:
        """Let Kafka fetch nothing more of a partition, or go on."""
        if hold == (key in self._paused):
            return
        (consumer.pause if hold else consumer.resume)([TopicPartition(*key)])
        (self._paused.add if hold else self._paused.discard)(key)

    def _count(self, key: Key, stored: Stored | None) -> None:
        if stored is None:
            return
        self._report.count(events=stored.events, refused=stored.refused)
        if stored.refused:
            self._report.remark(f"{_name(key)}: refused records are in {refused_stream(self._plan.stream)}")

    def _on_assign(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        keys: list[Key] = [(one.topic, one.partition) for one in assigned]
        found = list(self._pool.map(self._open, keys))
        self._drop(keys)
        for key, (writer, position) in zip(keys, found, strict=True):
            start = self._begin(consumer, key, position)
            shredder = Shredder(start, self._settings, self._plan.format)
            self._partitions[key] = Partition(writer, shredder, self._clock)
        consumer.assign([TopicPartition(*key, self._partitions[key].next_offset) for key in keys])
        self._assigned = True

    def _open(self, key: Key) -> tuple[SourceWriter, KafkaPosition | None]:
        source_id = f"kafka/{self._plan.group}/{_name(key)}"
        writer = SourceWriter(self._store, self._plan.stream, source_id, self._patience, self._clock)
        return writer, stored_position(self._store, writer, self._at(key, 0), self._plan.stream, self._patience)

    def _at(self, key: Key, offset: int) -> KafkaPosition:
        return KafkaPosition(self._cluster, self._plan.group, *key, offset)

    def _begin(self, consumer: Consumer, key: Key, position: KafkaPosition | None) -> KafkaPosition:
        """Where to begin to read: the stored position, or what of the partition is still there."""
        asked = TopicPartition(*key)
        low, high = self._kafka_settled(partial(consumer.get_watermark_offsets, asked, BROKER_WAIT_S_MAX))
        self._ends.setdefault(key, high)
        if position is None:
            return self._at(key, low)
        if position.next > high:
            raise InvalidRequest(
                f"{_name(key)} is stored up to offset {position.next}, but ends at {high}: the topic was made anew or "
                f"has lost messages; to read it from its beginning, use another --group"
            )
        if position.next < low:
            self._report.count(lost=low - position.next)
            self._report.remark(
                f"LOST: {_name(key)} begins at offset {low}, and is stored up to {position.next}: kafka has deleted "
                f"what lay between; going on at {low}"
            )
        return position._replace(next=max(low, position.next))

    def _begin_again(self, consumer: Consumer, key: Key) -> None:
        """Retention has passed the offset that was asked for."""
        if key not in self._partitions:
            return
        self._on_revoke(consumer, [TopicPartition(*name) for name in self._partitions])
        self._on_assign(consumer, consumer.assignment())

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        deadline_s = self._clock.steady_s() + SOURCE_RELEASE_S_MAX
        for one in revoked:
            key = (one.topic, one.partition)
            if (partition := self._partitions.get(key)) is None:
                continue
            try:
                self._count(key, partition.wait(max(0.0, deadline_s - self._clock.steady_s())))
            except (MalamuteError, TimeoutError) as error:
                # Whether it is stored or not, the next owner finds it out by the position.
                self._report.remark(f"{_name(key)} is let go while a batch is on its way: {error or 'it takes long'}")
        self._drop([(one.topic, one.partition) for one in revoked])

    def _on_lost(self, consumer: Consumer, lost: Sequence[TopicPartition]) -> None:
        self._report.remark("kafka took this source for dead and gave its partitions away; joining again")
        self._drop([(one.topic, one.partition) for one in lost])

    def _drop(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self._partitions.pop(key, None)
            self._fenced_s.pop(key, None)
            self._report.lag.pop(_name(key), None)
        self._assigned = False

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in _HOPELESS:
            self._hopeless = error
        else:
            self._report.remark(f"kafka: {_words(error)}")

    def _kafka_settled(self, question: Callable[[], Answer]) -> Answer:
        """The answer of Kafka, asked again until it comes or nobody waits any more."""
        while True:
            try:
                return question()
            except KafkaException as error:
                if self._plan.once or self._stopping.is_set():
                    raise Unavailable(f"kafka does not answer: {_words(error.args[0])}") from error
                self._report.remark(f"kafka: {_words(error.args[0])}")
                self._stopping.wait(SOURCE_PAUSE_S)


def _name(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


def _words(error: KafkaError) -> str:
    return str(error.str())
