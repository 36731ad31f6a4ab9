"""Owns running: a leaf over one shard's snapshots, and the merge of all leaves' results. Never plans or retries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import pyarrow as pa

from core.errors import BudgetExceeded
from query.dialect import quote
from query.executor import Executor, Session
from query.fragment import CONSTANT, PARTIAL_AGGREGATE, TOP_N, DistributedPlan, Leaf, LeafResult, LeafStats
from query.scan import scan_relation
from storage.snapshot import Segment, StreamSnapshot


def run_leaf(
    leaf: Leaf,
    snapshots: Mapping[str, StreamSnapshot],
    files: Callable[[Segment], str],
    executor: Executor,
    *,
    seconds: float | None = None,
    query_id: str = "",
) -> LeafResult:
    """Run every scan of `leaf` over one shard's `snapshots` (by stream); `files` gives a segment's local path.

    Raises InvalidQuery, BudgetExceeded after `seconds` or when `query_id` is cancelled, Corrupt, Unavailable.
    """
    tables: list[pa.Table] = []
    stats = LeafStats()
    left = leaf.bytes_max
    with executor.session(seconds=seconds, query_id=query_id) as session:
        for scan in leaf.scans:
            relation, found = scan_relation(scan, snapshots.get(scan.stream), files, session)
            sql = f"SELECT {scan.items} FROM ({relation}) AS {quote(scan.alias)} {scan.tail}"
            table = session.table(sql, few_rows=scan.few_rows) if left is None else session.bounded_table(sql, left)
            if table is None:
                raise _too_much(leaf.bytes_max)
            left = None if left is None else left - table.nbytes
            tables.append(table)
            stats += found
    return LeafResult(tuple(tables), stats)


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
        results = [run_leaf(plan.leaf, {}, _no_files, executor, seconds=seconds, query_id=query_id)]
    if plan.leaf.bytes_max is not None and _bytes(results) > plan.leaf.bytes_max:
        raise _too_much(plan.leaf.bytes_max)
    with executor.session(seconds=seconds, query_id=query_id) as session:
        for position, name in enumerate(plan.inputs):
            table = pa.concat_tables([result.tables[position] for result in results])
            _give(session, name, table, plan.casts[position])
        few_rows = plan.kind in (PARTIAL_AGGREGATE, TOP_N, CONSTANT)
        merged = session.table(plan.merge_sql, few_rows=few_rows)
        return merged if plan.names is None else merged.rename_columns(plan.names)


def _bytes(results: Sequence[LeafResult]) -> int:
    return sum(table.nbytes for result in results for table in result.tables)


def _too_much(bytes_max: int | None) -> BudgetExceeded:
    return BudgetExceeded(
        f"the query gathers more than {bytes_max} bytes of its streams: select fewer columns or rows of them, or "
        "aggregate without joins, windows and subqueries",
        budget="gather_bytes",
    )


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


def _no_files(segment: Segment) -> str:
    raise ValueError(f"segment {segment.name!r} asked for without a snapshot")
