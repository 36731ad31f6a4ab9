"""Owns what a query's conjuncts say of the rows it wants: time range, predicates, words. Sees no data.

Always conservative: every wanted row meets what is found here; what is not understood asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlglot import exp

from core.batch import REST, TIMESTAMP
from query.columns import is_resolved, target_of
from query.dialect import call_name, render
from query.executor import Session
from query.fragment import KNOWN, LIKE, Condition, Predicate, TimeRange, Words
from query.readings import VARCHAR
from query.sources import StreamSource
from query.text_forms import form_of
from query.words import token_clauses

_FLIPPED: Final = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERATORS: Final[dict[type[exp.Expr], str]] = {exp.EQ: "=", exp.LT: "<", exp.LTE: "<=", exp.GT: ">", exp.GTE: ">="}
_DIGITS_MAX: Final = 300  # of a number: a double holds no more than 308
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


def bind_conditions(conditions: Iterable[exp.Expr], session: Session) -> tuple[tuple[Condition, ...], TimeRange | None]:
    """The conjuncts as SQL for a scan, and the range of event times that they leave, None when they do not bound it."""
    conditions = list(conditions)
    bounds: list[tuple[int, str, str]] = []  # conjunct, operator, SQL of a constant
    more: set[int] = set()  # conjuncts that say something else too
    for number, condition in enumerate(conditions):
        for column, operator, values in _comparisons([condition]):
            if target_of(column).system == TIMESTAMP and len(values) == 1 and _is_constant(values[0]):
                bounds.append((number, operator, render(values[0])))
            else:
                more.add(number)
    if not bounds:
        return tuple(Condition(render(condition)) for condition in conditions), None
    # Evaluated by the engine, which alone knows all its time functions; what it cannot cast does not bound.
    items = ", ".join(f"epoch_us(TRY_CAST({sql} AS TIMESTAMPTZ)) AS c{i}" for i, (_, _, sql) in enumerate(bounds))
    times = session.table(f"SELECT {items}").to_pylist()[0].values()
    ranges: dict[int, list[TimeRange | None]] = {}
    for (number, operator, _), time_us in zip(bounds, times, strict=True):
        ranges.setdefault(number, []).append(None if time_us is None else _range(operator, time_us))
    bound = []
    for number, condition in enumerate(conditions):
        # Only what is bounded by all its parts says nothing else than a range.
        found = ranges.get(number, [None])
        within = (
            None
            if None in found or number in more
            else _intersection([range_ for range_ in found if range_ is not None])
        )
        bound.append(Condition(render(condition), within))
    known = [range_ for found in ranges.values() for range_ in found if range_ is not None]
    return tuple(bound), _intersection(known) if known else None


def _range(operator: str, time_us: int) -> TimeRange:
    # One microsecond more on each side: the cast may have cut a finer literal.
    start = time_us - 1 if operator in ("=", ">", ">=") else None
    end = time_us + 1 if operator in ("=", "<", "<=") else None
    return TimeRange(start, end)


def _intersection(ranges: list[TimeRange]) -> TimeRange:
    starts = [range_.start_us for range_ in ranges if range_.start_us is not None]
    ends = [range_.end_us for range_ in ranges if range_.end_us is not None]
    return TimeRange(max(starts, default=None), min(ends, default=None))


def words(conditions: Iterable[exp.Expr], source: StreamSource) -> tuple[tuple[Words, ...], ...]:
    """Clauses of words: of each, every row that meets the conjuncts meets at least one entry."""
    texts = {column.name for column in source.columns.values() if column.type.removesuffix("[]") == VARCHAR}
    found = []
    for condition in conditions:
        for clause in token_clauses(condition):
            targets = [(target_of(column), tokens if column.name in texts else ()) for column, tokens in clause]
            if all(target.path or target.system == REST for target, _ in targets):
                found.append(tuple(Words(target.path, target.kind, tokens) for target, tokens in targets))
    return tuple(found)


def predicates(conditions: Iterable[exp.Expr], source: StreamSource) -> tuple[Predicate, ...]:
    """What every row that meets the conjuncts meets, as far as the index of a segment can refute it."""
    types = {column.name: column.type for column in source.columns.values()}
    return tuple(predicate for condition in conditions for predicate in _predicates(condition, types))


def _predicates(condition: exp.Expr, types: Mapping[str, str]) -> list[Predicate]:
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.And):
        return [*_predicates(condition.this, types), *_predicates(condition.expression, types)]
    if isinstance(condition, exp.Or):
        left, right = (_by_operand(_predicates(side, types)) for side in (condition.this, condition.expression))
        return [found for of in left if of in right for found in _either(left[of], right[of])]
    found: list[Predicate] = []
    for column, operator, values in _comparisons([condition]):
        target = target_of(column)
        constants = [_constant(value) for value in values]
        if target.path and None not in constants:
            found.append(Predicate(target.path, target.kind, types[column.name], operator, tuple(constants)))
    formed = form_of(condition)
    if formed is not None and isinstance(formed[0], exp.Column) and is_resolved(formed[0]):
        target = target_of(formed[0])
        if target.path and types[formed[0].name] == VARCHAR:
            found.append(Predicate(target.path, target.kind, VARCHAR, LIKE, (formed[1],)))
    return found


def _by_operand(predicates: Iterable[Predicate]) -> dict[tuple[str, str | None, str], dict[str, Predicate]]:
    """By what is compared and by operator, one predicate each."""
    found: dict[tuple[str, str | None, str], dict[str, Predicate]] = {}
    for predicate in predicates:
        found.setdefault((predicate.path, predicate.kind, predicate.type), {})[predicate.operator] = predicate
    return found


def _either(left: dict[str, Predicate], right: dict[str, Predicate]) -> Iterator[Predicate]:
    """What is met where one of each side is, all of one operand."""
    for operator, one in left.items():
        if operator in right:
            yield replace(one, values=one.values + right[operator].values)
    for some, others in ((left, right), (right, left)):
        equal, like = some.get("="), others.get(LIKE)
        if equal is not None and like is not None and all(isinstance(value, str) for value in equal.values):
            yield replace(like, values=(*like.values, *((value,) for value in equal.values)))


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
            yield inner, KNOWN, ()


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
    if len(text) > _DIGITS_MAX:
        return None
    return int(text) if text.isdigit() else float(text)
