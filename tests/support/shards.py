"""Opens shards on any file system for tests, and reads back what they hold."""

from __future__ import annotations

import itertools
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.append import LOCAL, Ack, AppendRequest
from core.batch import OFFSET, encode_batch
from core.clock import Clock, ManualClock
from core.ids import ShardId
from core.limits import MIB
from ingest.shred import ShredSettings, shred_dicts
from storage.fs import FileSystem
from storage.local_objects import LocalObjectStore
from storage.object_wal import ObjectWalOptions
from storage.objects import ObjectStore
from storage.recovery import open_object_shard, open_shard
from storage.shard import Shard, ShardOptions
from storage.stream_settings import StreamSettings

ROOT = "/store"
WAL_DIRECTORY = f"{ROOT}/wal/0000"
TENANT, STREAM = "default", "logs"

OPTIONS = ShardOptions(ShardId(0), 1 * MIB, 4 * MIB, 60.0, 1 * MIB)
AT_ONCE = ObjectWalOptions(interval_s=0.0)


def random_id() -> int:
    return secrets.randbits(64)


def objects_on(fs: FileSystem) -> LocalObjectStore:
    tokens = itertools.count()
    return LocalObjectStore(ROOT, fs, lambda: f"{next(tokens):016x}")


def open_on(
    fs: FileSystem,
    *,
    clock: Clock | None = None,
    options: ShardOptions = OPTIONS,
    objects: ObjectStore | None = None,
    wal_directory: str = WAL_DIRECTORY,
    file_ids: Callable[[], int] | None = None,
    settings: StreamSettings | None = None,
) -> Shard:
    ids = itertools.count(1)
    return open_shard(
        options,
        fs=fs,
        objects=objects or objects_on(fs),
        wal_directory=wal_directory,
        clock=clock or ManualClock(),
        new_file_id=file_ids or (lambda: next(ids) * 0x9E3779B97F4A7C15 % 2**64),
        stream_settings=lambda tenant, stream: settings or StreamSettings(stream),
    )


def body(numbers: Sequence[int], at_us: int = 1_700_000_000_000_000) -> pa.Buffer:
    """An encoded batch of numbered events."""
    return encode_batch(batch(numbers, at_us))


def batch(numbers: Sequence[int], at_us: int = 1_700_000_000_000_000) -> pa.RecordBatch:
    events = [{"n": n, "service": f"s{n % 3}", "message": f"event {n}"} for n in numbers]
    shredded = shred_dicts(events, ShredSettings(), ingest_time_us=at_us).batch
    assert shredded is not None
    return shredded


def append(
    shard: Shard, producer: str, epoch: int, sequence: int, numbers: Sequence[int], level: str = LOCAL, **more: Any
) -> Ack:
    return shard.append(AppendRequest(TENANT, STREAM, producer, epoch, sequence, body(numbers), level, **more))


def read_segment(objects: ObjectStore, name: str) -> pa.Table:
    """All rows of a segment. In this thread: one of Arrow's that still holds the bytes at exit aborts the process."""
    return pq.read_table(pa.BufferReader(objects.get(name)), use_threads=False)


def stored_rows(shard: Shard, objects: ObjectStore) -> list[tuple[int, int]]:
    """(offset, n) of every visible event, in offset order."""
    snapshot = shard.snapshot(TENANT, STREAM)
    rows: list[tuple[int, int]] = []
    tables = [read_segment(objects, segment.name) for segment in snapshot.segments]
    for part in (*tables, *snapshot.memtable):
        columns = [part.column(part.schema.get_field_index(name)).to_pylist() for name in (OFFSET, "n")]
        rows += zip(*columns, strict=True)
    return sorted(rows)


def check_exactly_once(rows: list[tuple[int, int]], acknowledged: set[int], sent: set[int]) -> None:
    """Dense offsets, every acknowledged number there, none twice, none that was never sent."""
    assert [offset for offset, _ in rows] == list(range(len(rows)))
    counts = Counter(n for _, n in rows)
    assert not [n for n, count in counts.items() if count > 1], "doubled"
    assert acknowledged <= counts.keys(), f"lost: {sorted(acknowledged - counts.keys())[:10]}"
    assert counts.keys() <= sent, "appeared from nowhere"


def open_on_objects(
    objects: ObjectStore,
    *,
    clock: Clock | None = None,
    options: ShardOptions = OPTIONS,
    wal_options: ObjectWalOptions = AT_ONCE,
    file_ids: Callable[[], int] = random_id,
) -> Shard:
    """A shard whose WAL is on the object store; every append is an object of its own unless `wal_options` differ."""
    return open_object_shard(
        options,
        objects=objects,
        clock=clock or ManualClock(),
        new_file_id=file_ids,
        stream_settings=lambda tenant, stream: StreamSettings(stream),
        wal_options=wal_options,
        reads_ahead=1,
    )
