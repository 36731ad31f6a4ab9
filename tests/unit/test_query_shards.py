"""Owns the fake shards of the query tests: random events as snapshots, and the same events as one plain table."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from core.batch import HIDDEN_COLUMNS, INGESTED_AT, OFFSET, SHARD, TIMESTAMP, TIMESTAMP_INFERRED
from core.clock import ManualClock
from core.columns import key_of
from query.coordinate import Queries
from query.executor import Executor
from query.fragment import DistributedPlan, LeafStats
from query.options import QueryAnswer, QueryOptions
from query.parse import parse
from query.plan import plan
from query.shape import describe, merge_shapes
from query.state_cache import StateCache
from storage.snapshot import ColumnStats, Segment, StreamSnapshot
from storage.stream_settings import StreamSettings
from tests.support.batches import START_US, memtable_batch
from tests.support.local_backend import FixedSnapshots, FixedStreams, LocalBackend, memory_states, named

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

NOW_US = START_US + 3_600_000_000
SHARDS = 3
ROW_GROUP = 128  # rows

Event = dict[str, tuple[str, Any]]  # path → (kind, value); "rest:" before a path puts it in _rest


def event_time(row: int) -> int:
    return START_US + row * 7_000_000


def random_event(rng: random.Random, row: int) -> Event:
    """One log event with conflicting kinds, missing paths and rare paths that stand in `_rest`."""
    event: Event = {
        "service": ("str", rng.choice(["web", "api", "db", "cache"])),
        "http.status_code": ("int", rng.choice([200, 200, 200, 404, 500])),
        "size": rng.choice([("int", rng.randrange(-5, 50)), ("float", rng.randrange(-20, 200) / 4)]),
        "duration": rng.choice(
            [("int", rng.randrange(100)), ("float", rng.randrange(400) / 8), ("str", rng.choice(["12.5", "fast", ""]))]
        ),
        "id": ("int", row),
    }
    if rng.random() < 0.8:
        event["level"] = ("str", rng.choice(["info", "warn", "error"]))
    if rng.random() < 0.7:
        event["ok"] = ("bool", rng.random() < 0.5)
    if rng.random() < 0.5:
        event["tags"] = ("str[]", [rng.choice("abc") for _ in range(rng.randrange(4))])
    if rng.random() < 0.5:
        event["mixed"] = rng.choice(
            [("int", rng.randrange(9)), ("str", rng.choice(["x", "7"])), ("bool", True), ("json", '{"k":[1,"a"]}')]
        )
    if rng.random() < 0.4:
        event["big"] = rng.choice([("int", -(2**62) + row), ("uint", 2**63 + row)])
    if rng.random() < 0.4:
        event["a.b.c.d.e"] = ("str", f"deep{row % 5}")
    if rng.random() < 0.3:
        event["amount"] = rng.choice([("decimal", "123456789012345678901.5"), ("int", row)])
    if rng.random() < 0.3:
        event["seen"] = ("time", event_time(row) - 5)
    if rng.random() < 0.2:
        event["rest:rare.x/y~z"] = rng.choice([("int", row % 7), ("str", "rare"), ("bool", False)])
    return event


def to_batch(events: list[tuple[int, Event]], first_offset: int) -> pa.RecordBatch:
    keys = sorted({(path, kind) for _, event in events for path, (kind, _) in event.items() if "rest:" not in path})
    columns: dict[tuple[str, str], Any] = {
        key: [event[key[0]][1] if event.get(key[0], ("",))[0] == key[1] else None for _, event in events]
        for key in keys
    }
    for key in keys:
        if key[1] == "time":
            columns[key] = pa.array(columns[key], pa.int64()).cast(pa.timestamp("us", "UTC"))
        if key == ("service", "str") and first_offset % 2:
            columns[key] = pa.array(columns[key]).dictionary_encode()
    rest = [{path[5:]: v for path, (_, v) in event.items() if path.startswith("rest:")} for _, event in events]
    texts = [json.dumps(values) if values else None for values in rest]
    times = [event_time(row) for row, _ in events]
    return memtable_batch(columns, times, first_offset, texts if any(texts) else None)


def to_segment(batch: pa.RecordBatch, stream: str, path: Path, shard: int = 0) -> Segment:
    pq.write_table(pa.table(batch), path, row_group_size=ROW_GROUP)
    columns = []
    for arrow_field, array in zip(batch.schema, batch.columns, strict=True):
        key = key_of(arrow_field)
        if key is None:
            continue
        low = high = None
        if key.kind in ("int", "uint", "float", "str", "bool"):
            plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
            low, high = pc.min_max(plain).as_py().values()
        columns.append(ColumnStats(arrow_field.name, key, batch.num_rows - array.null_count, low, high))
    times = batch.column(TIMESTAMP).cast(pa.int64()).to_pylist()
    offsets = batch.column(OFFSET).to_pylist()
    return Segment(
        name=named(shard, path),
        tenant="default",
        stream=stream,
        window_start_us=min(times),
        window_end_us=max(times) + 1,
        rows=batch.num_rows,
        bytes=path.stat().st_size,
        crc32c=0,
        timestamp_min_us=min(times),
        timestamp_max_us=max(times),
        first_offset=min(offsets),
        last_offset=max(offsets),
        has_rest="_rest" in batch.schema.names,
        sort_key=("timestamp",),
        columns=tuple(columns),
    )


@dataclass
class Shards:
    """Snapshots of every stream on three fake shards, and the whole way of a query over them."""

    directory: Path
    executor: Executor
    snapshots: list[dict[str, StreamSnapshot]] = field(default_factory=lambda: [{} for _ in range(SHARDS)])
    events: dict[str, list[tuple[int, int, Event]]] = field(default_factory=dict)  # shard, row, event
    last_stats: LeafStats = field(default_factory=LeafStats)
    readers: int = 0
    states: StateCache | None = field(default_factory=memory_states)
    indexes: Any = None
    memtables: int | None = None  # shards that have one, None = all

    def add(self, stream: str, events: list[Event], parts: int = 3) -> None:
        """Spread `events` over the shards: each has `parts` segments and as many memtable batches, or more segments."""
        placed = [(row % SHARDS, row, event) for row, event in enumerate(events)]
        self.events[stream] = placed
        for shard in range(SHARDS):
            rows = [(row, event) for where, row, event in placed if where == shard]
            size = -(-len(rows) // (2 * parts)) or 1
            batches = [to_batch(rows[at : at + size], at) for at in range(0, len(rows), size)]
            in_segments = parts if self.memtables is None or shard < self.memtables else len(batches)
            flushed = [
                to_segment(batch, stream, self.directory / f"{stream}-{shard}-{number}.parquet", shard)
                for number, batch in enumerate(batches[:in_segments])
            ]
            self.snapshots[shard][stream] = StreamSnapshot(
                shard, "default", stream, 1, len(rows), tuple(flushed), tuple(batches[in_segments:])
            )

    def plan(self, sql: str, params: Any = None) -> DistributedPlan:
        statement = parse(sql, params)
        streams = set(self.events) if statement.kind == "show" else statement.streams
        shapes = {
            stream: merge_shapes(describe(shard[stream]) for shard in self.snapshots if stream in shard)
            for stream in streams
        }
        return plan(statement, shapes, self.executor, now_us=NOW_US)

    def queries(self) -> Queries:
        """A coordinator over the shards as they are now."""
        backend = LocalBackend(self.snapshots, self.executor, self.readers, self.states, self.indexes)
        streams = FixedStreams([StreamSettings(name) for name in self.events])
        return Queries(backend, self.executor, ManualClock(NOW_US), streams, FixedSnapshots())

    def answer(self, sql: str, params: Any = None, **options: Any) -> QueryAnswer:
        """Run a statement the whole way of a coordinator."""
        answer = self.queries().answer(sql, params, "default", QueryOptions(**options))
        numbers = {name: answer.stats.get(name, 0) for name in LeafStats.__dataclass_fields__}
        self.last_stats = LeafStats(**numbers)
        return answer

    def query(self, sql: str, params: Any = None) -> pa.Table:
        return self.answer(sql, params).table


def natural_values(events: list[tuple[int, int, Event]], path: str) -> tuple[str, list[Any]]:
    """The SQL type and the values of a path as documented, worked out apart from the engine under test."""
    held = [event.get(path) for _, _, event in events]
    kinds = {value[0] for value in held if value is not None}
    raw = [None if value is None else value[1] for value in held]
    if len(kinds) == 1:
        kind = next(iter(kinds))
        types = {"str": "VARCHAR", "int": "BIGINT", "bool": "BOOLEAN", "str[]": "VARCHAR[]", "float": "DOUBLE"}
        if kind == "time":
            return "TIMESTAMPTZ", [None if v is None else datetime.fromtimestamp(v / 1e6, UTC) for v in raw]
        return types[kind], raw
    if kinds <= {"int", "uint"}:
        return "HUGEINT", raw
    if kinds <= {"int", "uint", "float", "decimal"}:
        return "DOUBLE", [None if v is None else float(v) for v in raw]
    texts = {True: "true", False: "false"}
    return "VARCHAR", [
        v if v is None or isinstance(v, str) else texts.get(v, str(v)) if isinstance(v, bool) else str(v) for v in raw
    ]


def oracle(events: Mapping[str, list[tuple[int, int, Event]]]) -> Any:
    """A DuckDB connection with one plain table per stream, named as the stream; hidden columns in `<stream>_all`."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone='UTC'")
    for stream, placed in events.items():
        paths = sorted({path for _, _, event in placed for path in event if not path.startswith("rest:")})
        columns: list[tuple[str, str, list[Any]]] = [
            (TIMESTAMP, "TIMESTAMPTZ", [datetime.fromtimestamp(event_time(row) / 1e6, UTC) for _, row, _ in placed])
        ]
        columns += [(path, *natural_values(placed, path)) for path in paths]
        columns.append((SHARD, "INTEGER", [shard for shard, _, _ in placed]))
        columns.append((TIMESTAMP_INFERRED, "BOOLEAN", [False] * len(placed)))
        declared = ", ".join(f'"{name}" {type_}' for name, type_, _ in columns)
        connection.execute(f"CREATE TABLE {stream}_all ({declared})")
        connection.executemany(
            f"INSERT INTO {stream}_all VALUES ({', '.join('?' * len(columns))})",
            list(zip(*(values for _, _, values in columns), strict=True)),
        )
        connection.execute(f"CREATE VIEW {stream} AS SELECT * EXCLUDE (_shard, _timestamp_inferred) FROM {stream}_all")
    return connection


def build_shards(directory: Path, seed: int = 7, rows: int = 400, parts: int = 3) -> Shards:
    rng = random.Random(seed)
    executor = Executor(threads=2, memory_bytes=2**29, data_directories=[str(directory)])
    shards = Shards(directory, executor)
    shards.add("logs", [random_event(rng, row) for row in range(rows)], parts)
    traces = [
        {"id": ("int", row * 2), "service": ("str", "web" if row % 3 else "db"), "span": ("int", row)}
        for row in range(60)
    ]
    shards.add("traces", [dict(trace) for trace in traces], parts=1)
    return shards


def test_fake_shards_hold_every_event_in_segments_and_memtables(tmp_path: Path) -> None:
    shards = build_shards(tmp_path)
    held = [shard["logs"] for shard in shards.snapshots]
    assert sum(s.rows for snapshot in held for s in snapshot.segments) > 0
    assert sum(b.num_rows for snapshot in held for b in snapshot.memtable) > 0
    assert shards.query("SELECT count(*) FROM logs").to_pylist() == [{"count_star()": 400}]
    assert set(HIDDEN_COLUMNS) >= {INGESTED_AT, OFFSET, SHARD}
