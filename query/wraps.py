"""Owns the places where a stream has to stand as a plain table: column aliases, PIVOT, DESCRIBE and SUMMARIZE.

There a stream becomes a subquery of it. Never resolves names and never decides which tables are streams.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from query.columns import flatten, identifier
from query.dialect import call_name

_SOURCE_PARTS = ("alias", "pivots", "joins", "sample", "laterals")


def column_aliases(node: exp.Expr) -> list[str]:
    """The names that `node` in FROM, or a common table expression, gives to its first columns."""
    alias = node.args.get("alias")
    return [column.name for column in alias.args.get("columns") or ()] if isinstance(alias, exp.TableAlias) else []


def renamed(outputs: list[str] | None, aliases: list[str]) -> list[str] | None:
    """`outputs` with the first of them named by `aliases`; None = unknown."""
    if outputs is None:
        return None
    return [*aliases, *outputs[len(aliases) :]]


def needs_subquery(table: exp.Table) -> bool:
    """Whether `table` does more with a stream than read its paths."""
    return bool(column_aliases(table) or table.args.get("pivots"))


def as_subquery(table: exp.Table, items: list[exp.Expr] | None = None) -> exp.Subquery:
    """Put `SELECT items FROM table` (all columns, if None) in the place of `table`, under its name and modifiers."""
    parts = {name: table.args.get(name) for name in _SOURCE_PARTS}
    if parts["alias"] is None and not parts["pivots"]:
        parts["alias"] = exp.TableAlias(this=identifier(table.name))
    for name in _SOURCE_PARTS:
        table.set(name, None)
    subquery = exp.Subquery(**{name: part for name, part in parts.items() if part})
    table.replace(subquery)
    subquery.set("this", _select(items or [exp.Star()], table))
    return subquery


def as_query(table: exp.Table) -> exp.Select:
    """Put `SELECT * FROM table` in the place of `table`."""
    select = exp.Select(expressions=[exp.Star()])
    table.replace(select)
    select.set("from_", exp.From(this=table))
    return select


def is_dynamic(tree: exp.Expr) -> bool:
    """Whether the columns of the result depend on the data: a PIVOT without a list of values."""
    return any(
        not isinstance(term, exp.In) or term.args.get("query") is not None
        for pivot in tree.find_all(exp.Pivot)
        if not pivot.args.get("unpivot")
        for term in (pivot.expressions if pivot.this is not None else pivot.args.get("fields") or ())
    )


def pivot_items(pivot: exp.Pivot) -> list[exp.Expr] | None:
    """What a PIVOT statement needs of its source, None when that is everything."""
    terms = [*pivot.expressions, *(pivot.args.get("using") or ()), *_present(pivot.args.get("group"))]
    if pivot.args.get("unpivot") or not pivot.args.get("group"):
        return None
    found: dict[str, exp.Expr] = {}
    for term in terms:
        for node in term.walk(prune=lambda part: flatten(part) is not None):
            parts = flatten(node)
            if parts is not None:
                found.setdefault(".".join(part.name for part in parts).casefold(), node.copy())
            elif isinstance(node, exp.Query) or call_name(node) == "columns" or _is_star(node):
                return None
    return list(found.values()) or None


def _select(items: list[exp.Expr], table: exp.Table) -> exp.Select:
    return exp.Select(expressions=items, from_=exp.From(this=table))


def _present(node: exp.Expr | None) -> Iterable[exp.Expr]:
    return () if node is None else (node,)


def _is_star(node: exp.Expr) -> bool:
    return isinstance(node, exp.Star) and call_name(node.parent or node) != "count"
