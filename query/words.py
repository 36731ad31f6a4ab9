"""Owns which whole words a condition makes sure of: what token indexes can be asked for. Never opens one.

Always conservative: never a word that a value which meets the condition might lack.
"""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from query.dialect import call_name
from query.operators import Infix
from query.search.word_patterns import expressed, tokens_within
from query.text_forms import like_pattern, text_of

Tokens = tuple[str, ...]
Needed = list[tuple[exp.Column, Tokens]]

# What the engine lowers characters to that are not ASCII (the Kelvin sign, the dotted capital I); tokens do not.
_LOWERED_TO: Final = frozenset("ki")
_WHOLE: Final = (True, True)
# Where a literal stands in a text that has it: whether no word goes on before it and behind it.
_PARTS: Final = {
    "contains": (False, False),
    "starts_with": (True, False),
    "prefix": (True, False),
    "ends_with": (False, True),
    "suffix": (False, True),
    "list_contains": _WHOLE,
    "list_has": _WHOLE,
    "array_contains": _WHOLE,
    "array_has": _WHOLE,
}


def required_tokens(condition: exp.Expr) -> Needed:
    """Columns, each with the lower-case ASCII tokens that its text holds whenever `condition` is true.

    Holds for columns that are read as text or as lists of it; a comparison of another type with a text literal says
    nothing about tokens, so such columns are the caller's to leave out. Empty when nothing is sure.
    """
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.And):
        return [*required_tokens(condition.this), *required_tokens(condition.expression)]
    if isinstance(condition, exp.Or):
        return _both(required_tokens(condition.this), required_tokens(condition.expression))
    if (element := _of_elements(condition)) is not None:
        return element
    column, tokens = _single(condition)
    return [(column, tokens)] if isinstance(column, exp.Column) and tokens else []


def token_clauses(condition: exp.Expr) -> list[Needed]:
    """Of each clause, at least one entry holds whenever `condition` is true; required_tokens() are those of one entry.

    An entry without tokens only says that the column has a value. This is how a search for a word anywhere can be
    pruned: its one clause names every attribute.
    """
    while isinstance(condition, exp.Paren):
        condition = condition.this
    if isinstance(condition, exp.And):
        return [*token_clauses(condition.this), *token_clauses(condition.expression)]
    if isinstance(condition, exp.Or):
        sides = [token_clauses(side) for side in (condition.this, condition.expression)]
        return [[entry for side in sides for entry in min(side, key=_weakness)]] if all(sides) else []
    if isinstance(condition, exp.Is) and condition.args.get("negate") and isinstance(condition.this, exp.Column):
        return [[(condition.this, ())]] if isinstance(condition.expression, exp.Null) else []
    return [[entry] for entry in required_tokens(condition)]


def _weakness(clause: Needed) -> tuple[int, int]:
    """Sorts the clause first that likely prunes most: few entries without tokens, few entries."""
    return sum(not tokens for _, tokens in clause), len(clause)


def _both(left: Needed, right: Needed) -> Needed:
    """What holds in either case."""
    needed: dict[exp.Column, set[str]] = {}
    for column, tokens in right:
        needed.setdefault(column, set()).update(tokens)
    kept = [(column, tuple(token for token in tokens if token in needed.get(column, ()))) for column, tokens in left]
    return [(column, tokens) for column, tokens in kept if tokens]


def _of_elements(condition: exp.Expr) -> Needed | None:
    """What holds of a list when one of its elements passes a test, as query.search.conditions asks it."""
    if not isinstance(condition, exp.GT) or call_name(condition.this) != "len" or len(condition.this.expressions) != 1:
        return None
    filtered = condition.this.expressions[0]
    if call_name(filtered) != "list_filter" or len(filtered.expressions) != 2:
        return None
    elements, test = filtered.expressions
    zero = isinstance(condition.expression, exp.Literal) and condition.expression.name == "0"
    if (
        not zero
        or not isinstance(elements, exp.Column)
        or not isinstance(test, exp.Lambda)
        or len(test.expressions) != 1
    ):
        return None
    (name,) = test.expressions
    body = exp.Paren(this=test.this.copy())
    for found in [node for node in body.find_all(exp.Identifier) if node == name and isinstance(node.parent, exp.Expr)]:
        if not isinstance(found.parent, exp.Column):
            found.replace(exp.Column(this=found.copy()))
    held = [tokens for column, tokens in required_tokens(body) if column == exp.Column(this=name.copy())]
    tokens = tuple(dict.fromkeys(token for found_tokens in held for token in found_tokens))
    return [(elements, tokens)] if tokens else None


def _single(condition: exp.Expr) -> tuple[Any, Tokens]:
    if isinstance(condition, exp.EQ):
        for column, value in ((condition.this, condition.expression), (condition.expression, condition.this)):
            if isinstance(column, exp.Column):
                return column, _tokens(text_of(value), _WHOLE)
    if isinstance(condition, exp.In) and len(condition.expressions) == 1:
        return condition.this, _tokens(text_of(condition.expressions[0]), _WHOLE)
    if isinstance(condition, (exp.Like, exp.ILike, exp.Escape)):
        return _like(condition)
    if isinstance(condition, Infix) and condition.args["sign"] == "^@":
        return condition.this, _tokens(text_of(condition.expression), _PARTS["prefix"])
    if isinstance(condition, exp.Anonymous) and len(condition.expressions) == 2:
        return _call(condition)
    return None, ()


def _call(condition: exp.Anonymous) -> tuple[Any, Tokens]:
    subject, argument = condition.expressions
    name, literal = call_name(condition), text_of(argument)
    if name == "regexp_matches" and literal is not None:
        pattern = expressed(literal)
        return subject, tokens_within(pattern, bounded_start=True, bounded_end=True) if pattern else ()
    if name not in _PARTS:
        return None, ()
    lowers = call_name(subject) in ("lower", "lcase") and len(subject.expressions) == 1
    tokens = _tokens(literal, _PARTS[name])
    if not lowers:
        return subject, tokens
    return subject.expressions[0], _surely_lowered(tokens) if literal == (literal or "").lower() else ()


def _like(condition: exp.Expr) -> tuple[Any, Tokens]:
    escape: str | None = ""
    if isinstance(condition, exp.Escape):
        escape = text_of(condition.expression)
        condition = condition.this
    literal = text_of(condition.expression) if isinstance(condition, (exp.Like, exp.ILike)) else None
    if literal is None or escape is None or len(escape) > 1 or condition.args.get("negate"):
        return None, ()
    tokens = tokens_within(like_pattern(literal, escape), bounded_start=True, bounded_end=True)
    return condition.this, _surely_lowered(tokens) if isinstance(condition, exp.ILike) else tokens


def _surely_lowered(tokens: Tokens) -> Tokens:
    """Those of `tokens` that no other character than ASCII letters is lowered to."""
    return tuple(token for token in tokens if not _LOWERED_TO & set(token))


def _tokens(literal: str | None, bounded: tuple[bool, bool]) -> Tokens:
    return tokens_within((literal,), bounded_start=bounded[0], bounded_end=bounded[1]) if literal else ()
