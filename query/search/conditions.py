"""Owns the SQL of words: the condition that a text holds them. Never looks at streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlglot import exp

from query.search.syntax import Pattern, Wild
from query.search.word_patterns import word_expression

Operand = Callable[[], exp.Expr]  # a new node for the same value each time

_LIKE: Final = {Wild.ANY: "%", Wild.ONE: "_"}
_LIKE_SPECIAL: Final = ("\\", "%", "_")


def call(name: str, *arguments: exp.Expr) -> exp.Expr:
    """A call of the engine's function `name`."""
    return exp.Anonymous(this=name, expressions=list(arguments))


def text(value: str) -> exp.Expr:
    """`value` as an SQL text."""
    return exp.Literal.string(value)


def holds_words(pattern: Pattern, operand: Operand) -> exp.Expr:
    """The text `operand` holds the words of `pattern`: a cheap test for a part of them, then the exact one."""
    # What bounds a word makes an expression slow. Measured for 0.8 M messages of which 3 % hold a word: 72 ms to read
    # them, 201 ms with the exact test alone, 111 ms with both; 133 ms with contains(lower(…), …) as the cheap one.
    longest = max((part for part in pattern if isinstance(part, str)), key=len, default="")
    expressions = [word_expression((Wild.ANY, longest, Wild.ANY)), word_expression(pattern)]
    tests = [call("regexp_matches", operand(), text(expression)) for expression in dict.fromkeys(expressions)]
    return all_hold(tests if longest else tests[-1:])


def is_like(pattern: Pattern, operand: Operand) -> exp.Expr:
    """The whole text `operand` has the form of `pattern`, in the same case."""
    escapes = any(special in part for part in pattern if isinstance(part, str) for special in _LIKE_SPECIAL)
    parts = [_LIKE[part] if isinstance(part, Wild) else _like_text(part) for part in pattern]
    like = exp.Like(this=operand(), expression=text("".join(parts)))
    return exp.Escape(this=like, expression=text("\\")) if escapes else like


def _like_text(part: str) -> str:
    for special in _LIKE_SPECIAL:
        part = part.replace(special, f"\\{special}")
    return part


def some_element(elements: exp.Expr, test: Callable[[Operand], exp.Expr]) -> exp.Expr:
    """One of the list `elements` passes `test`."""
    name = exp.Identifier(this="x")
    passes = exp.Lambda(this=test(name.copy), expressions=[name])
    return exp.GT(this=call("len", call("list_filter", elements, passes)), expression=exp.Literal.number(0))


def all_hold(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """All of `conditions`, as a tree of little depth."""
    return _joined(exp.And, conditions)


def one_holds(conditions: Sequence[exp.Expr]) -> exp.Expr:
    """One of `conditions`, as a tree of little depth; false without any."""
    return _joined(exp.Or, conditions) if conditions else exp.false()


def _joined(connector: type[exp.Connector], conditions: Sequence[exp.Expr]) -> exp.Expr:
    if len(conditions) == 1:
        return conditions[0]
    middle = len(conditions) // 2
    left, right = (_joined(connector, half) for half in (conditions[:middle], conditions[middle:]))
    return connector(this=_operand(connector, left), expression=_operand(connector, right))


def _operand(connector: type[exp.Connector], node: exp.Expr) -> exp.Expr:
    return exp.Paren(this=node) if isinstance(node, exp.Connector) and not isinstance(node, connector) else node


def enclosed(node: exp.Expr) -> exp.Expr:
    """`node` so that it can stand anywhere."""
    return exp.Paren(this=node) if isinstance(node, exp.Connector) else node


def is_not(node: exp.Expr) -> exp.Expr:
    """`node` does not hold, also where it is null."""
    return exp.Not(this=call("coalesce", node, exp.false()))
