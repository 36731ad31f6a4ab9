"""Results as Python values."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from malamute.result import Result


def sums(*values: int) -> pa.Table:
    return pa.table({"s": pa.array([Decimal(value) for value in values], pa.decimal128(38, 0))})


def test_sums_of_integers_are_python_ints():
    result = Result(sums(3, -4))
    assert [type(row["s"]) for row in result.to_pylist()] == [int, int]
    assert list(result) == [(3,), (-4,)]
    assert Result(sums(7)).scalar() == 7 and result.to_arrow().schema.field("s").type == pa.decimal128(38, 0)


def test_sums_beyond_64_bits_stay_exact():
    assert Result(sums(2**70)).scalar() == 2**70


def test_scalar_needs_exactly_one_value():
    with pytest.raises(ValueError, match="2x1"):
        Result(sums(1, 2)).scalar()


def test_rows_as_json_events():
    result = Result(pa.table({"http.status": [200, None], "service": ["web", "db"], "took": [0.5, 2.0]}))
    assert result.to_ndjson() == (b'{"http":{"status":200},"service":"web","took":0.5}\n{"service":"db","took":2.0}\n')
    assert result.to_ndjson(nested=False).splitlines()[0] == b'{"http.status":200,"service":"web","took":0.5}'
