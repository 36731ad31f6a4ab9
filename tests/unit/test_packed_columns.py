"""Columns without their nulls give back the same rows, in their order, in another one, and in parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest

from storage.packed_columns import PackedColumn, RowOrder, packed

ROWS: Final = 300
MAKE: Final[dict[str, Callable[[int], Any]]] = {
    "int64": lambda row: row * 3 - 7,
    "double": lambda row: row / 8,
    "bool": lambda row: row % 2 == 0,
    "timestamp": lambda row: row * 1_000_003,
    "string": lambda row: "é" * (row % 3) + str(row),
    "empty": lambda _row: "",
    "binary": lambda row: bytes([row % 256, 0]),
    "dictionary": lambda row: f"value {row % 5}",
    "list": lambda row: [str(row), None] * (row % 3),
}
TYPES: Final[dict[str, pa.DataType]] = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "timestamp": pa.timestamp("us", "UTC"),
    "string": pa.string(),
    "empty": pa.string(),
    "binary": pa.binary(),
    "dictionary": pa.dictionary(pa.int32(), pa.string()),
    "list": pa.list_(pa.string()),
}


def _column(name: str, share: float) -> pa.Array:
    rng = np.random.default_rng(3)
    values = [MAKE[name](row) if rng.random() < share else None for row in range(-4, ROWS)]
    return pa.array(values, TYPES[name]).slice(4)  # bits and bytes of others lie before


@pytest.mark.parametrize("share", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("name", list(TYPES))
def test_a_packed_column_gives_back_its_rows(name: str, share: float) -> None:
    array = _column(name, share)
    column = packed(array)
    assert (column.places is None) == (share > 0.5)
    for start, stop in ((0, ROWS), (0, 1), (37, 150), (299, 300), (5, 5)):
        part = column.slice(start, stop).unpack()
        part.validate(full=True)
        assert part.to_pylist() == array.slice(start, stop - start).to_pylist()
        assert part.null_count == array.slice(start, stop - start).null_count


@pytest.mark.parametrize("share", [0.0, 0.05, 0.9])
@pytest.mark.parametrize("name", list(TYPES))
def test_a_packed_column_is_brought_into_another_order(name: str, share: float) -> None:
    array = _column(name, share)
    rows = np.random.default_rng(4).permutation(ROWS)[:200].astype(np.int32)
    ordered = packed(array).ordered(RowOrder(rows, ROWS))
    assert ordered.rows == 200
    assert ordered.unpack().to_pylist() == array.take(pa.array(rows)).to_pylist()


def test_rows_that_stand_in_order_are_left_where_they_are() -> None:
    column = PackedColumn(3, pa.array([1, 2, 3]), None)
    assert column.ordered(RowOrder(np.arange(3, dtype=np.int32), 3)) is column
    assert column.ordered(RowOrder(np.array([0, 2], np.int32), 3)).unpack().to_pylist() == [1, 3]
