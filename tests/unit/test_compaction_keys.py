"""The order of a merge is that of a sort, however many bits the sort key takes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from core.batch import SYSTEM_FIELDS, TIMESTAMP
from core.columns import BOOL, FLOAT, INT, STR, TIMESTAMP_TYPE, ColumnKey, field_of
from storage.compaction_keys import merge_order
from storage.sorting import sort_order

ROWS = 500


def _values(kind: str, rng: np.random.Generator) -> pa.Array:
    absent = rng.random(ROWS) < 0.2
    if kind == STR:
        return pa.array(rng.integers(0, 20, ROWS).astype(str), pa.string(), mask=absent)
    if kind == FLOAT:
        return pa.array(rng.choice([1.5, -0.0, 0.0, -7.0, float("nan")], ROWS), mask=absent)
    if kind == BOOL:
        return pa.array(rng.random(ROWS) < 0.5, mask=absent)
    return pa.array(rng.integers(-(2**63), 2**63 - 1, ROWS), mask=absent)  # leaves no bit for a second column


@pytest.mark.parametrize(("kind", "encoded"), [(STR, False), (STR, True), (FLOAT, False), (BOOL, False), (INT, False)])
def test_a_merge_orders_rows_as_a_sort_does(kind: str, encoded: bool) -> None:
    rng = np.random.default_rng(11)
    values = _values(kind, rng).dictionary_encode() if encoded else _values(kind, rng)
    times = pa.array(rng.integers(0, 50, ROWS)).view(TIMESTAMP_TYPE)
    fields = [field_of("key", ColumnKey("key", kind)).with_type(values.type), SYSTEM_FIELDS[TIMESTAMP]]
    table = pa.table([values, times], pa.schema(fields))
    expected = sort_order(table, ("key", TIMESTAMP))
    assert expected is not None
    assert merge_order(table, ("key", TIMESTAMP)).tolist() == expected.tolist()
