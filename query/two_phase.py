"""Owns the split of an aggregation: partial states at the leaves, combined and finished at the coordinator.

DISTINCT aggregates have no states that can be merged: their arguments become group keys of the leaf, and the
coordinator computes them over those rows, while all other states combine over them just the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from query.aggregates import EXPORTABLE, FRACTIONS, Signature, find_signature
from query.columns import identifier, is_resolved
from query.dialect import call_name, quote, render
from query.executor import Executor, Session
from query.fragment import PARTIAL_AGGREGATE
from query.simple import SimpleSelect, has_aggregate, ordered
from query.split import INPUT, Split, stand_ins


@dataclass(slots=True)
class _Aggregate:
    """One aggregate of the query: its call, argument and filter expressions, and its column in the merge."""

    node: exp.Expr
    name: str
    arguments: list[exp.Expr]
    filter: exp.Expr | None
    distinct: bool
    column: str
    signature: Signature | None = None
    shipped: list[str] = field(default_factory=list)  # leaf columns with the arguments of a DISTINCT aggregate


def split_aggregation(select: SimpleSelect, executor: Executor, session: Session) -> Split | None:
    """The two halves of `select`, None when it has no aggregates or they cannot be split exactly."""
    aggregates = _collect(select)
    if aggregates is None or (select.keys is None and not aggregates):
        return None
    keys = _unique(select.keys or [])
    types = _argument_types(select, keys, aggregates, executor, session)
    for aggregate in aggregates:
        if not aggregate.distinct:
            aggregate.signature = _signature(
                aggregate, [types[render(a)] for a in aggregate.arguments], executor, session
            )
            if aggregate.signature is None:
                return None
    names = {key: f"k{index}" for index, key in enumerate(keys)}
    merge = _merge_query(select, names, aggregates)
    if merge is None:
        return None
    return _assemble(select, keys, types, aggregates, merge)


def _collect(select: SimpleSelect) -> list[_Aggregate] | None:
    """All different aggregates, None when one of them is of no splittable form."""
    expressions = [*select.items, *(term.expression for term in select.order)]
    if select.having is not None:
        expressions.append(select.having)
    found: dict[str, _Aggregate] = {}
    for expression in expressions:
        for node in expression.find_all(exp.Anonymous):
            if call_name(node) not in EXPORTABLE:
                continue
            whole = node.parent if isinstance(node.parent, exp.Filter) else node
            text = render(whole)
            if text in found:
                continue
            aggregate = _aggregate(whole, node, f"a{len(found)}")
            if aggregate is None:
                return None
            found[text] = aggregate
    return list(found.values())


def _aggregate(whole: exp.Expr, call: exp.Anonymous, column: str) -> _Aggregate | None:
    name, arguments = call_name(call), list(call.expressions)
    if isinstance(call.parent, exp.WithinGroup) or any(has_aggregate(argument) for argument in arguments):
        return None
    filter_ = whole.expression.this if isinstance(whole, exp.Filter) else None
    if len(arguments) == 1 and isinstance(arguments[0], exp.Distinct):
        # Only where the order of rows cannot matter; several arguments would be one row value each.
        inner = arguments[0].expressions
        plain = len(inner) == 1 and name in EXPORTABLE and EXPORTABLE[name][-1] == 1
        return _Aggregate(whole, name, list(inner), filter_, True, column) if plain else None
    if name == "count" and (not arguments or isinstance(arguments[0], exp.Star)):
        name, arguments = "count_star", []
    plain = not any(argument.find(exp.Order, exp.IgnoreNulls, exp.RespectNulls, exp.Star) for argument in arguments)
    if not plain or len(arguments) not in EXPORTABLE.get(name, ()):
        return None
    return _Aggregate(whole, name, arguments, filter_, False, column)


def _unique(keys: list[exp.Expr]) -> list[exp.Expr]:
    return list(dict.fromkeys(keys))


def _argument_types(
    select: SimpleSelect, keys: list[exp.Expr], aggregates: list[_Aggregate], executor: Executor, session: Session
) -> dict[str, str]:
    """SQL type of each key and aggregate argument, by its text."""
    texts = {render(node) for node in keys}
    texts |= {render(argument) for aggregate in aggregates for argument in aggregate.arguments}
    if not texts:
        return {}
    ordered_texts = sorted(texts)
    sql = f"SELECT {', '.join(ordered_texts)} FROM {INPUT}"
    bound = executor.bind(session, stand_ins([select.source]), sql)
    return dict(zip(ordered_texts, bound.types, strict=True))


def _signature(aggregate: _Aggregate, types: list[str], executor: Executor, session: Session) -> Signature | None:
    constants = [""] * len(types)
    if aggregate.name in FRACTIONS:
        quantile = aggregate.arguments[1]
        several = isinstance(quantile, exp.Array)
        if not all(isinstance(part, exp.Literal) for part in (quantile.expressions if several else [quantile])):
            return None
        type_ = FRACTIONS[aggregate.name] + ("[]" if several else "")
        types, constants = [types[0], type_], ["", f"CAST({render(quantile)} AS {type_})"]
    if any(type_ == '"NULL"' for type_ in types):
        return None
    return find_signature(aggregate.name, tuple(types), tuple(constants), session, executor.signatures)


@dataclass(slots=True)
class _Merge:
    items: list[str]
    having: str
    order: str


def _merge_query(select: SimpleSelect, names: dict[exp.Expr, str], aggregates: list[_Aggregate]) -> _Merge | None:
    """The outer SELECT over keys and finished aggregates, None when it needs anything else."""
    columns = {aggregate.node: aggregate.column for aggregate in aggregates} | names
    items = [_substitute(item, columns) for item in select.items]
    having = _substitute(select.having, columns) if select.having is not None else None
    texts = [render(item) for item in items]
    order: list[str] = []
    for term in select.order:
        expression = _substitute(term.expression, columns)
        if _leftover(expression):
            return None
        text = render(expression)
        if text in texts:
            order.append(render(ordered(term, f"c{texts.index(text)}")))
        elif select.distinct:
            return None  # what DISTINCT dropped cannot order
        else:
            node = term.node.copy()
            node.set("this", expression)
            order.append(render(node))
    if any(_leftover(item) for item in items) or (having is not None and _leftover(having)):
        return None
    return _Merge(texts, render(having) if having is not None else "", ", ".join(order))


def _substitute(node: exp.Expr, columns: dict[exp.Expr, str]) -> exp.Expr:
    """A copy of `node` with each known expression, outermost first, replaced by its column."""
    copy = node.copy()
    if copy in columns:
        return exp.Column(this=identifier(columns[copy]))
    for found in [part for part in copy.walk(prune=columns.__contains__) if part in columns]:
        found.replace(exp.Column(this=identifier(columns[found])))
    return copy


def _leftover(node: exp.Expr) -> bool:
    return any(is_resolved(column) for column in node.find_all(exp.Column)) or has_aggregate(node)


def _assemble(
    select: SimpleSelect, keys: list[exp.Expr], types: dict[str, str], aggregates: list[_Aggregate], merge: _Merge
) -> Split:
    leaf: list[str] = [f"{render(key)} AS k{index}" for index, key in enumerate(keys)]
    casts = [types[render(key)] for key in keys]
    grouped = [f"k{index}" for index in range(len(keys))]
    inner = list(grouped)
    for aggregate in aggregates:
        if aggregate.distinct:
            inner.append(_ship_distinct(aggregate, leaf, casts, grouped, types))
    for aggregate in aggregates:
        if aggregate.signature is not None:
            filter_ = f" FILTER (WHERE {render(aggregate.filter)})" if aggregate.filter is not None else ""
            exported = aggregate.signature.export([render(argument) for argument in aggregate.arguments], filter_)
            leaf.append(f"{exported} AS {aggregate.column}")
            casts.append("")
            inner.append(f"{aggregate.signature.finish(aggregate.column)} AS {aggregate.column}")
    group = f"GROUP BY {', '.join(str(index + 1) for index in range(len(grouped)))}" if grouped else ""
    merged_group = f" GROUP BY {', '.join(quote(f'k{index}') for index in range(len(keys)))}" if keys else ""
    body = f"(SELECT {', '.join(inner) or '1'} FROM {INPUT}{merged_group}) AS merged"
    items = ", ".join(f"{text} AS c{index}" for index, text in enumerate(merge.items))
    sql = f"SELECT {'DISTINCT ' if select.distinct else ''}{items} FROM {body}"
    sql += f" WHERE {merge.having}" if merge.having else ""
    sql += f" ORDER BY {merge.order}" if merge.order else ""
    sql += "".join(f" {render(clause).strip()}" for clause in (select.limit, select.offset) if clause is not None)
    return Split(PARTIAL_AGGREGATE, ", ".join(leaf) or "1", group, sql, tuple(casts))


def _ship_distinct(
    aggregate: _Aggregate, leaf: list[str], casts: list[str], grouped: list[str], types: dict[str, str]
) -> str:
    """Add the argument of a DISTINCT aggregate to the leaf's keys; the coordinator's expression over it."""
    (argument,) = aggregate.arguments
    name = f"d{len(grouped)}"
    leaf.append(f"{render(argument)} AS {name}")
    casts.append(types[render(argument)])
    grouped.append(name)
    call = f"{aggregate.name}(DISTINCT {name})"
    if aggregate.filter is not None:
        passed = f"f{len(grouped)}"
        leaf.append(f"({render(aggregate.filter)}) AS {passed}")
        casts.append("BOOLEAN")
        grouped.append(passed)
        call += f" FILTER (WHERE {passed})"
    return f"{call} AS {aggregate.column}"
