"""Owns the second pass of resolution: each resolved column gets the reading that its place in the query asks for."""

from __future__ import annotations

from sqlglot import exp

from query.aggregates import AGGREGATE_NAMES
from query.columns import identifier, is_resolved, source_of, target_of
from query.contexts import context_of
from query.dialect import DIALECT, call_name
from query.readings import BOOLEAN, MOMENT, NUMBER, NUMERIC_TYPES, TIMESTAMPTZ, TRUTH
from query.sources import StreamSource
from query.stars import exclude_hidden


def choose_readings(tree: exp.Expr, sources: list[StreamSource]) -> None:
    """Name in every resolved column of `tree` the scan column it reads, and add that column to its source."""

    def kind_of(column: exp.Column) -> str | None:
        if not is_resolved(column):
            return None
        type_ = sources[source_of(column)].natural(target_of(column))
        if type_ in NUMERIC_TYPES:
            return NUMBER
        return {TIMESTAMPTZ: MOMENT, BOOLEAN: TRUTH}.get(type_)

    columns = [node for node in tree.find_all(exp.Column) if is_resolved(node)]
    # All contexts first: choosing changes the tree that they are read from.
    contexts = [context_of(column, kind_of) for column in columns]
    for column, context in zip(columns, contexts, strict=True):
        _choose(column, sources[source_of(column)], context)
    for source in sources:
        if source.exposes_all:
            exclude_hidden(tree, source)


def _choose(column: exp.Column, source: StreamSource, context: str) -> None:
    target = target_of(column)
    natural, wanted = source.natural(target), source.type_in(target, context)
    if wanted == natural or not (source.exposes_all or _is_grouped_value(column)):
        name = source.use(target, wanted).name
        column.set("this", identifier(name))
        if name != target.display and isinstance(column.parent, exp.Select) and column.arg_key == "expressions":
            # A path whose name another one took but for its case still shows under its own.
            column.replace(exp.Alias(this=column.copy(), alias=identifier(target.display)))
        return
    # What groups and stars show is the natural column, so this place has to be an expression over that one.
    column.set("this", identifier(source.use(target, natural).name))
    column.replace(exp.TryCast(this=column.copy(), to=exp.DataType.build(wanted, dialect=DIALECT)))


def _is_grouped_value(column: exp.Column) -> bool:
    """Whether `column` stands, outside of an aggregate, where only group keys may stand, and is such a key by itself.

    A key that is an expression over the path reads it as that expression asks.
    """
    select = column.parent_select
    if select is None or not select.args.get("group") or not _is_key(column, select):
        return False
    node = column.parent
    while node is not None and node is not select:
        if isinstance(node, exp.Where) or call_name(node) in AGGREGATE_NAMES:
            return False
        node = node.parent
    return True


def _is_key(column: exp.Column, select: exp.Select) -> bool:
    """Whether the path of `column`, just as it is, is one of the group keys of `select`."""
    group = select.args["group"]
    keys = [
        node for node in group.find_all(exp.Column) if not isinstance(node.parent, (exp.Func, exp.Binary, exp.Cast))
    ]
    named = {key.name.casefold() for key in keys if not is_resolved(key)}
    for position, item in enumerate(select.expressions, start=1):
        body = item.unalias()
        ordinal = any(isinstance(key, exp.Literal) and key.name == str(position) for key in group.expressions)
        if group.args.get("all") or ordinal or item.alias.casefold() in named:
            keys.append(body)
    return any(
        isinstance(key, exp.Column)
        and is_resolved(key)
        and (source_of(key), target_of(key)) == (source_of(column), target_of(column))
        for key in keys
    )
