"""Owns stars: `*` and `alias.*` over streams become explicit columns; what only the engine can expand stays."""

from __future__ import annotations

from sqlglot import exp

from core.errors import InvalidQuery
from query.columns import flatten, identifier, resolved_column
from query.dialect import call_name
from query.scope import Scope
from query.sources import StreamSource, Target


def expand_stars(select: exp.Select, scope: Scope) -> None:
    """Expand the stars of `select` in place; where that is not possible, make its streams expose all columns."""
    if not scope.streams():
        return
    items: list[exp.Expr] = []
    for item in select.expressions:
        expanded = _expand(item, select, scope)
        items += [item] if expanded is None else expanded
    select.set("expressions", items)
    if scope.natural_join or any(engine_star(item) for item in items):
        for source in scope.streams():
            source.expose_all()


def engine_star(item: exp.Expr) -> bool:
    """Whether the engine has to expand columns in `item` (`count(*)` is none)."""
    return any(
        call_name(node) == "columns" or (isinstance(node, exp.Star) and not isinstance(node.parent, exp.Anonymous))
        for node in item.walk()
    )


def exclude_hidden(tree: exp.Expr, source: StreamSource) -> None:
    """Keep the hidden columns of `source` out of the stars that the engine expands."""
    for star in tree.find_all(exp.Star):
        parent = star.parent
        qualifier = parent.table if isinstance(parent, exp.Column) else source.alias
        if isinstance(parent, exp.Anonymous) or qualifier.casefold() != source.alias.casefold():
            continue
        names = [exp.Column(this=identifier(name)) for name in source.hidden_columns()]
        if names:
            star.set("except_", [*(star.args.get("except_") or ()), *names])


def _expand(item: exp.Expr, select: exp.Select, scope: Scope) -> list[exp.Expr] | None:
    """The columns that `item` means, None when it is no star or the engine has to expand it."""
    star = item.this if isinstance(item, exp.Column) else item
    if not isinstance(star, exp.Star) or star.args.get("replace") or star.args.get("rename"):
        return None
    if isinstance(item, exp.Column):
        source = scope.sources.get(item.table.casefold())
        return _columns(source, star, True) if isinstance(source, StreamSource) else None
    several = len(scope.sources) > 1
    if several and (star.args.get("except_") or not _plain_joins(select, scope)):
        return None
    columns: list[exp.Expr] = []
    for source in scope.sources.values():
        if isinstance(source, StreamSource):
            columns += _columns(source, star, several)
        elif source.alias:
            columns.append(exp.Column(this=exp.Star(), table=identifier(source.alias)))
        else:
            return None
    return columns


def _columns(source: StreamSource, star: exp.Star, qualify: bool) -> list[exp.Expr]:
    left_out: set[Target] = set()
    for excluded in star.args.get("except_") or ():
        name = ".".join(part.name for part in flatten(excluded) or [excluded])
        target = source.known(name)
        if target is None:
            raise InvalidQuery(f"column {name!r} in EXCLUDE is not in stream {source.stream!r}: leave it out")
        left_out.add(target)
    qualifier = source.alias if qualify else None
    return [resolved_column(source, target, qualifier) for target in source.visible() if target not in left_out]


def _plain_joins(select: exp.Select, scope: Scope) -> bool:
    """Whether a star over the joins of `select` shows every column of every side once."""
    if scope.using or scope.natural_join:
        return False
    return all(join.kind not in ("SEMI", "ANTI") for join in select.args.get("joins") or ())
