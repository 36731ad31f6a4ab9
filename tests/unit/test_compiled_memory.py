"""Sparse columns, which lie in memory that is taken when it is written to: their values, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from ingest.compiled.memory import roomy
from ingest.shred import ShredSettings, shred_ndjson
from tests.fuzz.targets import NOW, ndjson_difference

ROWS = 20_000
UNTIMED = ShredSettings(timestamp="no such path")


def sparse_lines(values: dict[int, Any]) -> bytes:
    """ROWS events, of which those at the keys of `values` have a sparse attribute."""
    return b"\n".join(orjson.dumps({"n": row} | ({"a": values[row]} if row in values else {})) for row in range(ROWS))


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.parametrize(
    "value", [0, -7, 2**64 - 1, 0.5, True, False, "text", "", [1, None], [], {}, [{"a": 1}], "x" * 100]
)
@pytest.mark.parametrize("rows", [[0], [ROWS - 1], [0, 1, 2, 3], [5, 5000, 9999, ROWS - 1]])
def test_sparse_values_are_the_references(value: Any, rows: list[int]) -> None:
    assert ndjson_difference(sparse_lines(dict.fromkeys(rows, value)), UNTIMED) is None


def test_columns_of_few_values_take_little_memory() -> None:
    """Otherwise events of many shapes take several times their own size."""
    dense = orjson.dumps({f"dense{column}": column for column in range(20)}) + b"\n"
    sparse = dense * ROWS + b"\n".join(orjson.dumps({f"{column}": column}) for column in range(900))
    before = resident_bytes()
    batch = shred_ndjson(sparse, UNTIMED, ingest_time_us=NOW).batch
    assert batch is not None
    assert batch.nbytes > 60_000_000
    assert resident_bytes() - before < batch.nbytes / 4


def test_roomy_memory_is_zeros_at_any_size() -> None:
    for count in (0, 1, 10_000):
        array = roomy(count, int)
        assert len(array) == count
        assert not array.any()
        array[:] = 1
