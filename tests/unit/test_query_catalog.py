"""DESCRIBE of a stream: shares of the events, and sample values where there are events to take them from."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa

from query.catalog import describe_stream
from query.shape import StreamShape

SHAPE = StreamShape(rows=8, paths={"a": {"int": 4, "str": 2}, "b.c": {"str": 8}, "tags": {"str[]": 1}})


def test_shares_are_of_all_events() -> None:
    table = describe_stream(SHAPE)
    shares = dict(zip(table.column("column_name").to_pylist(), table.column("share").to_pylist(), strict=True))
    assert {name: share for name, share in shares.items() if share is not None} == {
        "timestamp": 1.0,
        "a": 0.75,
        "b.c": 1.0,
        "tags": 0.125,
    }
    assert set(table.column("samples").to_pylist()) == {None}
    assert describe_stream(StreamShape()).column("share").to_pylist() == [None] * 6


def test_samples_are_the_commonest_values_as_text() -> None:
    events = pa.table(
        {
            "timestamp": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * 5, pa.timestamp("us", "UTC")),
            "a": ["5", "x", "5", "y", "z"],
            "b.c": ["long " * 30, None, None, None, None],
            "tags": [["r", "s"], None, None, None, None],
            "ok": [True, None, False, True, None],
        }
    )
    table = describe_stream(SHAPE, events)
    samples = dict(zip(table.column("column_name").to_pylist(), table.column("samples").to_pylist(), strict=True))
    assert samples["timestamp"] == ["2026-01-01 00:00:00+00:00"]
    assert samples["a"] == ["5", "x", "y"]
    assert samples["tags"] == ['["r", "s"]']
    assert len(samples["b.c"][0]) == 60
    assert samples["b.c"][0].endswith("…")
    assert samples["_offset"] is None
