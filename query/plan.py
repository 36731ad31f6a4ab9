"""Owns planning: a checked statement and the shapes of its streams become a distributed plan. Runs no query on data."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from core.clock import SystemClock
from core.errors import InvalidQuery
from query.catalog import describe_stream, show_streams
from query.columns import source_token
from query.dialect import quote, render
from query.executor import Executor, Session
from query.fragment import CONSTANT, GATHER, PROJECT, DistributedPlan, Leaf, ScanColumn, StreamScan
from query.gather import gather_scans
from query.parse import DESCRIBE, SHOW, Statement
from query.paths import Resolved, resolve
from query.pin import pin_now
from query.pruning import conjuncts, predicates, time_range
from query.rows import split_rows
from query.shape import StreamShape
from query.simple import SimpleSelect, simplify
from query.split import Split, cast_for, stand_ins
from query.two_phase import split_aggregation


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
    resolved = resolve(statement.tree, shapes, time_attributes or {})
    with executor.session() as session:
        # Binding the whole query once gives the result's names, and the engine's own message when it is wrong.
        bound = executor.bind(session, stand_ins(resolved.sources), render(resolved.tree))
        names = _display_names(bound.names, resolved)
        pin_now(resolved.tree, SystemClock().now_us() if now_us is None else now_us)
        return _split_plan(resolved, names, executor, session) or _gather_plan(resolved, names, session)


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
        leaf=Leaf((_split_scan(select, split, session),)),
        merge_sql=split.merge_sql,
        inputs=(token,),
        casts=(tuple(cast_for(type_) for type_ in split.types),),
        names=names,
        warnings=resolved.warnings,
    )


def _split_scan(select: SimpleSelect, split: Split, session: Session) -> StreamScan:
    conditions = conjuncts(select.where)
    return StreamScan(
        stream=select.source.stream,
        alias=select.source.alias,
        columns=tuple(select.source.columns.values()),
        items=split.items,
        tail=split.tail,
        time_range=time_range(conditions, session),
        predicates=predicates(conditions, select.source),
        few_rows=split.kind != PROJECT,
    )


def _gather_plan(resolved: Resolved, names: tuple[str, ...], session: Session) -> DistributedPlan:
    return DistributedPlan(
        kind=GATHER if resolved.sources else CONSTANT,
        leaf=Leaf(gather_scans(resolved, session)),
        merge_sql=render(resolved.tree),
        inputs=tuple(source_token(source.id) for source in resolved.sources),
        casts=tuple(
            tuple(cast_for(column.type) for column in source.columns.values()) or ("",) for source in resolved.sources
        ),
        names=names,
        warnings=resolved.warnings,
    )


def _constant(table: pa.Table) -> DistributedPlan:
    names = tuple(table.column_names)
    return DistributedPlan(CONSTANT, Leaf(()), "", (), (), names, table=table)


def _display_names(names: tuple[str, ...], resolved: Resolved) -> tuple[str, ...]:
    """Result names with the names of readings turned back into the paths they read."""
    readings: list[ScanColumn] = [column for source in resolved.sources for column in source.columns.values()]
    shown: list[str] = []
    for name in names:
        for column in readings:
            if column.path and column.name not in (column.path, f"{column.path}::{column.kind}"):
                name = name.replace(quote(column.name), _as_written(column.path))
        shown.append(name)
    return tuple(shown)


def _as_written(path: str) -> str:
    return path if path.isidentifier() else quote(path)
