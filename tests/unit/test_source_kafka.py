"""The Kafka source over librdkafka's mock brokers and a store in memory: exactly once through what goes wrong."""

from __future__ import annotations

import io
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from core.append import Ack, AppendRequest
from core.clock import SystemClock
from core.errors import Fenced, InvalidRequest, Unavailable
from core.placement import FIRST
from malamute.sources.kafka import KafkaPlan, KafkaSource
from malamute.sources.kafka_records import KafkaPosition
from malamute.sources.report import Report
from storage.producers import ProducerState
from tests.support.kafka_mock import KafkaMock
from tests.support.memory_store import MemoryStore

confluent_kafka = pytest.importorskip("confluent_kafka")

WAIT_S = 60.0
FETCH, HEARTBEAT = 1, 12  # the numbers of the requests in Kafka's protocol
UNKNOWN_TOPIC, UNKNOWN_MEMBER = 3, 25


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaMock]:
    with KafkaMock() as mock:
        yield mock


_numbers = iter(range(1000))


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of a run of a few messages is waiting for more of them."""
    monkeypatch.setattr("malamute.sources.kafka.FETCH_S", 0.02)


@pytest.fixture
def topic(kafka: KafkaMock) -> str:
    name = f"topic{next(_numbers)}"
    kafka.create_topic(name, 2)
    return name


def produce(kafka: KafkaMock, topic: str, values: list[bytes | None], partition: int = 0, **options: Any) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address, "linger.ms": 1, "log_level": 0})
    for value in values:
        producer.produce(topic, value, partition=partition, **options)
    assert producer.flush(WAIT_S) == 0


def numbered(count: int, first: int = 0) -> list[bytes | None]:
    return [b'{"n": %d}' % n for n in range(first, first + count)]


class Source:
    """A source in a thread of its own."""

    def __init__(self, kafka: KafkaMock, store: MemoryStore, *topics: str, once: bool = False, **plan: Any) -> None:
        self.stopping = threading.Event()
        self.report = Report(io.StringIO(), SystemClock(), as_json=True)
        self.error: BaseException | None = None
        properties = {
            "session.timeout.ms": "1300",
            "heartbeat.interval.ms": "100",
            "fetch.wait.max.ms": "20",
            "reconnect.backoff.ms": "10",
            **plan.pop("properties", {}),
        }
        asked = KafkaPlan(
            **{
                "stream": "logs",
                "brokers": kafka.address,
                "topics": topics,
                "group": f"group-{topics[0]}",
                "format": "json",
                "once": once,
                "properties": properties,
                **plan,
            }
        )
        self.source = KafkaSource(asked, store, self.report, SystemClock(), self.stopping)
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.source.run()
        except BaseException as error:
            self.error = error

    def start(self) -> Source:
        self.thread.start()
        return self

    def end(self) -> Source:
        self.thread.join(WAIT_S)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error
        return self

    def stop(self) -> Source:
        self.stopping.set()
        return self.end()

    @property
    def said(self) -> str:
        return self.report.out.getvalue()  # type: ignore[attr-defined]


class TakesNothing(MemoryStore):
    """A store that takes no batch until it is told to."""

    takes = False

    def result(self, pending: AppendRequest, timeout_s: float) -> Ack:
        if not self.takes:
            raise Unavailable("takes nothing")
        return super().result(pending, timeout_s)


def drain(kafka: KafkaMock, store: MemoryStore, *topics: str, **plan: Any) -> Source:
    return Source(kafka, store, *topics, once=True, **plan).start().end()


def until(condition: Callable[[], bool], *sources: Source) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        for source in sources:
            if source.error is not None:
                raise source.error
        assert time.monotonic() < deadline_s, [source.said for source in sources]
        time.sleep(0.02)


def stored(store: MemoryStore) -> Counter[int]:
    return Counter(event["n"] for event in list(store.events["logs"]))


def test_messages_become_events_with_what_kafka_says_of_them(kafka, topic):
    produce(kafka, topic, [b'{"n": 1}'], key=b"k", headers=[("trace", b"t1")], timestamp=1_700_000_000_123)
    store = MemoryStore()
    source = drain(kafka, store, topic)
    (event,) = store.events["logs"]
    assert event.pop("kafka.timestamp") == event.pop("timestamp")
    assert event.pop("kafka.cluster").startswith("mockCluster")
    assert event == {
        "n": 1,
        "kafka.group": f"group-{topic}",
        "kafka.topic": topic,
        "kafka.partition": 0,
        "kafka.offset": 0,
        "kafka.key": "k",
        "kafka.headers.trace": "t1",
    }
    assert source.report.counts.whole and source.report.counts.events == 1
    assert source.report.lag == {}


def test_a_second_run_goes_on_behind_the_first(kafka, topic):
    store = MemoryStore()
    for first in (0, 50):
        produce(kafka, topic, numbered(50, first), partition=first // 50 % 2)
        drain(kafka, store, topic)
        assert stored(store) == Counter(range(first + 50))
    appends = store.appends
    drain(kafka, store, topic)
    assert store.appends == appends


def test_several_topics_an_empty_one_and_tombstones(kafka, topic):
    kafka.create_topic(f"{topic}-b", 1)
    kafka.create_topic(f"{topic}-empty", 1)
    produce(kafka, topic, numbered(3))
    produce(kafka, f"{topic}-b", [b'{"n": 3}', None], key=b"gone")
    store = MemoryStore()
    drain(kafka, store, topic, f"{topic}-b", f"{topic}-empty")
    events = store.events["logs"]
    assert sorted(event["n"] for event in events if "n" in event) == [0, 1, 2, 3]
    (tombstone,) = [event for event in events if event.get("kafka.tombstone")]
    assert (tombstone["kafka.key"], tombstone["kafka.offset"]) == ("gone", 1)


def test_refused_records_are_kept_once_with_their_offset_and_hold_nothing_up(kafka, topic):
    produce(kafka, topic, [b'{"n": 0}', b"poison", b"", b"[1]", b'{"n": 1}', b"\xff"])
    store = MemoryStore()
    for _ in range(2):
        source = drain(kafka, store, topic)
    assert stored(store) == Counter([0, 1])
    refused = store.events["logs_refused"]
    assert [event["kafka.offset"] for event in refused] == [1, 2, 3, 5]
    assert refused[0]["value"] == "poison" and refused[3]["value"] == b"\xff"
    # The last record is behind the last event: the second run reads it again, and knows that it is kept.
    assert source.report.counts.refused == 0


def test_only_refused_records_are_kept_once(kafka, topic):
    produce(kafka, topic, [b"poison"] * 3)
    store = MemoryStore()
    for _ in range(2):
        drain(kafka, store, topic)
    assert [event["kafka.offset"] for event in store.events["logs_refused"]] == [0, 1, 2]


def test_msgpack_values(kafka, topic):
    msgpack = pytest.importorskip("msgpack")
    produce(kafka, topic, [msgpack.packb({"n": 0}), b"\xc1", None, msgpack.packb({"n": 1, "b": b"\xff"})])
    store = MemoryStore()
    drain(kafka, store, topic, format="msgpack")
    assert sorted(event["n"] for event in store.events["logs"] if "n" in event) == [0, 1]
    assert [event["kafka.offset"] for event in store.events["logs_refused"]] == [1]


def test_what_retention_took_is_said_and_the_rest_is_read(kafka, topic):
    store = MemoryStore()
    produce(kafka, topic, numbered(10))
    drain(kafka, store, topic)
    produce(kafka, topic, numbered(10, 10))
    produce(kafka, topic, numbered(10, 20))
    kafka.delete_records(topic, 0, 20)
    source = drain(kafka, store, topic)
    assert stored(store) == Counter([*range(10), *range(20, 30)])
    assert source.report.counts.lost == 10 and "LOST" in source.said


def test_retention_that_passes_a_running_source_is_said(kafka, topic):
    store = MemoryStore()
    source = Source(kafka, store, topic, properties={"fetch.error.backoff.ms": "50"}).start()
    produce(kafka, topic, numbered(10))
    until(lambda: sum(stored(store).values()) == 10, source)
    kafka.fail_requests(FETCH, [UNKNOWN_TOPIC] * 1000)  # it stands still meanwhile
    produce(kafka, topic, numbered(10, 10))
    kafka.delete_records(topic, 0, 15)
    kafka.heal_requests(FETCH)
    until(lambda: sum(stored(store).values()) == 15, source)
    source.stop()
    assert stored(store) == Counter([*range(10), *range(15, 20)])
    assert source.report.counts.lost == 5


def test_a_broker_that_was_away_is_waited_for(kafka, topic):
    store = MemoryStore()
    source = Source(kafka, store, topic).start()
    produce(kafka, topic, numbered(10))
    until(lambda: len(stored(store)) == 10, source)
    kafka.set_broker(1, up=False)
    until(lambda: "brokers are down" in source.said, source)
    kafka.set_broker(1, up=True)
    produce(kafka, topic, numbered(10, 10))
    until(lambda: len(stored(store)) == 20, source)
    source.stop()
    assert stored(store) == Counter(range(20))


def test_a_topic_that_was_made_anew_is_refused(kafka, topic):
    store = MemoryStore()
    produce(kafka, topic, numbered(10))
    drain(kafka, store, topic)
    kafka.delete_topic(topic)
    kafka.create_topic(topic, 2)
    produce(kafka, topic, numbered(5))
    with pytest.raises(InvalidRequest, match="ends at 5: the topic was made anew"):
        drain(kafka, store, topic)


def test_another_cluster_is_refused(kafka, topic):
    store = MemoryStore()
    produce(kafka, topic, numbered(10))
    drain(kafka, store, topic)
    with KafkaMock() as other:
        other.create_topic(topic, 2)
        produce(other, topic, numbered(20))
        with pytest.raises(InvalidRequest, match="use another --group"):
            drain(other, store, topic)


def test_a_forgotten_position_is_found_in_the_events(kafka, topic):
    store = MemoryStore()
    produce(kafka, topic, numbered(10))
    drain(kafka, store, topic)
    store.producers.clear()
    produce(kafka, topic, numbered(10, 10))
    drain(kafka, store, topic)
    assert stored(store) == Counter(range(20))


def test_another_group_reads_everything_again(kafka, topic):
    store = MemoryStore()
    produce(kafka, topic, numbered(10))
    for group in ("one", "two"):
        drain(kafka, store, topic, group=f"{topic}-{group}")
    assert stored(store) == Counter([*range(10), *range(10)])


def test_a_rebalance_moves_partitions_without_loss_or_double(kafka):
    topic = f"topic{next(_numbers)}"
    kafka.create_topic(topic, 4)
    store = MemoryStore(faults=0.1, rng=random.Random(7))
    first = Source(kafka, store, topic).start()
    sent = 0

    def more() -> None:
        nonlocal sent
        for partition in range(4):
            produce(kafka, topic, numbered(20, sent), partition)
            sent += 20

    more()
    until(lambda: len(stored(store)) == sent, first)
    second = Source(kafka, store, topic).start()
    until(lambda: len(second.report.lag) == 2, first, second)
    more()
    until(lambda: len(stored(store)) == sent, first, second)
    first.stop()
    more()
    until(lambda: len(stored(store)) == sent, second)
    second.stop()
    assert stored(store) == Counter(range(sent))


def test_partitions_that_were_lost_while_the_store_took_nothing_are_read_to_their_end(kafka, topic, monkeypatch):
    """They come back paused, as Kafka's client left them; and a source that runs once waits for them."""
    monkeypatch.setattr("malamute.sources.writer.SOURCE_RETRY_S", 0.2)
    monkeypatch.setattr("malamute.sources.kafka_partition.BATCH_ROWS_TARGET", 10)
    monkeypatch.setattr("malamute.sources.kafka.FETCH_MESSAGES", 10)
    produce(kafka, topic, numbered(20))
    store = TakesNothing()
    source = Source(kafka, store, topic, once=True).start()
    until(lambda: (topic, 0) in source.source._paused, source)
    kafka.fail_requests(HEARTBEAT, [UNKNOWN_MEMBER])
    until(lambda: "joining again" in source.said, source)
    store.takes = True
    source.end()
    assert stored(store) == Counter(range(20))


def test_a_zombie_is_fenced_and_says_so(kafka, topic):
    """Two sources that both believe they have the partition: groups of another Kafka, one name of producers."""
    store = MemoryStore()
    zombie = Source(kafka, store, topic).start()
    produce(kafka, topic, numbered(10))
    until(lambda: len(stored(store)) == 10, zombie)
    for key in list(store.producers):
        store.open_producer(0, *key, FIRST)
    produce(kafka, topic, numbered(10, 10))
    until(lambda: "taken over" in zombie.said, zombie)
    assert stored(store) == Counter(range(10))
    zombie.stop()
    drain(kafka, store, topic)
    assert stored(store) == Counter(range(20))


def test_a_source_that_was_robbed_for_good_ends(kafka, topic, monkeypatch):
    monkeypatch.setattr("malamute.sources.kafka.SOURCE_FENCED_S_MAX", 0.1)
    store = MemoryStore()
    robbed = Source(kafka, store, topic).start()
    produce(kafka, topic, numbered(10))
    until(lambda: len(stored(store)) == 10, robbed)
    for key in list(store.producers):
        store.open_producer(0, *key, FIRST)
    produce(kafka, topic, numbered(10, 10))
    with pytest.raises(Fenced, match="give one of them another --group"):
        robbed.end()


def test_a_store_that_is_away_is_waited_for(kafka, topic, monkeypatch):
    monkeypatch.setattr("malamute.sources.writer.SOURCE_RETRY_S", 0.2)
    store = MemoryStore()
    source = Source(kafka, store, topic).start()
    produce(kafka, topic, numbered(10))
    until(lambda: len(stored(store)) == 10, source)
    store.up = False
    produce(kafka, topic, numbered(10, 10))
    until(lambda: "waiting for the store: restarting" in source.said, source)
    store.up = True
    until(lambda: len(stored(store)) == 20, source)
    source.stop()
    assert stored(store) == Counter(range(20))


def test_mistakes_are_named(kafka, topic):
    store = MemoryStore()
    with pytest.raises(InvalidRequest, match=r"'group.id' is the source's own"):
        drain(kafka, store, topic, properties={"group.id": "x"})
    with pytest.raises(InvalidRequest, match="No such configuration property"):
        drain(kafka, store, topic, properties={"nonsense": "x"})
    store.producers[("default", "logs", f"kafka/group-{topic}/{topic}/0")] = ProducerState(1, position=b"line 7")
    with pytest.raises(InvalidRequest, match="not left by a kafka source"):
        drain(kafka, store, topic)


def test_no_broker_is_said(monkeypatch):
    monkeypatch.setattr("malamute.sources.kafka.BROKER_WAIT_S_MAX", 0.5)

    class Nowhere:
        address = "127.0.0.1:1"

    with pytest.raises(Unavailable, match=r"no kafka broker answers at 127.0.0.1:1"):
        drain(Nowhere(), MemoryStore(), "t")  # type: ignore[arg-type]


def test_positions_survive_their_encoding():
    position = KafkaPosition("c", "g", "t/ü", 3, 2**40)
    assert KafkaPosition.decode(position.encode()) == position
    assert json.loads(position.encode())["next"] == 2**40
