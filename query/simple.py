"""Owns the simple SELECT: one stream, no joins, windows or subqueries, with aliases and ordinals written out.

Splitting rules work on this form only. Never decides how to split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlglot import exp

from query.aggregates import EXPORTABLE
from query.bounded_functions import LOOK
from query.columns import identifier, is_resolved
from query.dialect import call_name, words
from query.paths import Resolved
from query.sources import StreamSource
from query.stars import engine_star

# Row-wise calls that the engine has as operators or macros.
_SCALAR_OPERATORS: Final = words(
    """
    unnest coalesce ifnull nullif if try split_part fmod fdiv date_add days_in_month array_append array_prepend
    list_append list_prepend array_to_string array_reverse list_reverse list_sum list_avg list_min list_max list_count
    """
)
_NAMING_CALLS: Final = frozenset({"alias"})  # the halves of a split query name their columns otherwise
_COMPLEX_CLAUSES: Final = words("with_ joins laterals qualify windows sample pivots locks kind exclude")


@dataclass(slots=True)
class Order:
    """One ORDER BY term: an expression and what follows it (`DESC NULLS LAST`)."""

    expression: exp.Expr
    node: exp.Ordered


@dataclass(slots=True)
class SimpleSelect:
    """The parts of a simple SELECT. No expression refers to an alias or an ordinal any more.

    `keys` are the group keys, None without grouping; a DISTINCT without aggregates is grouping by all items.
    """

    source: StreamSource
    items: list[exp.Expr]
    where: exp.Expr | None
    keys: list[exp.Expr] | None
    having: exp.Expr | None
    order: list[Order]
    limit: exp.Limit | None
    offset: exp.Offset | None
    distinct: bool


def simplify(resolved: Resolved, scalar_functions: frozenset[str]) -> SimpleSelect | None:
    """The simple form of `resolved`, None when it is not simple. Changes a copy of the tree.

    Only calls of `scalar_functions` and of aggregates that can be shipped are simple: an aggregate that is not known
    to be one would give a row per leaf.
    """
    if not isinstance(resolved.tree, exp.Select) or not _is_simple(resolved):
        return None
    known = (scalar_functions - _NAMING_CALLS) | _SCALAR_OPERATORS | {LOOK, *EXPORTABLE}
    calls = {call_name(call) for call in resolved.tree.find_all(exp.Anonymous)}
    if not calls <= known or resolved.tree.find(exp.AggFunc) is not None:
        return None
    select = resolved.tree.copy()
    for column in select.find_all(exp.Column):
        column.set("table", None)
    aliases: dict[str, exp.Expr] = {}
    items: list[exp.Expr] = []
    for item in select.expressions:
        body = _expand(item.this if isinstance(item, exp.Alias) else item, aliases)
        items.append(body)
        if isinstance(item, exp.Alias):
            aliases.setdefault(item.alias.casefold(), body)
    group, distinct = select.args.get("group"), select.args.get("distinct") is not None
    parts = SimpleSelect(
        source=resolved.sources[0],
        items=items,
        where=_clause(select, "where", aliases),
        keys=_keys(group, items, aliases),
        having=_clause(select, "having", aliases),
        order=_order(select.args.get("order"), items, aliases),
        limit=select.args.get("limit"),
        offset=select.args.get("offset"),
        distinct=distinct,
    )
    if distinct and parts.keys is None and not any(has_aggregate(item) for item in items):
        parts.keys, parts.distinct = list(items), False
    return parts if _only_resolved(parts) else None


def has_aggregate(node: exp.Expr) -> bool:
    """Whether `node` holds an aggregate call."""
    return any(call_name(call) in EXPORTABLE for call in node.find_all(exp.Anonymous))


def constant_count(clause: exp.Limit | exp.Offset | None) -> int | None:
    """The number of rows that a LIMIT or OFFSET says, 0 for none, None when it is not a plain number."""
    if clause is None:
        return 0
    value = clause.expression
    plain = isinstance(value, exp.Literal) and value.name.isdigit() and not clause.args.get("limit_options")
    return int(value.name) if plain else None


def _is_simple(resolved: Resolved) -> bool:
    select = resolved.tree
    table = select.args["from_"].this if select.args.get("from_") else None
    if len(resolved.sources) != 1 or not isinstance(table, exp.Table) or resolved.sources[0].exposes_all:
        return False
    if any(select.args.get(clause) for clause in _COMPLEX_CLAUSES) or any(
        table.args.get(part) for part in ("joins", "laterals", "pivots", "sample")
    ):
        return False
    distinct = select.args.get("distinct")
    if distinct is not None and distinct.args.get("on") is not None:
        return False
    group = select.args.get("group")
    if group is not None and any(isinstance(key, exp.Tuple) for key in group.expressions):
        return False
    if group is not None and any(group.args.get(kind) for kind in ("grouping_sets", "cube", "rollup", "totals")):
        return False
    if any(engine_star(item) for item in select.expressions):
        return False
    nested = (exp.Window, exp.Subquery, exp.GroupingSets, exp.Cube, exp.Rollup, exp.SetOperation)
    return not any(
        (node is not select and isinstance(node, (exp.Select, *nested))) or call_name(node).startswith("grouping")
        for node in select.walk()
    )


def _clause(select: exp.Select, name: str, aliases: dict[str, exp.Expr]) -> exp.Expr | None:
    clause = select.args.get(name)
    return _expand(clause.this, aliases) if clause is not None else None


def _expand(node: exp.Expr, aliases: dict[str, exp.Expr]) -> exp.Expr:
    """A copy of `node` in which each select-list alias is replaced by what it stands for."""
    copy = node.copy()
    for column in list(copy.find_all(exp.Column)):
        meaning = None if is_resolved(column) or len(column.parts) > 1 else aliases.get(column.name.casefold())
        if meaning is None:
            continue
        body = meaning.copy() if isinstance(meaning, (exp.Column, exp.Literal)) else exp.Paren(this=meaning.copy())
        if column is copy:
            return meaning.copy()
        column.replace(body)
    return copy


def _ordinal(node: exp.Expr, items: list[exp.Expr]) -> exp.Expr | None:
    if isinstance(node, exp.Literal) and not node.is_string and node.name.isdigit():
        position = int(node.name)
        return items[position - 1].copy() if 0 < position <= len(items) else None
    return None


def _keys(group: exp.Group | None, items: list[exp.Expr], aliases: dict[str, exp.Expr]) -> list[exp.Expr] | None:
    if group is None:
        return None
    if group.args.get("all"):
        return [item.copy() for item in items if not has_aggregate(item)]
    return [_ordinal(key, items) or _expand(key, aliases) for key in group.expressions]


def _order(order: exp.Order | None, items: list[exp.Expr], aliases: dict[str, exp.Expr]) -> list[Order]:
    terms: list[Order] = []
    for term in order.expressions if order is not None else ():
        if isinstance(term.this, exp.Var) and term.this.name.upper() == "ALL":
            terms += [Order(item.copy(), term) for item in items]
        else:
            terms.append(Order(_ordinal(term.this, items) or _expand(term.this, aliases), term))
    return terms


def _only_resolved(parts: SimpleSelect) -> bool:
    """Whether every column left is the stream's own: anything else is for the engine to understand."""
    expressions = [*parts.items, *(parts.keys or ()), *(term.expression for term in parts.order)]
    expressions += [part for part in (parts.where, parts.having) if part is not None]
    return all(is_resolved(column) for expression in expressions for column in expression.find_all(exp.Column))


def ordered(term: Order, column: str) -> exp.Ordered:
    """The ORDER BY term over the result column `column`."""
    node = term.node.copy()
    node.set("this", exp.Column(this=identifier(column)))
    return node
