"""Owns the search inside of SQL: `matches('…')` and `last('15m')` become the conditions that they ask for."""

from __future__ import annotations

from typing import Any, Final

from sqlglot import exp

from core.batch import TIMESTAMP
from core.errors import InvalidQuery
from query.allow import refusal
from query.dialect import call_name, render
from query.search.compile import compile_search
from query.search.conditions import call, enclosed
from query.search.moments import interval
from query.search.scanner import Place

MATCHES: Final = "matches"
LAST: Final = "last"
_TRUTH_PLACES: Final = (exp.And, exp.Or, exp.Not, exp.Where, exp.Having, exp.Qualify)


def replace_calls(tree: exp.Expr, sql: str) -> None:
    """Put the conditions in the place of the calls in `tree`, the tree of `sql`. Raises InvalidQuery."""
    for node in list(tree.find_all(exp.Anonymous)):
        name = call_name(node)
        if name == MATCHES:
            _replace(node, _matches(node, sql))
        elif name == LAST and _is_truth_place(node):
            node.replace(_last(node))


def _replace(node: exp.Anonymous, condition: exp.Expr) -> None:
    if isinstance(node.parent, exp.Select) and node.arg_key == "expressions":
        # The column keeps the name that the call would give it.
        condition = exp.Alias(this=condition, alias=exp.to_identifier(render(node), quoted=True))
    node.replace(condition)


def _matches(node: exp.Anonymous, sql: str) -> exp.Expr:
    search, alias = _arguments(
        node, "matches takes the text of a search, matches('status:error'), and may take an alias"
    )
    condition = compile_search(search.name, alias, _place(search, node, sql))
    if condition is None:
        return exp.true()
    # Where only true counts, the tests stay in sight of pruning; elsewhere null would show.
    return enclosed(condition) if _only_true_counts(node) else call("coalesce", condition, exp.false())


def _last(node: exp.Anonymous) -> exp.Expr:
    length, alias = _arguments(node, "last takes a length of time, last('15m'), and may take an alias")
    before = interval(length.name)
    if before is None:
        raise refusal(
            node, f"{length.name!r} is no length of time: write a number and one of s, m, h, d, w, as in '15m'"
        )
    column = exp.Column(this=exp.Identifier(this=TIMESTAMP), table=exp.to_identifier(alias) if alias else None)
    column.this.meta.update(node.meta)
    start = exp.Sub(this=call("now"), expression=before)
    return exp.Paren(this=exp.GTE(this=column, expression=start))


def _arguments(node: exp.Anonymous, usage: str) -> tuple[exp.Literal, str | None]:
    arguments: list[Any] = node.expressions
    alias = arguments[1] if len(arguments) == 2 else None
    named = alias is None or (isinstance(alias, exp.Column) and len(alias.parts) == 1)
    first = arguments[0] if arguments else None
    if len(arguments) not in (1, 2) or not isinstance(first, exp.Literal) or not first.is_string or not named:
        raise refusal(node, usage)
    return first, alias.name if alias is not None else None


def _place(literal: exp.Literal, node: exp.Anonymous, sql: str) -> Place:
    """Offsets in the text `literal` as lines and columns of `sql`; all are the call's where a parameter gave it."""
    start, end = literal.meta.get("start"), literal.meta.get("end")
    raw = sql[start + 1 : end] if start is not None and end is not None else ""
    if sql[start : (start or 0) + 1] != "'" or raw.replace("''", "'") != literal.name:
        known: InvalidQuery = refusal(node, "")
        return lambda at: (known.line, known.column)

    def place(at: int) -> tuple[int, int]:
        offset = int(start or 0) + 1
        for _ in range(at):
            offset += 2 if sql.startswith("''", offset) else 1
        before = sql[:offset]
        return before.count("\n") + 1, offset - before.rfind("\n")

    return place


def _only_true_counts(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, (exp.And, exp.Or, exp.Paren)):
        node, parent = parent, parent.parent
    return isinstance(parent, (exp.Where, exp.Having, exp.Qualify)) or (
        isinstance(parent, exp.Join) and node.arg_key == "on" and not parent.side
    )


def _is_truth_place(node: exp.Expr) -> bool:
    parent = node.parent
    while isinstance(parent, exp.Paren):
        node, parent = parent, parent.parent
    if isinstance(parent, exp.If):
        return node.arg_key == "this"
    return isinstance(parent, _TRUTH_PLACES) or (isinstance(parent, exp.Join) and node.arg_key == "on")
