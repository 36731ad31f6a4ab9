"""Shards of a stream with a dedup key for tests, and a model of what they must store: a dict of ids."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from core.append import LOCAL, Ack, AppendRequest
from core.batch import OFFSET, encode_batch
from core.clock import Clock
from ingest.shred import ShredSettings, shred_dicts
from storage.dedup import NO_TIME_US, SLICES_PER_WINDOW
from storage.fs import FileSystem
from storage.objects import ObjectStore
from storage.recovery import open_object_shard, open_shard
from storage.shard import Shard, ShardOptions
from storage.stream_settings import StreamSettings
from tests.support.shards import AT_ONCE, OPTIONS, STREAM, TENANT, WAL_DIRECTORY, objects_on, random_id, read_segment

SECOND_US = 1_000_000
WINDOW_US = 80 * SECOND_US  # slices of 10 s
SETTINGS = StreamSettings(STREAM, dedup_key="id", dedup_window=WINDOW_US)
NOW_US = 1_700_000_000_000_000  # a start of a slice, and ManualClock's


class Sent(NamedTuple):
    """One event as it is sent: its id (None: none), event time, and a number that no other event has."""

    id: Any
    at_us: int
    n: int


def open_dedup(
    fs: FileSystem, clock: Clock, *, objects: ObjectStore | None = None, settings: StreamSettings = SETTINGS
) -> Shard:
    ids = itertools.count(1)
    return open_shard(
        OPTIONS,
        fs=fs,
        objects=objects or objects_on(fs),
        wal_directory=WAL_DIRECTORY,
        clock=clock,
        new_file_id=lambda: next(ids) * 0x9E3779B97F4A7C15 % 2**64,
        stream_settings=lambda tenant, stream: settings,
    )


def open_dedup_on_objects(objects: ObjectStore, clock: Clock, options: ShardOptions = OPTIONS) -> Shard:
    return open_object_shard(
        options,
        objects=objects,
        clock=clock,
        new_file_id=random_id,
        stream_settings=lambda tenant, stream: SETTINGS,
        wal_options=AT_ONCE,
        reads_ahead=1,
    )


def batch_of(events: Sequence[Sent]) -> pa.RecordBatch:
    dicts = [{"n": e.n, "timestamp": e.at_us / 1e6} | ({} if e.id is None else {"id": e.id}) for e in events]
    batch = shred_dicts(dicts, ShredSettings(), ingest_time_us=NOW_US).batch
    assert batch is not None
    return batch


def append_events(
    shard: Shard,
    producer: str,
    epoch: int,
    sequence: int,
    events: Sequence[Sent],
    level: str = LOCAL,
    position: bytes | None = None,
) -> Ack:
    body = encode_batch(batch_of(events))
    return shard.append(AppendRequest(TENANT, STREAM, producer, epoch, sequence, body, level, position))


class Stored(NamedTuple):
    offset: int
    n: int
    late: bool


def stored_events(shard: Shard, objects: ObjectStore) -> list[Stored]:
    """Every visible event, in offset order."""
    snapshot = shard.snapshot(TENANT, STREAM)
    tables = [read_segment(objects, segment.name) for segment in snapshot.segments]
    rows: list[Stored] = []
    for part in (*tables, *snapshot.memtable):
        values = [part.column(part.schema.get_field_index(name)).to_pylist() for name in (OFFSET, "n")]
        place = part.schema.get_field_index("_late")
        late = part.column(place).to_pylist() if place >= 0 else [None] * part.num_rows
        rows += [Stored(offset, n, bool(flag)) for offset, n, flag in zip(*values, late, strict=True)]
    return sorted(rows)


@dataclass
class Model:
    """What a shard stores of what it is sent: written from the contract in docs/dedup.md, with dicts."""

    window_us: int = WINDOW_US
    watermark_us: int = NO_TIME_US
    ids: dict[Any, int] = field(default_factory=dict)  # id → start of its slice
    stored: list[tuple[int, bool]] = field(default_factory=list)  # (n, late)

    def copy(self) -> Model:
        return Model(self.window_us, self.watermark_us, dict(self.ids), list(self.stored))

    def append(self, events: Iterable[Sent], now_us: int) -> tuple[int, int]:
        """(duplicates, late) of one batch."""
        width = self.window_us // SLICES_PER_WINDOW
        late_before_us = self.watermark_us - self.window_us
        duplicates = late = 0
        newest = self.watermark_us
        for event in events:
            is_late = event.at_us < late_before_us
            if not is_late and event.id is not None:
                if event.id in self.ids:
                    duplicates += 1
                    continue
                self.ids[event.id] = min(event.at_us, now_us) // width * width
            late += is_late
            self.stored.append((event.n, is_late))
            newest = max(newest, min(event.at_us, now_us))
        self.watermark_us = newest
        oldest = (newest - self.window_us) // width * width
        self.ids = {id_: start for id_, start in self.ids.items() if start >= oldest}
        return duplicates, late


def numbered(start: int = 0) -> Callable[[], int]:
    """Numbers that no other event has."""
    counter = itertools.count(start)
    return lambda: next(counter)
