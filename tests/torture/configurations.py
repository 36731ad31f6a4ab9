"""T42 on storage: the same operations under random configurations leave the same events. Queries: query_random.py."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pyarrow as pa

from core.append import LOCAL, OBJECT, AppendRequest
from core.batch import INGESTED_AT, OFFSET
from core.clock import ManualClock
from core.errors import Overloaded
from core.limits import MIB
from storage.object_wal import ObjectWalOptions
from storage.recovery import open_object_shard, open_shard
from storage.shard import Shard, ShardOptions
from storage.stream_settings import StreamSettings
from tests.support.batches import DAY_US, START_US, rows_by_meaning
from tests.support.shards import (
    AT_ONCE,
    OPTIONS,
    STREAM,
    TENANT,
    WAL_DIRECTORY,
    body,
    objects_on,
    random_id,
    read_segment,
)
from tests.support.simfs import SimFileSystem

CONFIGURATIONS = 24
BATCHES = 20
_HOUR_US = DAY_US // 24


def same_events(seed: int) -> dict[str, int]:
    """CONFIGURATIONS ways to store the same batches; raises AssertionError when one stores something else."""
    rng = random.Random(seed)
    batches = [body(range(n, n + rng.randrange(1, 9)), START_US + rng.randrange(5 * DAY_US)) for n in range(BATCHES)]
    expected: list[dict[Any, Any]] | None = None
    for _ in range(CONFIGURATIONS):
        found = _stored(batches, random.Random(rng.random()))
        expected = expected or found
        assert found == expected
    assert expected is not None
    return {"configurations": CONFIGURATIONS, "events": CONFIGURATIONS * len(expected)}


def _stored(batches: list[pa.Buffer], rng: random.Random) -> list[dict[Any, Any]]:
    """What is stored in the end, in offset order, of a shard that is configured, flushed and reopened at random."""
    options = ShardOptions(
        OPTIONS.shard, rng.choice((1, 64 << 10, MIB)), rng.choice((40_000, 4 * MIB)), 60.0, rng.choice((1, 4096, MIB))
    )
    settings = StreamSettings(
        STREAM,
        sort_key=rng.choice(((), ("service", "timestamp"), ("n",), ("message", "absent"))),
        window=rng.choice(("auto", _HOUR_US, DAY_US)),
    )
    durability, fs = rng.choice((LOCAL, OBJECT)), SimFileSystem()
    wal_options = replace(AT_ONCE, bytes_target=rng.choice((1, MIB)))

    def opened() -> Shard:
        return _open(durability, options, settings, wal_options, fs)

    shard = opened()
    epoch = shard.open_producer(TENANT, STREAM, "p").epoch
    for sequence, data in enumerate(batches):
        request = AppendRequest(TENANT, STREAM, "p", epoch, sequence, data, durability)
        try:
            shard.append(request)
        except Overloaded:
            shard.flush()
            shard.append(request)
        if rng.random() < 0.2 or shard.flush_due():
            shard.flush()
        if rng.random() < 0.1:
            shard.close() if rng.random() < 0.5 else shard.abandon()
            shard = opened()
    return _rows(shard, fs)


def _open(
    durability: str, options: ShardOptions, settings: StreamSettings, wal_options: ObjectWalOptions, fs: SimFileSystem
) -> Shard:
    objects, clock = objects_on(fs), ManualClock()
    if durability == OBJECT:
        return open_object_shard(
            options,
            objects=objects,
            clock=clock,
            new_file_id=random_id,
            stream_settings=lambda tenant, stream: settings,
            wal_options=wal_options,
            reads_ahead=1,
        )
    return open_shard(
        options,
        fs=fs,
        objects=objects,
        wal_directory=WAL_DIRECTORY,
        clock=clock,
        new_file_id=random_id,
        stream_settings=lambda tenant, stream: settings,
    )


def _rows(shard: Shard, fs: SimFileSystem) -> list[dict[Any, Any]]:
    snapshot, objects = shard.snapshot(TENANT, STREAM), objects_on(fs)
    parts = [read_segment(objects, segment.name) for segment in snapshot.segments]
    rows = [row for part in (*parts, *snapshot.memtable) for row in rows_by_meaning(part)]
    for row in rows:
        row.pop(INGESTED_AT)
    return sorted(rows, key=lambda row: row[OFFSET])
