"""Owns one partition of a topic while this source has it: what was fetched, the batch on its way, what is stored.

The partition belongs to whoever opened its producer last: what an older owner sends is refused. Never talks to Kafka.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace

from core.clock import Clock
from core.errors import InvalidRequest
from core.limits import (
    BATCH_ROWS_TARGET,
    SOURCE_BATCH_BYTES_TARGET,
    SOURCE_LINGER_S,
    SOURCE_REOPEN_S,
)
from malamute.sources.kafka_records import PREFIX, KafkaPosition, Message, Records, Shredder
from malamute.sources.store import SourceStore
from malamute.sources.writer import Patience, SourceWriter


@dataclass(frozen=True, slots=True)
class Stored:
    """What one batch came to."""

    events: int
    refused: int
    position: KafkaPosition


class Partition:
    """Messages go in with take(); turn() has them stored by a thread of a pool, one batch at a time. One thread."""

    def __init__(self, writer: SourceWriter, shredder: Shredder, clock: Clock) -> None:
        self.stored = shredder.start  # everything before it is in the store
        self.next_offset = shredder.start.next  # of the next message to take
        self.at_end = False  # nothing is left in the partition, as far as Kafka said
        self._writer = writer
        self._shredder = shredder
        self._clock = clock
        self._messages: list[Message] = []
        self._bytes = 0
        self._since_s = clock.steady_s()
        self._busy: Future[Stored] | None = None

    def take(self, message: Message) -> None:
        """Add the next message; one that was taken before is left out."""
        if message.offset() < self.next_offset:
            return
        if not self._messages:
            self._since_s = self._clock.steady_s()
        self.at_end = False
        self._messages.append(message)
        self._bytes += len(message.value() or b"")
        self.next_offset = message.offset() + 1

    @property
    def full(self) -> bool:
        """Whether a batch is waiting while another is on its way: fetch no more."""
        return self._busy is not None and self._is_batch

    def reached(self, end: int) -> bool:
        """Whether everything before `end` is stored; the last offsets of a partition may hold no message."""
        return self.stored.next >= end or (self.at_end and self._busy is None and not self._messages)

    def turn(self, pool: Executor) -> Stored | None:
        """Begin to store what is due; what came of the batch before, when it is done, or its error."""
        done = None
        if self._busy is not None:
            if not self._busy.done():
                return None
            done = self._busy.result()
            self.stored = done.position
            self._busy = None
        if self._due:
            messages, self._messages, self._bytes = self._messages, [], 0
            self._since_s = self._clock.steady_s()
            self._busy = pool.submit(self._store, messages)
        return done

    def wait(self, timeout_s: float) -> Stored | None:
        """Let the batch on its way end, and forget what was taken beyond it; TimeoutError when that takes longer."""
        self._messages = []
        if self._busy is None:
            return None
        busy, self._busy = self._busy, None
        done = busy.result(timeout_s)
        self.stored = done.position
        return done

    @property
    def _is_batch(self) -> bool:
        return len(self._messages) >= BATCH_ROWS_TARGET or self._bytes >= SOURCE_BATCH_BYTES_TARGET

    @property
    def _due(self) -> bool:
        waited_s = self._clock.steady_s() - self._since_s
        if not self._messages:
            return waited_s >= SOURCE_REOPEN_S
        return self._is_batch or self.at_end or waited_s >= SOURCE_LINGER_S

    def _store(self, messages: Sequence[Message]) -> Stored:
        self._writer.keep()
        events = refused = 0
        position = self.stored
        if messages:
            for records in self._shredder.shred(messages, ingest_time_us=self._clock.now_us()):
                records = self._unknown(records)
                self._writer.write(records.batch, records.refused, records.position)
                events += records.batch.num_rows if records.batch is not None else 0
                refused += len(records.refused)
                position = records.position
            self._writer.drain()
        return Stored(events, refused, position)

    def _unknown(self, records: Records) -> Records:
        """`records` without the refused ones that an earlier run has stored."""
        if not records.refused:
            return records
        stored = self._writer.refused_position()
        if stored is None:
            return records
        floor = KafkaPosition.decode(stored).next
        new = tuple(one for one in records.refused if one.event[PREFIX]["offset"] >= floor)
        return replace(records, refused=new)


def stored_position(
    store: SourceStore, writer: SourceWriter, empty: KafkaPosition, stream: str, patience: Patience
) -> KafkaPosition | None:
    """Open `writer` and say how far the partition that `empty` names is stored; None when nothing of it is.

    A shard forgets producers that were idle for PRODUCER_IDLE_S_MAX: then the newest stored event says it. Raises
    InvalidRequest when the position is of another cluster.
    """
    data = writer.open()
    if data is not None:
        position = KafkaPosition.decode(data)
        if position.cluster != empty.cluster:
            raise InvalidRequest(
                f"{writer.source_id} was read from the kafka cluster {position.cluster!r}, and this is "
                f"{empty.cluster!r}: use another --group for it"
            )
        return position
    named = {"cluster": empty.cluster, "group": empty.group, "topic": empty.topic, "partition": empty.partition}
    where = {f"{PREFIX}.{name}": value for name, value in named.items()}
    last = patience.settled(lambda: store.largest(stream, f"{PREFIX}.offset", where))
    return None if last is None else empty._replace(next=last + 1)
