"""Owns the check that two contenders gave the same answer: rows, keys and numbers. Never runs a query."""

from __future__ import annotations

import decimal
import math
from datetime import UTC, datetime
from typing import Any, Final

import pyarrow as pa

TOLERANCE: Final = 1e-9  # sums of floats depend on their order
# Sketches and digests, in columns whose names begin with APPROXIMATE: on average, and in any one row, where few values
# can make a quantile jump.
APPROXIMATE: Final = "approx"
APPROXIMATE_MEAN_TOLERANCE: Final = 0.1
APPROXIMATE_FACTOR_MAX: Final = 2.0


def disagreement(first: pa.Table, second: pa.Table) -> str:
    """What differs between two answers, "" when nothing does. The order of rows is not compared."""
    if first.num_rows != second.num_rows:
        return f"{first.num_rows} rows beside {second.num_rows}"
    if first.num_columns != second.num_columns:
        return f"{first.num_columns} columns beside {second.num_columns}"
    approximate = [index for index, name in enumerate(first.column_names) if name.startswith(APPROXIMATE)]
    rows = list(zip(_rows(first), _rows(second), strict=True))
    for one, other in rows:
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if not (_near(a, b) if index in approximate else _same(a, b)):
                return f"{one} beside {other}"
    for index in approximate:
        ratios = [math.log(one[index] / other[index]) for one, other in rows if one[index] and other[index]]
        if ratios and abs(sum(ratios)) / len(ratios) > APPROXIMATE_MEAN_TOLERANCE:
            return f"{first.column_names[index]} differs by {abs(sum(ratios)) / len(ratios):.0%} on average"
    return ""


def _rows(table: pa.Table) -> list[tuple[Any, ...]]:
    rows = zip(*([_plain(value) for value in column.to_pylist()] for column in table.columns), strict=True)
    # Times, counts and texts identify a row; floats only after them, because they may differ in the last digits.
    return sorted(rows, key=lambda row: (_keys(row, exact=True), _keys(row, exact=False)))


def _keys(row: tuple[Any, ...], exact: bool) -> list[tuple[bool, str, Any]]:
    return [
        (value is not None, type(value).__name__, 0 if value is None else value)
        for value in row
        if isinstance(value, float) != exact
    ]


def _plain(value: Any) -> Any:
    """Numbers as int where they are whole, else float; times as microseconds since 1970."""
    if isinstance(value, datetime):
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1e6)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, decimal.Decimal):
        value = int(value) if value == value.to_integral_value() else float(value)
    return value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, int | float) and isinstance(b, int | float):
        return math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(a == b)


def _near(a: Any, b: Any) -> bool:
    if not a or not b:
        return bool(a == b)
    return 1 / APPROXIMATE_FACTOR_MAX <= a / b <= APPROXIMATE_FACTOR_MAX
