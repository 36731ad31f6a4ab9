"""Owns what means columns without naming them: `*`, `alias.*`, an alias as a row, `#1`.

Over streams they become explicit columns; what only the engine can expand stays.
"""

from __future__ import annotations

from sqlglot import exp

from query.allow import refusal
from query.columns import flatten, identifier, resolved_column, source_token
from query.dialect import call_name, render
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
    """Keep the hidden columns of `source` out of the stars and COLUMNS that the engine expands."""
    names = source.hidden_columns()
    table = next(table for table in tree.find_all(exp.Table) if table.name == source_token(source.id))
    select = table.parent_select
    if not names or select is None:
        return
    for node in list(select.find_all(exp.Star, exp.Anonymous)):
        if node.parent_select is not select:
            continue
        if isinstance(node, exp.Star):
            _exclude(node, source, names)
        elif call_name(node) == "columns" and node.expressions:
            _narrow(node, names)


def _exclude(star: exp.Star, source: StreamSource, names: list[str]) -> None:
    parent = star.parent
    counted = isinstance(parent, exp.Anonymous) and call_name(parent) != "columns"
    others = isinstance(parent, exp.Column) and parent.table.casefold() != source.alias.casefold()
    if not counted and not others:
        hidden = [exp.Column(this=identifier(name)) for name in names]
        star.set("except_", [*(star.args.get("except_") or ()), *hidden])


def _narrow(columns: exp.Expr, names: list[str]) -> None:
    """Let the pattern or function of a COLUMNS call match no column of `names`."""
    (wanted,) = columns.expressions
    if isinstance(wanted, exp.Literal):
        parameter = exp.Identifier(this="c")
        match: exp.Expr = exp.Anonymous(this="regexp_matches", expressions=[parameter.copy(), wanted.copy()])
    elif isinstance(wanted, exp.Lambda):
        parameter, match = wanted.expressions[0], exp.Paren(this=wanted.this.copy())
    else:
        return
    hidden = [exp.Literal.string(name) for name in names]
    others = exp.Not(this=exp.In(this=parameter.copy(), expressions=hidden))
    narrowed = exp.Lambda(this=exp.And(this=match, expression=others), expressions=[parameter.copy()])
    columns.set("expressions", [narrowed])


def replace_by_row(node: exp.Expr, source: StreamSource) -> None:
    """Put a struct of all columns of `source` in the place of `node`, its alias: the engine's table has others."""
    columns = {target.display: resolved_column(source, target, source.alias) for target in source.visible()}
    fields = [exp.PropertyEQ(this=exp.Literal.string(name), expression=column) for name, column in columns.items()]
    row = exp.Struct(expressions=fields)
    item = node
    while item.parent is not None and not isinstance(item.parent, exp.Query):
        item = item.parent
    name = node.name if item is node else render(item)
    node.replace(row)
    shown = row if item is node else item
    if shown.arg_key == "expressions" and not isinstance(shown, exp.Alias):
        # The engine would name the column by the struct.
        alias = exp.Alias(alias=identifier(name))
        shown.replace(alias)
        alias.set("this", shown)


def replace_position(node: exp.Expr, scope: Scope) -> None:
    """Put the column that `#n` counts to in its place, where streams come first; the engine counts the others."""
    position = int(node.name)
    for source in scope.sources.values():
        if not isinstance(source, StreamSource):
            return
        columns = source.visible()
        if 0 < position <= len(columns):
            node.replace(resolved_column(source, columns[position - 1], source.alias))
            return
        position -= len(columns)


def _expand(item: exp.Expr, select: exp.Select, scope: Scope) -> list[exp.Expr] | None:
    """The columns that `item` means, None when it is no star or the engine has to expand it."""
    star = item.this if isinstance(item, exp.Column) else item
    if not isinstance(star, exp.Star) or any(star.args.get(part) for part in ("replace", "rename", "ilike")):
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
        parts = flatten(excluded) or [excluded]
        name = ".".join(part.name for part in parts)
        if len(parts) > 1 and parts[0].name.casefold() == source.alias.casefold():
            name = name.partition(".")[2]
        target = source.known(name)
        if target is None:
            raise refusal(excluded, f"column {name!r} in EXCLUDE is not in stream {source.stream!r}: leave it out")
        left_out.add(target)
    qualifier = source.alias if qualify else None
    return [resolved_column(source, target, qualifier) for target in source.visible() if target not in left_out]


def _plain_joins(select: exp.Select, scope: Scope) -> bool:
    """Whether a star over the joins of `select` shows every column of every side once."""
    if scope.using or scope.natural_join:
        return False
    return all(join.kind not in ("SEMI", "ANTI") for join in select.args.get("joins") or ())
