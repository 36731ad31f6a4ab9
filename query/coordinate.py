"""Owns one query from text to rows: parse, snapshot and describe on every shard, plan, leaves, merge. No Ray.

Both rounds read one snapshot: describe() pins it under the query's id and run_leaf() takes it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from core.clock import Clock
from core.errors import BudgetExceeded, InvalidQuery, NotFound
from core.ids import nearest
from core.limits import QUERY_SECONDS_DEFAULT
from query.executor import Executor
from query.fragment import DistributedPlan, Leaf, LeafResult, LeafStats
from query.mistakes import located
from query.parse import SHOW, Statement, parse
from query.plan import plan
from query.run import run_merge
from query.shape import StreamShape, merge_shapes
from storage.stream_settings import StreamSettings


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """The budgets of one query."""

    timeout_s: float = QUERY_SECONDS_DEFAULT


@dataclass(frozen=True, slots=True)
class QueryAnswer:
    """The rows of a query, what to tell the user, and what it cost."""

    table: pa.Table
    warnings: tuple[str, ...]
    stats: dict[str, Any]


class Leaves(Protocol):
    """All shards at once. Each answer is a list with one entry per shard; the first error is raised."""

    def describe(
        self, query_id: str, tenant: str, streams: Sequence[str], timeout_s: float
    ) -> list[Mapping[str, StreamShape]]: ...

    def run_leaf(self, query_id: str, leaf: Leaf, timeout_s: float) -> list[LeafResult]: ...

    def release(self, query_id: str) -> None: ...


def run_query(
    text: str,
    parameters: Any,
    tenant: str,
    options: QueryOptions,
    known_streams: Callable[[str], Sequence[StreamSettings]],
    leaves: Leaves,
    executor: Executor,
    clock: Clock,
) -> QueryAnswer:
    """Answer one SELECT over one snapshot of every shard.

    Raises InvalidQuery, NotFound (a stream), BudgetExceeded, Unavailable or UnknownOutcome (a shard went away: run it
    again).
    """
    started_s = clock.steady_s()

    def left_s() -> float:
        left = options.timeout_s - (clock.steady_s() - started_s)
        if left <= 0:
            raise BudgetExceeded(f"the query took longer than its {options.timeout_s:g} s", budget="seconds")
        return left

    statement = parse(text, parameters)
    settings = {stream.name: stream for stream in known_streams(tenant)}
    check_streams(statement, settings)
    streams = sorted(settings if statement.kind == SHOW else statement.streams)
    query_id = secrets.token_hex(8)
    pinned = False
    try:
        shapes: dict[str, StreamShape] = {}
        if streams:
            answers = leaves.describe(query_id, tenant, streams, left_s())
            pinned = True
            shapes = {stream: merge_shapes(answer[stream] for answer in answers) for stream in streams}
        time_attributes = {stream: settings[stream].timestamp for stream in streams}
        plan_ = plan(statement, shapes, executor, now_us=clock.now_us(), time_attributes=time_attributes)
        partials: list[LeafResult] = []
        if plan_.leaf.scans:
            partials = leaves.run_leaf(query_id, plan_.leaf, left_s())
            pinned = False
        table = run_merge(plan_, partials, executor, seconds=left_s(), query_id=query_id)
        return QueryAnswer(table, plan_.warnings, _stats(plan_, partials, clock.steady_s() - started_s))
    except InvalidQuery as error:
        raise located(error, statement.text) from error
    finally:
        if pinned:
            leaves.release(query_id)


def check_streams(statement: Statement, known: Mapping[str, object]) -> None:
    """Raise NotFound, with the nearest name, when the statement reads a stream that is not there."""
    for stream in sorted(statement.streams):
        if stream not in known:
            similar = nearest(stream, known)
            names = f"there are: {', '.join(sorted(known)[:10])}" if known else "there are no streams yet: write one"
            raise NotFound(f"stream {stream!r} is not there: {f'did you mean {similar!r}?' if similar else names}")


def _stats(plan_: DistributedPlan, partials: Sequence[LeafResult], seconds: float) -> dict[str, Any]:
    total = LeafStats()
    for partial in partials:
        total = total + partial.stats
    named = {name: getattr(total, name) for name in LeafStats.__dataclass_fields__}
    return {"plan": plan_.kind, "seconds": seconds, "shards": len(partials), **named}
