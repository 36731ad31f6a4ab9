"""Owns pruning: from a query's conjuncts to time range and predicates, and from those to files that can be skipped.

Always conservative: what is skipped cannot hold a wanted row; what is not understood is not skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlglot import exp

from core.batch import TIMESTAMP
from core.columns import FLOAT, INT, STR, UINT
from query.columns import is_resolved, target_of
from query.dialect import call_name, render
from query.executor import Session
from query.fragment import Predicate, TimeRange
from query.readings import NUMERIC_TYPES, VARCHAR
from query.sources import StreamSource
from storage.snapshot import ColumnStats, Segment

_FLIPPED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: Final[dict[type[exp.Expr], str]] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_KNOWN: Final = "known"
_NUMBER_KINDS: Final = frozenset({INT, UINT, FLOAT})
_VOLATILE: Final = frozenset({"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7"})

_Comparison = tuple[exp.Column, str, tuple[exp.Expr, ...]]


def conjuncts(where: exp.Expr | None) -> list[exp.Expr]:
    """The conditions that all have to hold for `where` to hold."""
    if where is None:
        return []
    condition = where.this if isinstance(where, exp.Where) else where
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.And):
        return [*conjuncts(condition.this), *conjuncts(condition.expression)]
    return [condition]


def is_volatile(node: exp.Expr) -> bool:
    """Whether `node` may give another value each time."""
    return any(call_name(call) in _VOLATILE for call in node.find_all(exp.Anonymous))


def time_range(conditions: Iterable[exp.Expr], session: Session) -> TimeRange | None:
    """The range of event times that the conjuncts leave, None when they do not bound it."""
    bounds: list[tuple[str, str]] = []
    for column, operator, values in _comparisons(conditions):
        if target_of(column).system == TIMESTAMP and len(values) == 1 and _is_constant(values[0]):
            bounds.append((operator, render(values[0])))
    if not bounds:
        return None
    # Evaluated by the engine, which alone knows all its time functions; what it cannot cast does not bound.
    items = ", ".join(f"epoch_us(TRY_CAST({sql} AS TIMESTAMPTZ)) AS c{i}" for i, (_, sql) in enumerate(bounds))
    row = session.table(f"SELECT {items}").to_pylist()[0]
    starts = [row[f"c{i}"] for i, (operator, _) in enumerate(bounds) if operator in ("=", ">", ">=")]
    ends = [row[f"c{i}"] for i, (operator, _) in enumerate(bounds) if operator in ("=", "<", "<=")]
    # One microsecond more on each side: the cast may have cut a finer literal.
    start = max((value - 1 for value in starts if value is not None), default=None)
    end = min((value + 1 for value in ends if value is not None), default=None)
    return None if start is None and end is None else TimeRange(start, end)


def predicates(conditions: Iterable[exp.Expr], source: StreamSource) -> tuple[Predicate, ...]:
    """The conjuncts that zone maps can refute."""
    types = {column.name: column.type for column in source.columns.values()}
    found: list[Predicate] = []
    for column, operator, values in _comparisons(conditions):
        target = target_of(column)
        constants = [_constant(value) for value in values]
        if target.path and None not in constants:
            found.append(Predicate(target.path, target.kind, types[column.name], operator, tuple(constants)))
    return tuple(found)


def segment_may_match(segment: Segment, range_: TimeRange | None, wanted: Iterable[Predicate]) -> bool:
    """Whether `segment` may hold a row that is in the range and meets all predicates."""
    if range_ is not None and not range_.overlaps(segment.timestamp_min_us, segment.timestamp_max_us):
        return False
    return segment.has_rest or all(_may_meet(segment.columns, predicate) for predicate in wanted)


def _may_meet(columns: tuple[ColumnStats, ...], predicate: Predicate) -> bool:
    held = [
        stats
        for stats in columns
        if stats.key.path == predicate.path and predicate.kind in (None, stats.key.kind) and stats.values
    ]
    return any(_column_may_meet(stats, predicate) for stats in held)


def _column_may_meet(stats: ColumnStats, predicate: Predicate) -> bool:
    if predicate.operator == _KNOWN:
        return True
    if stats.minimum is None or stats.maximum is None:
        return True
    kind = stats.key.kind
    if predicate.type in NUMERIC_TYPES and kind in _NUMBER_KINDS:
        if any(isinstance(value, (str, bool)) for value in predicate.values):
            return True
        # As floats on both sides: the engine may compare so, and rounding keeps the order.
        low, high = float(stats.minimum), float(stats.maximum)
        return any(
            _in_zone(low, high, predicate.operator, float(value), nan=kind == FLOAT) for value in predicate.values
        )
    if predicate.type == VARCHAR and kind == STR and all(isinstance(value, str) for value in predicate.values):
        # Code point order is the order of UTF-8 bytes, which the engine compares.
        return any(_in_zone(stats.minimum, stats.maximum, predicate.operator, value) for value in predicate.values)
    return True


def _in_zone(low: Any, high: Any, operator: str, value: Any, nan: bool = False) -> bool:
    if operator in ("<", "<="):
        return bool(low <= value)
    if operator in (">", ">="):
        # NaN is above all numbers for the engine, and zone maps do not count it.
        return nan or bool(high >= value)
    return bool(low <= value <= high)


def _comparisons(conditions: Iterable[exp.Expr]) -> Iterator[_Comparison]:
    """Column, operator and other sides of each conjunct that compares a stream's column."""
    for condition in conditions:
        if type(condition) in _OPERATORS:
            left, right, operator = condition.this, condition.expression, _OPERATORS[type(condition)]
            if is_resolved(left):
                yield left, operator, (right,)
            if is_resolved(right):
                yield right, _FLIPPED[operator], (left,)
        elif isinstance(condition, exp.Between) and is_resolved(condition.this) and not condition.args.get("symmetric"):
            yield condition.this, ">=", (condition.args["low"],)
            yield condition.this, "<=", (condition.args["high"],)
        elif isinstance(condition, exp.In) and is_resolved(condition.this) and condition.expressions:
            yield condition.this, "=", tuple(condition.expressions)
        elif (inner := _not_null(condition)) is not None and is_resolved(inner):
            yield inner, _KNOWN, ()


def _not_null(condition: exp.Expr) -> Any:
    """What `condition` says is not null, None when it says something else."""
    negated = isinstance(condition, exp.Not)
    inner = condition.this if negated else condition
    if not isinstance(inner, exp.Is) or not isinstance(inner.expression, exp.Null):
        return None
    return inner.this if bool(inner.args.get("negate")) != negated else None


def _is_constant(node: exp.Expr) -> bool:
    return not any(isinstance(part, (exp.Column, exp.Query, exp.Star)) for part in node.walk()) and not is_volatile(
        node
    )


def _constant(node: exp.Expr) -> Any:
    """The Python value of a plain literal, None for anything else."""
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Neg):
        value = _constant(node.this)
        return -value if isinstance(value, (int, float)) else None
    if not isinstance(node, exp.Literal):
        return None
    if node.is_string:
        return node.name
    text = node.name
    return int(text) if text.isdigit() else float(text)
