"""Owns the answer to EXPLAIN and EXPLAIN ANALYZE: the distributed plan, what was pruned and why, what it cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from query.dispatch import Answer
from query.fragment import (
    CONSTANT,
    GATHER,
    LIKE,
    PARTIAL_AGGREGATE,
    PROJECT,
    TOP_N,
    WHOLE,
    DistributedPlan,
    Predicate,
    StreamScan,
    Words,
)
from query.options import QueryAnswer
from query.scan import statement
from query.tasks import Pruned, Task
from query.text_forms import shown

_SCHEMA: Final = pa.schema(
    [
        ("step", pa.string()),
        ("worker", pa.string()),
        ("segments", pa.int64()),
        ("row_groups", pa.int64()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        ("milliseconds", pa.float64()),
        ("detail", pa.string()),
    ]
)
_KINDS: Final = {
    PARTIAL_AGGREGATE: "partial states beside the data, combined and finalized by the coordinator",
    TOP_N: "the first rows of each part, sorted and cut once more by the coordinator",
    PROJECT: "rows of each part, put together by the coordinator",
    GATHER: "filtered columns of each part, the query itself runs on the coordinator",
    WHOLE: "the query itself, on the one worker that has all of its rows",
    CONSTANT: "no data is read",
}

_Row = tuple[str, str | None, int | None, int | None, int | None, int | None, float | None, str]


def explained(
    plan: DistributedPlan,
    pruned: Sequence[Pruned],
    tasks: Sequence[Task],
    answers: Sequence[Answer],
    merged: QueryAnswer | None,
) -> pa.Table:
    """One row per step, in the order of the data's way; with `answers` and `merged`, what each took."""
    rows: list[_Row] = [("plan", None, None, None, None, None, None, f"{plan.kind}: {_KINDS[plan.kind]}")]
    rows += [_scan(scan) for scan in plan.leaf.scans]
    rows += [_pruned(part) for part in pruned]
    by_task = {answer.task.number: answer for answer in answers}
    rows += [_task(task, by_task.get(task.number)) for task in tasks]
    if plan.leaf.query is not None:
        rows.append(("query", None, None, None, None, None, None, plan.leaf.query.sql))
    else:
        rows.append(("merge", "coordinator", None, None, None, None, None, plan.merge_sql))
    if merged is not None:
        stats = merged.stats
        detail = f"{stats['segments_cached']} of {stats['segments']} segments answered by kept states"
        rows.append(
            (
                "result",
                "coordinator",
                stats["segments_read"],
                stats["row_groups"] - stats["row_groups_pruned"],
                merged.table.num_rows,
                stats["bytes_read"],
                round(1000 * stats["seconds"], 2),
                f"{detail}, {stats['segments_pruned']} pruned",
            )
        )
    columns = list(zip(*rows, strict=True))
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)], _SCHEMA)


def _scan(scan: StreamScan) -> _Row:
    asked = [f"time {scan.time_range.start_us} .. {scan.time_range.end_us} us"] if scan.time_range else []
    asked += [_predicate(predicate) for predicate in scan.predicates]
    asked += [" or ".join(_words(words) for words in clause) for clause in scan.words]
    pruning = f"; pruned by {', '.join(asked)}" if asked else ""
    return ("leaf", None, None, None, None, None, None, statement(scan, scan.stream, scan.conditions) + pruning)


def _predicate(predicate: Predicate) -> str:
    like = predicate.operator == LIKE
    values = [shown(value) for value in predicate.values] if like else list(predicate.values)
    return f"{predicate.path} {predicate.operator} {values}"


def _words(words: Words) -> str:
    path = words.path or "what is beyond the columns"
    return f"{path} holds {' '.join(words.tokens)}" if words.tokens else f"{path} has a value"


def _pruned(part: Pruned) -> _Row:
    skipped = sum(part.reasons.values())
    reasons = ", ".join(f"{count} by {reason}" for reason, count in sorted(part.reasons.items()))
    detail = (
        f"{part.stream}: {skipped} of {len(part.holding.segments)} segments pruned{f': {reasons}' if reasons else ''}"
    )
    detail += f"; {part.holding.memtable.rows} rows in the memtable"
    return ("prune", f"shard-{part.holding.shard}", skipped, None, None, None, None, detail)


def _task(task: Task, answer: Answer | None) -> _Row:
    memtable = " and the memtable" if task.memtable else ""
    detail = f"{task.segment_count} segments{memtable} of shard-{task.shard}"
    if answer is None:
        return ("task", task.workers[0], task.segment_count, None, None, None, None, detail)
    stats = answer.result.stats
    groups = stats.row_groups - stats.row_groups_pruned
    detail += f": {stats.segments_cached} kept, {stats.segments_pruned} without a wanted row by index"
    detail += f", {groups} of {stats.row_groups} row groups read" if stats.row_groups else ""
    if stats.reasons:
        reasons = ", ".join(f"{count} by {reason}" for reason, count in sorted(stats.reasons.items()))
        detail += f" (row groups left out: {reasons})"
    rows = sum(table.num_rows for table in answer.result.tables)
    milliseconds = round(1000 * answer.result.seconds, 2)
    return (
        "task",
        answer.worker,
        stats.segments_read,
        groups,
        stats.rows_scanned,
        stats.bytes_read,
        milliseconds,
        f"{detail}, {rows} rows back",
    )
