"""Owns the merge: the results of all leaves become the result of the query. Never plans or retries."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from query.dialect import quote
from query.executor import Executor, Session
from query.fragment import PARTIAL_AGGREGATE, TOP_N, WHOLE, DistributedPlan, LeafResult
from query.worker import Worker, bounded, too_large, too_much
from storage.snapshot import Segment


def run_merge(
    plan: DistributedPlan,
    results: Sequence[LeafResult],
    executor: Executor,
    *,
    seconds: float | None = None,
    query_id: str = "",
) -> pa.Table:
    """The result of `plan` from all shards' leaf results; without any, the result over no rows.

    Raises InvalidQuery, BudgetExceeded, Unavailable.
    """
    if plan.table is not None:
        return plan.table
    if not results:
        nothing = Worker(executor, _NoFiles()).run_leaf(plan.leaf, {}, seconds=seconds, query_id=query_id)
        results = [nothing]
    if plan.leaf.bytes_max is not None and _bytes(results) > plan.leaf.bytes_max:
        raise too_much(plan.leaf.bytes_max)
    if plan.kind == WHOLE:
        ((merged,),) = (result.tables for result in results)
        return _named(merged, plan)
    if plan.piecewise and not any(plan.casts[0]):  # the engine would only copy the rows
        rows = pa.concat_tables([result.tables[0] for result in results])
        if rows.nbytes > executor.memory_bytes:
            raise too_large(executor.memory_bytes)
        return _named(rows, plan)
    with executor.session(seconds=seconds, query_id=query_id) as session:
        for position, name in enumerate(plan.inputs):
            table = pa.concat_tables([result.tables[position] for result in results])
            _give(session, name, table, plan.casts[position])
        if plan.kind in (PARTIAL_AGGREGATE, TOP_N):
            merged = session.table(plan.merge_sql)
        else:
            merged = bounded(session, plan.merge_sql, executor.memory_bytes)
        return _named(merged, plan)


def _named(table: pa.Table, plan: DistributedPlan) -> pa.Table:
    return table if plan.names is None else table.rename_columns(plan.names)


def _bytes(results: Sequence[LeafResult]) -> int:
    return sum(table.nbytes for result in results for table in result.tables)


def _give(session: Session, name: str, table: pa.Table, casts: tuple[str, ...]) -> None:
    """Make `table` readable as `name`, with the types that it had at the leaves."""
    if not any(casts):
        session.register(name, table)
        return
    arrived = f"{name}_arrived"
    session.register(arrived, table)
    items = [
        f"CAST({quote(column)} AS {type_}) AS {quote(column)}" if type_ else quote(column)
        for column, type_ in zip(table.column_names, casts, strict=True)
    ]
    session.view(name, f"SELECT {', '.join(items)} FROM {quote(arrived)}")


class _NoFiles:
    def path(self, segment: Segment) -> str:
        raise ValueError(f"segment {segment.name!r} asked for without a snapshot")
