"""Segments: what is written is what other readers read; statistics bound it; windows part it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import duckdb
import google_crc32c
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.batch import OFFSET, REST, TIMESTAMP
from core.columns import STR, key_of
from core.ids import ShardId
from core.limits import SMALL_WINDOW_ROWS
from storage.encodings import choose_encodings
from storage.fs import LocalFileSystem
from storage.inspect_storage import inspect_segment
from storage.local_objects import LocalObjectStore
from storage.segment_writer import split_by_window, write_segments
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.zone_maps import text_upper_bound
from tests.support.batches import DAY_US, START_US, log_batch, memtable_batch, rows_by_meaning
from tests.unit.test_segment_merge import random_batches


def write(
    directory: Path, batches: list[pa.RecordBatch], settings: StreamSettings | None = None
) -> list[tuple[Segment, str]]:
    """The segments of `batches` and their files."""
    store = LocalObjectStore(str(directory), LocalFileSystem())
    numbers = itertools.count()
    segments = write_segments(
        batches,
        "default",
        settings or StreamSettings("logs"),
        ShardId(3),
        new_name=lambda: f"00000001-{next(numbers):08d}",
        objects=store,
    )
    return [(segment, store.local_path(segment.name)) for segment in segments]


def by_offset(rows: list[dict[Any, Any]]) -> list[dict[Any, Any]]:
    return sorted(rows, key=lambda row: row[OFFSET])


def test_round_trip_of_300_conflicting_paths(tmp_path: Path) -> None:
    batches = random_batches(7, 300, 5)
    [(segment, path)] = write(tmp_path, batches)
    found = rows_by_meaning(pq.read_table(path))
    assert by_offset(found) == [row for batch in batches for row in rows_by_meaning(batch)]
    assert segment.rows == len(found)


def test_the_manifest_knows_what_the_file_holds(tmp_path: Path) -> None:
    batches = [log_batch(3_000, seed, seed * 3_000) for seed in range(3)]
    [(segment, path)] = write(tmp_path, batches)
    data = Path(path).read_bytes()
    assert (segment.bytes, segment.crc32c) == (len(data), google_crc32c.value(data))
    assert segment.name == "shards/0003/segments/default/logs/2026-01-01-00000001-00000000.parquet"
    assert (segment.first_offset, segment.last_offset, segment.rows) == (0, 8_999, 9_000)
    assert (segment.window_start_us, segment.window_end_us) == (START_US, START_US + DAY_US)
    table = pq.read_table(path)
    times = table.column(TIMESTAMP).cast(pa.int64()).to_pylist()
    assert (segment.timestamp_min_us, segment.timestamp_max_us) == (min(times), max(times))
    assert [(c.name, c.key) for c in segment.columns] == [(f.name, key_of(f)) for f in table.schema if key_of(f)]
    for column in segment.columns:
        values = [value for value in table.column(column.name).to_pylist() if value is not None]
        assert (column.values, column.minimum, column.maximum) == (len(values), min(values), max(values))


def test_rows_are_in_the_order_of_the_sort_key(tmp_path: Path) -> None:
    [(_, path)] = write(tmp_path, [log_batch(5_000, 1), log_batch(5_000, 2, 5_000)])
    table = pq.read_table(path)
    keys = list(
        zip(table.column("service").to_pylist(), table.column(TIMESTAMP).cast(pa.int64()).to_pylist(), strict=True)
    )
    assert keys == sorted(keys)
    columns = pq.read_metadata(path).row_group(0).sorting_columns
    assert [table.column_names[column.column_index] for column in columns] == ["service", "timestamp"]


def test_duckdb_polars_and_pandas_see_the_same_rows(tmp_path: Path) -> None:
    columns = {
        ("service", "str"): pa.array(["b", "a", None, "a"]).dictionary_encode(),
        ("n", "int"): [3, None, 1, -(2**63)],
        ("u", "uint"): [2**64 - 1, None, None, 1],
        ("f", "float"): [0.5, 1e300, None, -0.0],
        ("ok", "bool"): [True, False, None, True],
        ("at", "time"): [START_US, None, 0, -1],
        ("tags", "str[]"): [["x", None], [], None, ["y"]],
        ("b", "bin"): [b"\x00", None, b"", b"z"],
    }
    [(_, path)] = write(tmp_path, [memtable_batch(columns, [START_US + i for i in range(4)])])
    table = pq.read_table(path)
    names = [name for name in table.column_names if name not in ("at", TIMESTAMP, "_ingested_at")]
    expected = [tuple(row[name] for name in names) for row in table.select(names).to_pylist()]
    quoted = ", ".join(f'"{name}"' for name in names)
    assert duckdb.connect().execute(f"SELECT {quoted} FROM read_parquet(?)", [path]).fetchall() == expected
    assert [tuple(row[name] for name in names) for row in pl.read_parquet(path).to_dicts()] == expected
    frame = pd.read_parquet(path, columns=["service", "f", "_offset"])
    assert frame["_offset"].tolist() == table.column("_offset").to_pylist()
    assert [None if pd.isna(v) else v for v in frame["service"]] == table.column("service").to_pylist()
    micros = duckdb.connect().execute('SELECT epoch_us(timestamp), epoch_us("at") FROM read_parquet(?)', [path])
    times = zip(*(table.column(name).cast(pa.int64()).to_pylist() for name in (TIMESTAMP, "at")), strict=True)
    assert micros.fetchall() == list(times)


def test_nan_is_not_pruned_away(tmp_path: Path) -> None:
    [(segment, path)] = write(tmp_path, [memtable_batch({("f", "float"): [1.0, float("nan")]}, [START_US] * 2)])
    assert duckdb.connect().execute("SELECT count(*) FROM read_parquet(?) WHERE f > 5", [path]).fetchone() == (1,)
    assert (segment.columns[0].minimum, segment.columns[0].maximum) == (None, None)


def test_max_paths_overflow_goes_to_rest(tmp_path: Path) -> None:
    columns = {(f"p{i}", "int"): [i if row < 10 - i else None for row in range(10)] for i in range(10)}
    [(segment, path)] = write(tmp_path, [memtable_batch(columns, [START_US] * 10)], StreamSettings("logs", max_paths=4))
    assert segment.has_rest
    assert [column.key.path for column in segment.columns] == ["p0", "p1", "p2", "p3"]
    assert pq.read_table(path).column(REST).to_pylist()[0] == '{"p4":4,"p5":5,"p6":6,"p7":7,"p8":8,"p9":9}'


def test_ids_get_bloom_filters_and_prose_does_not(tmp_path: Path) -> None:
    [(_, path)] = write(tmp_path, [log_batch(20_000, 5)])
    encodings = choose_encodings(pq.read_table(path).combine_chunks())
    assert list(encodings.blooms) == ["trace_id"]
    assert "http.status_code" in encodings.dictionary and "message" not in encodings.dictionary
    probe = "SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, 'trace_id', 'no such id')"
    assert duckdb.connect().execute(probe, [path]).fetchall() == [(True,)]
    known = pq.read_table(path).column("trace_id")[17].as_py()
    probe = probe.replace("no such id", known)
    assert duckdb.connect().execute(probe, [path]).fetchall() == [(False,)]


def test_events_of_several_windows_part(tmp_path: Path) -> None:
    times = [START_US + day * DAY_US + 5 for day in (2, 0, 1, 0, 2)]
    written = write(tmp_path, [memtable_batch({("n", "int"): [0, 1, 2, 3, 4]}, times), log_batch(10, 1, 5)])
    assert [segment.rows for segment, _ in written] == [12, 1, 2]
    assert [pq.read_table(path).column("n").to_pylist()[-2:] for _, path in written][1:] == [[2], [0, 4]]
    for segment, _ in written:
        assert segment.window_start_us <= segment.timestamp_min_us <= segment.timestamp_max_us < segment.window_end_us


@pytest.mark.parametrize("seed", range(5))
def test_splitting_keeps_every_row_in_order_within_a_bound_of_windows(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spread = int(rng.integers(1, 2_000)) * DAY_US
    batches = [
        memtable_batch({("n", "int"): list(range(50))}, rng.integers(-spread, spread, 50).tolist(), number * 50)
        for number in range(4)
    ]
    parts = split_by_window(batches, "auto", windows_max=8)
    assert len(parts) <= 8
    offsets = []
    for window, part in parts:
        found = pa.Table.from_batches(part)
        times = found.column(TIMESTAMP).cast(pa.int64()).to_numpy()
        assert ((window.start_us <= times) & (times < window.end_us)).all()
        assert found.column(OFFSET).to_pylist() == sorted(found.column(OFFSET).to_pylist())
        offsets += found.column(OFFSET).to_pylist()
    assert sorted(offsets) == list(range(200))


def test_late_events_of_many_days_do_not_make_a_file_a_day() -> None:
    today, days = 400 * DAY_US, [5, 3, *range(100, 140), 5]
    late = memtable_batch({("n", "int"): list(range(len(days)))}, [day * DAY_US + 7 for day in days])
    busy = log_batch(SMALL_WINDOW_ROWS, 0, len(days), today)
    parts = split_by_window([late, busy], "auto")
    assert [(window.start_us // DAY_US, window.end_us // DAY_US) for window, _ in parts] == [
        (0, 30),
        (90, 120),
        (120, 150),
        (400, 401),
    ]
    found = [pa.Table.from_batches(part).column(OFFSET).to_pylist() for _, part in parts]
    assert found == [
        [0, 1, len(days) - 1],
        list(range(2, 22)),
        list(range(22, 42)),
        list(range(len(days), len(days) + SMALL_WINDOW_ROWS)),
    ]


@pytest.mark.parametrize(
    "text", ["x" * 65, "x" * 63 + "\ud7ff" + "y", "\U0010ffff" * 65, "a" + "\U0010ffff" * 80, "é" * 300]
)
def test_cut_text_bounds_still_bound(text: str) -> None:
    bound = text_upper_bound(text)
    assert bound is None or (bound > text and len(bound) <= 64)
    assert (bound is None) == (set(text) == {"\U0010ffff"})


def test_long_text_is_bounded_from_both_sides(tmp_path: Path) -> None:
    [(segment, _)] = write(tmp_path, [memtable_batch({("m", STR): ["b" * 100, "a" * 100]}, [START_US] * 2)])
    assert segment.columns[0].minimum == "a" * 64
    assert segment.columns[0].maximum == "b" * 63 + "c"


def test_an_empty_flush_writes_nothing(tmp_path: Path) -> None:
    assert write(tmp_path, []) == []


def test_inspect_segment(tmp_path: Path) -> None:
    [(segment, path)] = write(tmp_path, [log_batch(100), random_batches(3, 5, 1)[0].slice(0, 1)])
    found = inspect_segment(path)
    assert found["metadata"] == {"format": "1", "tenant": "default", "stream": "logs", "shard": "3"}
    assert (found["rows"], found["row_groups"]) == (101, [101])
    meant = [(c["path"], c["kind"]) for c in found["columns"] if c["path"] is not None]
    assert meant == [tuple(column.key) for column in segment.columns]
    assert all(column["bytes"] > 0 and column["encodings"] for column in found["columns"])
