"""What a scan reads of a segment whose path holds several kinds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.columns import FLOAT, INT, STR, ColumnKey
from query.fragment import Predicate, ScanColumn, StreamScan
from query.readings import DOUBLE, VARCHAR
from query.scan import Layout, layout_of, plain_paths, segment_relation
from storage.snapshot import ColumnStats, Segment

SEGMENT = Segment(
    name="a.parquet",
    tenant="default",
    stream="logs",
    window_start_us=0,
    window_end_us=10,
    rows=9,
    bytes=100,
    crc32c=0,
    timestamp_min_us=1,
    timestamp_max_us=2,
    first_offset=0,
    last_offset=8,
    has_rest=False,
    sort_key=(),
    columns=(
        ColumnStats("code", ColumnKey("code", INT), 4, 0, 599),
        ColumnStats("code::float", ColumnKey("code", FLOAT), 1, 0.5, 0.5),
        ColumnStats("code::str", ColumnKey("code", STR), 4, "refused", "timeout"),
    ),
)


def scan(type_: str, *predicates: Predicate) -> StreamScan:
    return StreamScan("logs", "logs", (ScanColumn("code", type_, "code"),), "*", predicates=predicates)


def is_one_of(*texts: str) -> Predicate:
    return Predicate("code", None, VARCHAR, "=", texts)


@pytest.mark.parametrize(
    ("segment", "wanted", "read"),
    [
        (SEGMENT, (is_one_of("refused"),), {"code::str"}),
        (SEGMENT, (is_one_of("refused", "200"),), {"code", "code::float", "code::str"}),
        (SEGMENT, (is_one_of("200"),), {"code", "code::float"}),
        (SEGMENT, (is_one_of("nan"),), {"code", "code::float"}),
        (SEGMENT, (is_one_of("absent"),), set()),
        (SEGMENT, (Predicate("other", None, VARCHAR, "=", ("x",)),), {"code", "code::float", "code::str"}),
        (SEGMENT, (Predicate("code", None, VARCHAR, ">", ("refused",)),), {"code", "code::float", "code::str"}),
        (replace(SEGMENT, has_rest=True), (is_one_of("refused"),), {"code", "code::float", "code::str"}),
    ],
)
def test_only_columns_that_may_be_of_a_wanted_row_are_read(
    segment: Segment, wanted: tuple[Predicate, ...], read: set[str]
) -> None:
    assert set(layout_of(scan(VARCHAR, *wanted), segment).names.values()) == read


@pytest.mark.parametrize(("maximum", "read"), [("timeout", False), (None, True)])
def test_texts_that_are_no_numbers_are_not_cast_to_numbers(maximum: str | None, read: bool) -> None:
    *numbers, texts = SEGMENT.columns
    segment = replace(SEGMENT, columns=(*numbers, replace(texts, maximum=maximum)))
    for type_, expected in ((DOUBLE, read), (VARCHAR, True)):
        sql = segment_relation(scan(type_), layout_of(scan(type_), segment), 0, "'a.parquet'")
        assert ('"code::str"' in sql) is expected


def test_paths_whose_columns_are_read_as_they_are() -> None:
    keys = {"n": ("int",), "mixed": ("int", "str"), "text": ("str",)}
    names = {ColumnKey(path, kind): f"{path}::{kind}" for path, kinds in keys.items() for kind in kinds}
    columns = (
        ScanColumn("a", "BIGINT", "n"),
        ScanColumn("b", "VARCHAR", "mixed"),
        ScanColumn("c", "DOUBLE", "text"),
        ScanColumn("d", "BIGINT", "absent"),
        ScanColumn("e", "TIMESTAMPTZ", system="timestamp"),
    )
    scan = StreamScan("logs", "a", columns, "1")
    assert plain_paths(scan, Layout(names, has_rest=False)) == {"n"}
    assert plain_paths(scan, Layout(names, has_rest=True)) == set()
    twice = replace(scan, columns=(*columns, ScanColumn("f", "VARCHAR", "n")))
    assert plain_paths(twice, Layout(names, has_rest=False)) == set()
