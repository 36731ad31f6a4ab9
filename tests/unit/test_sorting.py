"""The order of a segment: against a plain Python sort, for every kind, nulls last, ties as they stand."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from storage.columns_merge import merge_batches
from storage.sorting import sort_columns, sort_order
from tests.support.batches import START_US, memtable_batch

VALUES: dict[str, Any] = {
    "bool": [True, False],
    "int": [0, 1, -1, 2**63 - 1, -(2**63), 70_000, 5],
    "uint": [0, 2**64 - 1, 2**63, 17],
    "float": [0.0, -0.0, 1.5, -1.5, 1e308, -1e308, math.inf, -math.inf, math.nan, 5e-324],
    "str": ["", "a", "b", "aa", "é", "z" * 100, "\U0001f600", "￿"],
    "decimal": ["123456789012345678901234567890", "1"],
    "time": [0, -1, 1_700_000_000_000_000],
    "bin": [b"", b"\x00", b"\xff"],
}


def expected_order(keys: list[list[Any]]) -> list[int]:
    def rank(value: Any) -> tuple[int, Any]:
        if value is None:
            return (2, 0)
        if isinstance(value, float) and math.isnan(value):
            return (1, 0)
        return (0, value)

    return sorted(range(len(keys[0])), key=lambda row: tuple(rank(column[row]) for column in keys))


def order_of(table: pa.Table, sort_key: tuple[str, ...]) -> list[int]:
    order = sort_order(table, sort_key)
    return list(range(table.num_rows)) if order is None else order.tolist()


@pytest.mark.parametrize("kind", VALUES)
@pytest.mark.parametrize("with_nulls", [False, True])
def test_order_equals_a_plain_sort(kind: str, with_nulls: bool) -> None:
    rng = random.Random(f"{kind}{with_nulls}")
    for _ in range(20):
        rows = rng.randint(1, 60)
        pool = VALUES[kind] + ([None] if with_nulls else [])
        values = [rng.choice(pool) for _ in range(rows)]
        times = [START_US + rng.randint(0, 3) for _ in range(rows)]
        table = merge_batches([memtable_batch({("key", kind): values}, times)], 10)
        assert order_of(table, ("key", "timestamp")) == expected_order([values, times])
        assert order_of(table, ("timestamp", "key")) == expected_order([times, values])


def test_dictionary_sorts_like_text() -> None:
    values = ["b", "a", None, "c", "a", "b"]
    shuffled = pa.DictionaryArray.from_arrays(pa.array([2, 1, None, 0, 1, 2], pa.int32()), pa.array(["c", "a", "b"]))
    table = merge_batches([memtable_batch({("service", "str"): shuffled}, [START_US] * 6)], 10)
    assert order_of(table, ("service",)) == expected_order([values])


def test_dictionary_with_equal_entries_keeps_ties_in_place() -> None:
    twice = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2, 0], pa.int32()), pa.array(["a", "a", "b"]))
    table = merge_batches([memtable_batch({("service", "str"): twice}, [START_US + i for i in (3, 2, 1, 0)])], 10)
    assert order_of(table, ("service", "timestamp")) == [3, 1, 0, 2]


def test_many_distinct_values_need_more_than_16_bits() -> None:
    rng = np.random.default_rng(3)
    values = [f"{value:08d}" for value in rng.permutation(70_000).tolist()]
    table = merge_batches([memtable_batch({("id", "str"): values}, [START_US] * len(values))], 10)
    assert order_of(table, ("id",)) == np.argsort(np.array(values), kind="stable").tolist()


def test_sorted_rows_need_no_order() -> None:
    table = merge_batches([memtable_batch({("service", "str"): ["a", "a", "b"]}, [START_US + 5, START_US + 6, 0])], 10)
    assert sort_order(table, ("service", "timestamp")) is None
    assert sort_order(table.slice(0, 0), ("service", "timestamp")) is None


def test_absent_paths_and_lists_do_not_sort() -> None:
    table = merge_batches([memtable_batch({("tags", "str[]"): [["b"], ["a"]]}, [START_US, START_US])], 10)
    assert sort_columns(table.schema, ("service", "tags", "timestamp")) == ["timestamp"]
    assert sort_order(table, ("service", "tags")) is None


def test_of_several_kinds_the_most_common_sorts() -> None:
    columns = {("code", "int"): [3, None, 1, None], ("code", "str"): [None, "x", None, None]}
    table = merge_batches([memtable_batch(columns, [START_US] * 4)], 10)
    assert sort_columns(table.schema, ("code",)) == ["code"]
    assert order_of(table, ("code",)) == [2, 0, 1, 3]
