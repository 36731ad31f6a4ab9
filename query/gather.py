"""Owns the way for everything that cannot be split: leaves filter and project, the query itself runs at the top."""

from __future__ import annotations

from sqlglot import exp

from query.columns import is_resolved, source_of, source_token
from query.conditions import bind_conditions, conjuncts, is_volatile, predicates, words
from query.dialect import quote
from query.executor import Session
from query.fragment import StreamScan
from query.paths import Resolved
from query.sources import StreamSource


def gather_scans(resolved: Resolved, session: Session) -> tuple[StreamScan, ...]:
    """One scan per stream source: the columns that the query needs, and the conjuncts that the leaf can apply."""
    return tuple(_scan(resolved.tree, source, session) for source in resolved.sources)


def _scan(tree: exp.Expr, source: StreamSource, session: Session) -> StreamScan:
    conditions = _pushable(tree, source)
    columns = tuple(source.columns.values())
    bound, range_ = bind_conditions([_unqualified(condition) for condition in conditions], session)
    return StreamScan(
        stream=source.stream,
        alias=source.alias,
        columns=columns,
        items=", ".join(quote(column.name) for column in columns) or '1 AS "1"',
        conditions=bound,
        time_range=range_,
        predicates=predicates(conditions, source),
        words=words(conditions, source),
    )


def _unqualified(condition: exp.Expr) -> exp.Expr:
    copy = condition.copy()
    for column in copy.find_all(exp.Column):
        column.set("table", None)
    return copy


def _pushable(tree: exp.Expr, source: StreamSource) -> list[exp.Expr]:
    """The WHERE conjuncts that use nothing but `source` and may be applied before the joins."""
    table = next(node for node in tree.find_all(exp.Table) if node.name == source_token(source.id))
    select = table.parent_select
    if not isinstance(select, exp.Select) or table.args.get("sample") or not _keeps_rows(select, table):
        return []
    return [condition for condition in conjuncts(select.args.get("where")) if _uses_only(condition, source)]


def _keeps_rows(select: exp.Select, table: exp.Table) -> bool:
    """Whether filtering `table` before the joins of `select` drops exactly what filtering after them would."""
    from_ = select.args.get("from_")
    joins = [*(select.args.get("joins") or ()), *(table.args.get("joins") or ())]
    first = from_ is not None and from_.this is table
    joined = any(join.this is table for join in joins)
    if not (first or joined) or select.args.get("laterals"):
        return False
    for join in joins:
        # The nullable side of an outer join, and joins that look at neighbours, need all rows.
        if join.side in ("RIGHT", "FULL") or join.method or (join.kind in ("SEMI", "ANTI") and join.this is table):
            return False
        if join.this is table and join.side == "LEFT":
            return False
    return True


def _uses_only(condition: exp.Expr, source: StreamSource) -> bool:
    columns = list(condition.find_all(exp.Column))
    if not columns or condition.find(exp.Query, exp.Window) or is_volatile(condition):
        return False
    return all(is_resolved(column) and source_of(column) == source.id for column in columns)
