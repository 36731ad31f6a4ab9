"""Columns of small segments that are kept in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.errors import Unavailable
from query.footers import read_footer
from query.hot_columns import HotColumns, Wanted
from tests.unit.test_query_scan import SEGMENT

TABLE = pa.table({"n": list(range(1_000)), "http": ["a"] * 1_000, "http.path": ["b"] * 1_000, "tags": [["x"]] * 1_000})


@pytest.fixture
def path(tmp_path: Path) -> str:
    pq.write_table(TABLE, tmp_path / "a.parquet")
    return str(tmp_path / "a.parquet")


def wanted(path: str, *names: str, segment: str = "a.parquet", size: int = 100) -> Wanted:
    return Wanted(replace(SEGMENT, name=segment, rows=1_000), path, frozenset(names), size)


def test_a_column_is_read_once(path: str) -> None:
    hot = HotColumns(10**6)
    for names in (("n", "http"), ("http", "http.path"), ("http.path", "tags", "n")):
        assert hot.tables([wanted(path, *names)])["a.parquet"].equals(TABLE.select(sorted(names)))
    assert hot.status() == {"hits": 3, "misses": 4, "bytes": pq.read_table(path).nbytes}


def test_the_least_recently_used_columns_go_first(path: str) -> None:
    one = pq.read_table(path).column("n").nbytes
    hot = HotColumns(2 * one)
    for segment in ("a", "b", "a", "c"):
        hot.tables([wanted(path, "n", segment=segment)])
    assert hot.status() == {"hits": 1, "misses": 3, "bytes": 2 * one}
    hot.tables([wanted(path, "n", segment="a"), wanted(path, "n", segment="c")])
    assert hot.status()["hits"] == 3


def test_a_scan_that_would_push_out_the_others_reads_its_files(path: str) -> None:
    hot = HotColumns(1_000)
    assert hot.tables([wanted(path, "n", segment=name, size=50) for name in "ab"]) == {}
    assert hot.status() == {"hits": 0, "misses": 0, "bytes": 0}
    assert HotColumns(0).tables([wanted(path, "n")]) == {}


def test_what_is_larger_than_all_room_is_answered_and_not_kept(path: str) -> None:
    hot = HotColumns(2_000)
    assert hot.tables([wanted(path, "n", size=1)])["a.parquet"].num_rows == 1_000
    assert hot.status()["bytes"] == 0


def test_a_file_that_is_gone_is_unavailable(path: str) -> None:
    Path(path).unlink()
    with pytest.raises(Unavailable, match="retry"):
        HotColumns(10**6).tables([wanted(path, "n")])
    with pytest.raises(Unavailable, match="retry"):
        read_footer(path)
