"""Owns planning: a checked statement and the shapes of its streams become a distributed plan. Runs no query on data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
from sqlglot import exp

from core.clock import SystemClock
from core.errors import InvalidQuery
from core.limits import GATHER_BYTES_MAX
from query.catalog import describe_query, describe_stream, show_streams
from query.columns import source_token
from query.conditions import bind_conditions, conjuncts, is_volatile, predicates, words
from query.dialect import render
from query.display import as_asked
from query.executor import Executor, Session
from query.fragment import CONSTANT, GATHER, PARTIAL_AGGREGATE, PROJECT, DistributedPlan, Leaf, Query, StreamScan
from query.gather import gather_scans
from query.growth import bound_growth, check_aliases
from query.mistakes import located
from query.parse import DESCRIBE, SHOW, Statement
from query.paths import Resolved, resolve
from query.pin import pin_now
from query.rows import split_rows
from query.shape import StreamShape
from query.simple import SimpleSelect, simplify
from query.sources import StreamSource
from query.split import Split, cast_for, stand_ins
from query.two_phase import split_aggregation
from query.wraps import is_dynamic


def plan(
    statement: Statement,
    shapes: Mapping[str, StreamShape],
    executor: Executor,
    *,
    now_us: int | None = None,
    time_attributes: Mapping[str, str | None] | None = None,
) -> DistributedPlan:
    """The plan of `statement` over streams of `shapes`, at the instant `now_us` (UTC microseconds, else now).

    `time_attributes` gives for a stream the attribute that its `timestamp` comes from: an alias of it in queries.
    For SHOW STREAMS, `shapes` holds all of the tenant's streams. Raises InvalidQuery.
    """
    if statement.kind == SHOW:
        return _constant(show_streams(shapes))
    if statement.kind == DESCRIBE:
        (stream,) = statement.streams
        return _constant(describe_stream(shapes.get(stream, StreamShape())))
    if statement.tree is None:
        raise InvalidQuery(f"a {statement.kind} statement without a query cannot be planned: parse it again")
    sources: list[StreamSource] = []
    try:
        resolved = resolve(statement.tree, shapes, time_attributes or {})
        sources = resolved.sources
        check_aliases(resolved.tree)
        bound_growth(resolved.tree)
        with executor.session() as session:
            return _plan(resolved, executor, session, SystemClock().now_us() if now_us is None else now_us)
    except InvalidQuery as error:
        raise located(error, statement.text, sources) from error


def _plan(resolved: Resolved, executor: Executor, session: Session, now_us: int) -> DistributedPlan:
    names: tuple[str, ...] | None = None
    if not is_dynamic(resolved.tree):
        described = isinstance(resolved.tree, exp.Describe)
        # Binding the whole query once gives the result's names, and the engine's own message when it is wrong.
        text = render(resolved.tree.this if described else resolved.tree)
        bound = executor.bind(session, stand_ins(resolved.sources), text)
        names = tuple(as_asked(name, resolved.sources) for name in bound.names)
        if described:
            return _constant(describe_query(names, bound.types), resolved.warnings)
    pinned = pin_now(resolved.tree, now_us)
    split = None if names is None else _split_plan(resolved, names, executor, session)
    gathered = _gather_plan(resolved, names, session)
    planned = split or gathered
    few_rows = all(scan.few_rows for scan in planned.leaf.scans)
    alone = Leaf(gathered.leaf.scans, query=Query(gathered.merge_sql, gathered.inputs, few_rows))
    steady = not pinned and not is_volatile(resolved.tree) and resolved.tree.find(exp.TableSample) is None
    return replace(planned, alone=alone, repeatable=steady)


def _split_plan(
    resolved: Resolved, names: tuple[str, ...], executor: Executor, session: Session
) -> DistributedPlan | None:
    select = simplify(resolved, executor.scalar_functions)
    if select is None:
        return None
    split = split_aggregation(select, executor, session) or split_rows(select, executor, session)
    if split is None:
        return None
    token = source_token(0)
    return DistributedPlan(
        kind=split.kind,
        leaf=Leaf((_split_scan(select, split, session),), GATHER_BYTES_MAX),
        merge_sql=split.merge_sql,
        inputs=(token,),
        casts=(tuple(cast_for(type_) for type_ in split.types),),
        names=names,
        warnings=resolved.warnings,
        piecewise=split.piecewise,
    )


def _split_scan(select: SimpleSelect, split: Split, session: Session) -> StreamScan:
    conditions = conjuncts(select.where)
    bound, range_ = bind_conditions(conditions, session)
    expressions = [*select.items, *(select.keys or ()), *conditions]
    repeatable = not any(is_volatile(expression) for expression in expressions)
    return StreamScan(
        stream=select.source.stream,
        alias=select.source.alias,
        columns=tuple(select.source.columns.values()),
        items=split.items,
        conditions=bound,
        tail=split.tail,
        time_range=range_,
        predicates=predicates(conditions, select.source),
        words=words(conditions, select.source),
        states=split.kind == PARTIAL_AGGREGATE and repeatable,
        few_rows=split.kind != PROJECT,
    )


def _gather_plan(resolved: Resolved, names: tuple[str, ...] | None, session: Session) -> DistributedPlan:
    return DistributedPlan(
        kind=GATHER if resolved.sources else CONSTANT,
        leaf=Leaf(gather_scans(resolved, session), GATHER_BYTES_MAX),
        merge_sql=render(resolved.tree),
        inputs=tuple(source_token(source.id) for source in resolved.sources),
        casts=tuple(
            tuple(cast_for(column.type) for column in source.columns.values()) or ("",) for source in resolved.sources
        ),
        names=names,
        warnings=resolved.warnings,
    )


def _constant(table: pa.Table, warnings: tuple[str, ...] = ()) -> DistributedPlan:
    return DistributedPlan(CONSTANT, Leaf(()), "", (), (), tuple(table.column_names), warnings, table)
