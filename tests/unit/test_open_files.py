"""Segments as foreign programs see them: plain DuckDB, Polars and pandas read the same rows from the list of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
import pytest

from core.errors import InvalidSettings
from query.stream_files import StreamFiles, stream_files
from storage.open_objects import object_address
from tests.support.batches import START_US, log_batch, memtable_batch, rows_by_meaning
from tests.support.local_backend import LocalBackend
from tests.support.segment_store import SegmentStore, snapshot_of


def with_duckdb(paths: Sequence[str]) -> list[dict[str, Any]]:
    relation = duckdb.connect().read_parquet(list(paths), union_by_name=True)
    return relation.to_arrow_table().to_pylist()


def with_polars(paths: Sequence[str]) -> list[dict[str, Any]]:
    return pl.concat([pl.read_parquet(path) for path in paths], how="diagonal_relaxed").to_dicts()


def with_pandas(paths: Sequence[str]) -> list[dict[str, Any]]:
    frames = [pd.read_parquet(path, dtype_backend="pyarrow") for path in paths]
    return [row.dropna().to_dict() for _, row in pd.concat(frames, ignore_index=True).iterrows()]


READERS = [with_duckdb, with_polars, with_pandas]
Reader = Callable[[Sequence[str]], list[dict[str, Any]]]


def plain(rows: list[dict[str, Any]]) -> dict[int, dict[str, str]]:
    """Rows by offset, as texts, without nulls: readers turn numbers into texts where another file has texts."""
    return {
        int(row["_offset"]): {
            name: str(value.timestamp() if hasattr(value, "timestamp") else value)
            for name, value in row.items()
            if value is not None and name not in ("_offset", "_ingested_at")
        }
        for row in rows
    }


def columns(paths: Sequence[str]) -> dict[int, dict[str, str]]:
    """The same from each file by itself."""
    found: dict[int, dict[str, str]] = {}
    for path in paths:
        found |= plain(pq.ParquetFile(path).read().to_pylist())
    return found


@pytest.mark.parametrize("read", READERS)
def test_logs_read_the_same_everywhere(read: Reader, tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, 1_000)
    batches = [log_batch(1_500, seed, first_offset=seed * 1_500) for seed in range(3)]
    paths = [store.path(segment) for batch in batches for segment in store.write([batch])]
    rows = plain(read(paths))
    assert len(rows) == 4_500
    assert rows == columns(paths)
    told = {row["_offset"]: row for batch in batches for row in rows_by_meaning(batch)}
    assert {offset: row["trace_id"] for offset, row in rows.items()} == {
        offset: row[("trace_id", "str")] for offset, row in told.items()
    }


@pytest.mark.parametrize("read", READERS)
def test_columns_of_several_kinds_are_united_by_name(read: Reader, tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, 1_000)
    times = [START_US, START_US + 1, START_US + 2]
    numbers = memtable_batch({("code", "int"): [1, 2, None], ("code", "str"): [None, None, "n/a"]}, times)
    texts = memtable_batch(
        {
            ("code", "int"): [3, None, None],
            ("code", "str"): [None, "x", "y"],
            ("tags", "str[]"): [["a", "b"], None, []],
        },
        times,
        first_offset=3,
        rest=['{"rare":1}', None, None],
    )
    paths = [store.path(segment) for batch in (numbers, texts) for segment in store.write([batch])]
    names = [set(pq.read_schema(path).names) for path in paths]
    assert "code::str" in names[0] and "code::int" in names[1]  # the bare name is that of the most common kind
    rows = plain(read(paths))
    assert {offset: row.get("code", row.get("code::str", row.get("code::int"))) for offset, row in rows.items()} == {
        0: "1", 1: "2", 2: "n/a", 3: "3", 4: "x", 5: "y",
    }  # fmt: skip
    assert rows[3]["_rest"] == '{"rare":1}' and "_rest" not in rows[0]
    assert rows.keys() == columns(paths).keys()


def test_the_list_names_the_files_of_one_snapshot(tmp_path: Path) -> None:
    store = SegmentStore(tmp_path, 1_000)
    later, earlier = [
        segment
        for batch in (log_batch(100, 1, start_us=START_US + 10**10), log_batch(50, 2))
        for segment in store.write([batch])
    ]
    snapshot = snapshot_of([later, earlier], [log_batch(7, 3), log_batch(4, 4)])
    backend = LocalBackend([{"logs": snapshot}], executor=None)
    files = stream_files(backend, "default", "logs", str(tmp_path))
    assert files == StreamFiles(
        paths=(store.path(earlier), store.path(later)), rows=150, bytes=earlier.bytes + later.bytes, rows_unflushed=11
    )
    assert backend.pins == {}
    assert sum(pq.read_metadata(path).num_rows for path in files.paths) == 150


def test_addresses_are_what_other_programs_take() -> None:
    assert object_address("/data/store/", "a/b.parquet") == "/data/store/a/b.parquet"
    assert object_address("file:///data/my%20store", "a") == "/data/my store/a"
    assert object_address("s3://bucket/prefix/", "a/b") == "s3://bucket/prefix/a/b"
    assert object_address("gs://bucket", "a") == "gs://bucket/a"
    with pytest.raises(InvalidSettings, match="no address"):
        object_address("memory://", "a")
