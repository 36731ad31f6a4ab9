"""Dedup by id: the index of ids alone, one shard with and without, and a whole deployment with and without.

With and without take turns in one run, on the same events with ids that never repeat: every id has to be looked for in
vain and kept. The shard is appended to by one thread, level `local`, flushes included; the deployment is two shards,
written to by one process on the same cores. What is stored is counted.
"""

from __future__ import annotations

import itertools
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

import malamute
from benchmarks.record import store, value
from core.append import LOCAL, AppendRequest
from core.batch import encode_batch
from core.clock import SystemClock
from core.columns import STR, ColumnKey, field_of
from core.event_ids import event_ids
from core.ids import ShardId
from core.limits import BATCH_ROWS_TARGET, MEMTABLE_BYTES_MAX, MEMTABLE_BYTES_TARGET, WAL_FILE_BYTES_TARGET
from ingest.generate import generator
from ingest.shred import ShredSettings, shred_ndjson
from storage.dedup import DedupRule, StreamIds, sorted_ids, times_of
from storage.dedup_index import IdIndex, SortedIds, order_of
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.recovery import open_shard
from storage.shard import Shard, ShardOptions
from storage.stream_settings import StreamSettings

INDEX_IDS = 10_000_000
RUNS = 5
BATCHES = 24  # of one run: 1.6 M events
START_US = 1_700_000_000_000_000
TARGET = 0.6


def main() -> None:
    batches = _batches()
    index, rule = _index(), _judged(batches)
    shard, deployment = _shard(batches), _deployment(batches)
    one, all_ = (_ratio(rates) for rates in (shard, deployment))
    store(
        "dedup",
        [
            value("index of 10 M ids: sorted, looked for, kept", index["ids_per_s"] / 1e6, "M ids/s/core", "≥ 5"),
            value("memory of an id", index["bytes_per_id"], "bytes", "≤ 20"),
            value("the longest batch of it: a merge of all", index["batch_ms_max"], "ms"),
            value("texts of 36 bytes hashed, then the same", rule / 1e6, "M ids/s/core"),
            value("one shard without", statistics.median(shard["off"]) / 1e3, "k events/s"),
            value("one shard with dedup", one, "of without", f"≥ {TARGET}"),
            value("write() of Arrow without", statistics.median(deployment["off"]) / 1e3, "k events/s"),
            value("write() of Arrow with dedup", all_, "of without", f"≥ {TARGET}"),
        ],
        {"index": index, "shard_events_per_s": shard, "deployment_events_per_s": deployment},
    )


def _ratio(rates: dict[str, list[float]]) -> float:
    return statistics.median(rates["on"]) / statistics.median(rates["off"])


def _batches() -> list[pa.RecordBatch]:
    """Generated log events of as many paths as always, in full batches."""
    data = generator("logs", 1).ndjson(BATCH_ROWS_TARGET, START_US)
    batch = shred_ndjson(data, ShredSettings(), ingest_time_us=START_US).batch
    if batch is None:
        raise RuntimeError("no events")
    return [batch] * BATCHES


def _with_ids(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with ids of 36 bytes that no other batch has."""
    head = secrets.token_hex(12)
    ids = pa.array([f"{head}{row:012x}" for row in range(batch.num_rows)], pa.string())
    return batch.append_column(field_of("id", ColumnKey("id", STR)), ids)


def _index() -> dict[str, float]:
    """Hashes of batches that are sorted, looked for and kept, until INDEX_IDS are there."""
    rng, index, spent, longest, rows = np.random.default_rng(1), IdIndex(), 0.0, 0.0, BATCH_ROWS_TARGET
    for _ in range(INDEX_IDS // rows):
        high, low = (rng.integers(0, 2**64, rows, dtype=np.uint64) for _ in range(2))
        started = time.perf_counter()
        order = order_of(high, low)
        high, low = high[order], low[order]
        if index.known(high, low).any():
            raise RuntimeError("a random hash is known")
        index.add(SortedIds(high, low, np.zeros(rows, np.uint16)))
        seconds = time.perf_counter() - started
        spent, longest = spent + seconds, max(longest, seconds)
    return {
        "ids_per_s": len(index) / spent,
        "bytes_per_id": index.bytes / len(index),
        "batch_ms_max": longest * 1e3,
        "ids": len(index),
    }


def _judged(batches: list[pa.RecordBatch]) -> float:
    """Ids a second of what a shard does with a batch: hash, sort, look for, keep."""
    known, spent = StreamIds(DedupRule("id", 86_400_000_000)), 0.0
    for batch in map(_with_ids, batches):
        started = time.perf_counter()
        judged = known.judge(sorted_ids(event_ids(batch, "id"), times_of(batch)), START_US)
        known.take(judged)
        spent += time.perf_counter() - started
    return len(known.index) / spent


def _shard(batches: list[pa.RecordBatch]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"off": [], "on": []}
    options = ShardOptions(
        ShardId(0), MEMTABLE_BYTES_TARGET, MEMTABLE_BYTES_MAX, 60.0, WAL_FILE_BYTES_TARGET, admission_wait_s=5.0
    )
    for run in range(RUNS):
        for name in ("off", "on") if run % 2 else ("on", "off"):
            settings = StreamSettings("logs", dedup_key="id" if name == "on" else None)
            with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
                shard = open_shard(
                    options,
                    fs=LocalFileSystem(),
                    objects=LocalObjectStore(directory, LocalFileSystem()),
                    wal_directory=f"{directory}/wal",
                    clock=SystemClock(),
                    new_file_id=lambda: secrets.randbits(64),
                    stream_settings=lambda tenant, stream, settings=settings: settings,  # type: ignore[misc]
                )
                bodies = [encode_batch(_with_ids(batch)) for batch in batches]
                rates[name].append(_append_all(shard, bodies, sum(batch.num_rows for batch in batches)))
                shard.abandon()
    return rates


def _append_all(shard: Shard, bodies: list[pa.Buffer], events: int) -> float:
    epoch = shard.open_producer("default", "logs", "p").epoch
    started = time.perf_counter()
    for sequence, body in enumerate(bodies):
        shard.append(AppendRequest("default", "logs", "p", epoch, sequence, body, LOCAL))
        if shard.flush_due():
            shard.flush()
    shard.flush()
    seconds = time.perf_counter() - started
    if shard.status()["events"] != events:
        raise RuntimeError(f"{shard.status()['events']} events are there of {events}")
    return events / seconds


def _deployment(batches: list[pa.RecordBatch]) -> dict[str, list[float]]:
    rates: dict[str, list[float]] = {"off": [], "on": []}
    numbers = itertools.count()
    with (
        tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory,
        malamute.connect(storage=directory, shards=2, durability=LOCAL) as client,
    ):
        for run in range(RUNS):
            for name in ("off", "on") if run % 2 else ("on", "off"):
                stream = f"run_{next(numbers)}"
                client.create_stream(stream, dedup_key="id" if name == "on" else None)
                table = _plain(map(_with_ids, batches))
                rates[name].append(_timed(lambda s=stream, t=table: client.write(s, t), table.num_rows))  # type: ignore[misc]
                found = client.sql(f"SELECT count(*) FROM {stream}").scalar()
                if found != table.num_rows:
                    raise RuntimeError(f"{found} events are there of {table.num_rows}")
    return rates


def _plain(batches: Any) -> pa.Table:
    """What a user has: the attributes, and a timestamp."""
    table = pa.Table.from_batches(list(batches))
    table = table.drop_columns([name for name in table.column_names if name.startswith("_")])
    return table.replace_schema_metadata().cast(pa.schema([pa.field(f.name, f.type) for f in table.schema]))


def _timed(work: Callable[[], Any], events: int) -> float:
    started = time.perf_counter()
    work()
    return events / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
