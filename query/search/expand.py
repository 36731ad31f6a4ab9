"""Owns what a test of a search means over the paths that a stream has: a node of a search becomes SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from core.batch import REST, TIMESTAMP
from core.columns import JSON, STR
from core.errors import InvalidQuery
from query.readings import NUMERIC_TYPES, VARCHAR
from query.scope import Scope
from query.search.compile import SearchTest
from query.search.conditions import (
    Operand,
    all_hold,
    call,
    enclosed,
    holds_words,
    is_like,
    one_holds,
    some_element,
    text,
)
from query.search.moments import Moment, moment
from query.search.networks import in_networks
from query.search.reading import PathReading, is_moment, is_truth, number
from query.search.syntax import Between, Bound, Equals, Exists, InNetworks, Like, Pattern, Words
from query.sources import OtherSource, Source, StreamSource, Target

MESSAGE: Final = "message"  # what a word without a path is looked for in
_TEXT_KINDS: Final = (STR, JSON)
_BLOB: Final = "BLOB"
_TRUTHS: Final = {"true": exp.true, "false": exp.false}


def expand_test(node: SearchTest, scopes: Sequence[Scope], warnings: dict[str, None]) -> exp.Expr:
    """The SQL of `node` over the FROM items in sight, the innermost scope first. Raises InvalidQuery."""
    test = node.args["test"]
    source, qualifier = _source(node, scopes)
    if isinstance(test, Words) and test.anywhere:
        return enclosed(_anywhere(test.pattern, source, qualifier, node))
    path = MESSAGE if isinstance(test, Words) else test.path
    reading = _reading(path, source, qualifier, warnings)
    return enclosed(_condition(test, reading, node))


def _condition(test: object, reading: PathReading, node: SearchTest) -> exp.Expr:
    if isinstance(test, Words):
        return reading.texts(lambda operand: holds_words(test.pattern, operand), as_whole=True)
    if isinstance(test, Like):
        return reading.texts(lambda operand: is_like(test.pattern, operand))
    if isinstance(test, InNetworks):
        return reading.texts(lambda operand: in_networks(test.networks, operand))
    if isinstance(test, Exists):
        return _exists(reading)
    if isinstance(test, Between):
        return _between(reading, test, node)
    if isinstance(test, Equals):
        return _equals(reading, test.values, node)
    raise InvalidQuery(f"a search test of type {type(test).__name__} is not known: compile the search again")


def _fail(node: SearchTest, message: str) -> InvalidQuery:
    return InvalidQuery(message, line=node.args.get("line") or 0, column=node.args.get("column") or 0)


def _source(node: SearchTest, scopes: Sequence[Scope]) -> tuple[Source, str | None]:
    """The FROM item that `node` is about, and what its columns are to be qualified with."""
    wanted = node.args.get("qualifier")
    for scope in scopes:
        sources = list(scope.sources.values())
        if wanted is not None:
            named = scope.sources.get(wanted.casefold())
            if named is not None:
                return named, named.alias
            continue
        streams = scope.streams()
        if len(sources) == 1 or len(streams) == 1:
            source = streams[0] if streams else sources[0]
            plain = len(sources) == 1 and scope is scopes[0]
            return source, None if plain or not source.alias else source.alias
        if sources:
            names = ", ".join(source.alias for source in sources)
            raise _fail(node, f"a search does not say which of {names} it means: write matches('…', alias)")
    if wanted is not None:
        raise _fail(node, f"no stream of this query has the alias {wanted!r}: check the second argument of matches")
    raise _fail(node, "a search needs a stream: select from one")


def _reading(path: str, source: Source, qualifier: str | None, warnings: dict[str, None]) -> PathReading:
    if isinstance(source, OtherSource):
        return PathReading(source.output(path) or path, qualifier=qualifier)
    target = source.known(path) or source.known(f"@{path}") or Target(path=path)
    if target.path and target.path not in source.shape.paths:
        warning = source.unknown_warning(path, quoted=False)
        if warning is not None:
            warnings[warning] = None
    return PathReading(path, source, target, qualifier)


def _anywhere(pattern: Pattern, source: Source, qualifier: str | None, node: SearchTest) -> exp.Expr:
    """Some text attribute of the event holds the words of `pattern`."""
    found: list[exp.Expr] = []
    if isinstance(source, StreamSource):
        for path, kinds in source.shape.paths.items():
            for kind in kinds:
                if kind.removesuffix("[]") in _TEXT_KINDS:
                    # Values in _rest are asked for once, below.
                    reading = PathReading(path, source, _only(path, kind, kinds, source), qualifier)
                    found.append(reading.texts(lambda operand: holds_words(pattern, operand), as_whole=True))
        if source.shape.has_rest:
            found.append(_in_rest(pattern, PathReading(REST, source, Target(system=REST), qualifier)))
        return one_holds(found)
    if source.outputs is None:
        raise _fail(node, "the columns of this query are not known here: search a path of it, or a stream")
    for output in source.outputs:
        column = PathReading(output, qualifier=qualifier)
        found.append(column.texts(lambda operand: holds_words(pattern, operand), as_whole=True))
    return one_holds(found)


def _only(path: str, kind: str, kinds: dict[str, int], source: StreamSource) -> Target:
    return Target(path=path) if len(kinds) == 1 and not source.shape.has_rest else Target(path=path, kind=kind)


def _in_rest(pattern: Pattern, rest: PathReading) -> exp.Expr:
    values = call("json_extract_string", rest.column(), text("$.*"))
    held = some_element(values, lambda operand: holds_words(pattern, operand))
    return exp.And(this=_is_there(rest.column()), expression=held)


def _exists(reading: PathReading) -> exp.Expr:
    column: exp.Expr = reading.column()
    if reading.in_rest and reading.type in NUMERIC_TYPES:
        # Text in _rest is no number, but it is there.
        column = exp.Cast(this=column, to=exp.DataType.build(VARCHAR))
    below: list[exp.Expr] = [_is_there(column)]
    source, target = reading.source, reading.target
    if source is not None and target is not None and target.path and not reading.kinds:
        inside = [path for path in source.shape.paths if path.startswith(f"{target.path}.")]
        below += [
            _is_there(PathReading(path, source, Target(path=path), reading.qualifier).column()) for path in inside
        ]
    return one_holds(below)


def _is_there(column: exp.Expr) -> exp.Expr:
    return exp.Is(this=column, expression=exp.Null(), negate=True)


def _equals(reading: PathReading, values: tuple[str, ...], node: SearchTest) -> exp.Expr:
    if is_moment(reading):
        moments = [_moment(reading, value, node) for value in values]
        return one_holds([_at(reading, found) for found in moments if found is not None])
    if is_truth(reading):
        truths = {value.lower() for value in values} & _TRUTHS.keys()
        held = [reading.values(_equal_to(_TRUTHS[truth]())) for truth in sorted(truths)]
        return one_holds(held + _texts_equal(reading, [v for v in values if v.lower() not in _TRUTHS]))
    numbers = {value: found for value in values if (found := number(value)) is not None}
    if any(reading.is_a(type_) for type_ in NUMERIC_TYPES):
        others = [value for value in values if value not in numbers] if reading.in_rest else []
        return one_holds([*_numbers_equal(reading, list(numbers.values())), *_texts_equal(reading, others)])
    texts = [
        *values,
        *(v.lower() for v in values if v.lower() in _TRUTHS and v not in _TRUTHS and not reading.only_text),
    ]
    conditions = _texts_equal(reading, texts)
    if not reading.only_text and not reading.is_a(_BLOB):
        conditions += _numbers_equal(reading, list(numbers.values()))
    return one_holds(conditions)


def _equal_to(value: exp.Expr) -> Callable[[Operand], exp.Expr]:
    return lambda operand: exp.EQ(this=operand(), expression=value.copy())


def _texts_equal(reading: PathReading, values: Sequence[str]) -> list[exp.Expr]:
    if len(values) > 1 and reading.only_text and not reading.in_rest:
        return [exp.In(this=reading.column(), expressions=[text(value) for value in values])]
    return [reading.texts(_equal_to(text(value)), value=value) for value in values]


def _numbers_equal(reading: PathReading, values: Sequence[exp.Expr]) -> list[exp.Expr]:
    if not values:
        return []
    if len(values) == 1:
        return [reading.numbers(_equal_to(values[0]))]
    return [reading.numbers(lambda operand: exp.In(this=operand(), expressions=[value.copy() for value in values]))]


def _moment(reading: PathReading, value: str, node: SearchTest) -> Moment | None:
    found = moment(value)
    if found is None and reading.target == Target(system=TIMESTAMP):
        raise _fail(
            node,
            f"{value!r} is no time: expected one such as 2026-01-31, 2026-01-31T08:30:00Z, now or now-15m",
        )
    return found


def _at(reading: PathReading, time: Moment) -> exp.Expr:
    def test(operand: Operand) -> exp.Expr:
        if time.until is None:
            return exp.EQ(this=operand(), expression=time.sql.copy())
        return exp.And(
            this=exp.GTE(this=operand(), expression=time.sql.copy()),
            expression=exp.LT(this=operand(), expression=time.until.copy()),
        )

    return reading.values(test)


def _between(reading: PathReading, test: Between, node: SearchTest) -> exp.Expr:
    bounds = [bound for bound in (test.low, test.high) if bound is not None]
    if is_moment(reading):
        moments = [_moment(reading, bound.value, node) for bound in bounds]
        if None in moments:
            return exp.false()
        ends = [found for found in moments if found is not None]
        comparisons = [_compare_moment(b, b is test.low, found) for b, found in zip(bounds, ends, strict=True)]
        return reading.values(lambda operand: all_hold([c(operand) for c in comparisons]))
    numbers = [number(bound.value) for bound in bounds]
    if all(found is not None for found in numbers):
        sides = [found for found in numbers if found is not None]
        pairs = list(zip(bounds, sides, strict=True))
        return reading.numbers(lambda operand: all_hold([_compare(operand, b, b is test.low, s) for b, s in pairs]))
    if reading.type and not reading.is_a(VARCHAR):
        return exp.false()
    return reading.texts(lambda operand: all_hold([_compare(operand, b, b is test.low, text(b.value)) for b in bounds]))


def _compare(operand: Operand, bound: Bound, is_low: bool, value: exp.Expr) -> exp.Expr:
    return _comparison(is_low, bound.inclusive)(this=operand(), expression=value.copy())


def _comparison(is_low: bool, inclusive: bool) -> type[exp.Binary]:
    if is_low:
        return exp.GTE if inclusive else exp.GT
    return exp.LTE if inclusive else exp.LT


def _compare_moment(bound: Bound, is_low: bool, time: Moment) -> Callable[[Operand], exp.Expr]:
    """How `bound` compares; a day that was written belongs to the range, or does not, as a whole."""
    if time.until is None or not time.is_day:
        return lambda operand: _compare(operand, bound, is_low, time.sql)
    value = time.until if bound.inclusive != is_low else time.sql
    class_: type[exp.Binary] = exp.GTE if is_low else exp.LT
    return lambda operand: class_(this=operand(), expression=value.copy())
