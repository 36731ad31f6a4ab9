"""Owns the course of one query: its snapshot, its plan, its tasks and what they gave, within its budgets. No Ray.

Whatever happens, end() lets go of what the query holds on the workers.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from core.clock import Clock
from core.errors import BudgetExceeded
from query.backend import Backend
from query.dispatch import Answer, Dispatcher
from query.executor import Executor
from query.fragment import CONSTANT, TOP_N, DistributedPlan, Leaf, LeafResult, LeafStats
from query.holdings import Holding, Ledger, take_snapshot, visible_ends
from query.merge import run_merge
from query.options import PARTIAL, QueryAnswer, QueryOptions
from query.parse import SHOW, Statement
from query.past import holdings_in, stored_until
from query.planner import Planner, Question
from query.tasks import Pruned, Task, make_tasks, prune
from query.worker import too_much
from storage.named_snapshot_format import NamedSnapshot
from storage.stream_settings import StreamSettings

_UNPLANNED: Final = DistributedPlan(CONSTANT, Leaf(()), "", (), (), ())
_MERGE_SECONDS_MIN: Final = 5.0  # for the merge of what came before the time was over
_SOFT_BUDGETS: Final = frozenset({"seconds", "scanned_bytes"})  # what was read until then is an answer


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all queries of a coordinator share."""

    backend: Backend
    executor: Executor
    clock: Clock
    ledger: Ledger
    planner: Planner


@dataclass(slots=True)
class Course:
    """One query that runs. `id` is known to the workers alone: no two courses share one, whatever callers call them."""

    around: Surroundings
    tenant: str
    question: Question
    options: QueryOptions
    deadline_s: float
    statement: Statement
    settings: Mapping[str, StreamSettings]
    past: NamedSnapshot | None = None  # what is read instead of what the shards hold now
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    stopped: BudgetExceeded | None = None
    holdings: dict[str, list[Holding]] = field(default_factory=dict)
    plan: DistributedPlan = _UNPLANNED
    pruned: list[Pruned] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pins: set[int] = field(default_factory=set)  # shards that may hold a snapshot for the query
    dispatcher: Dispatcher | None = None
    partial: bool = False  # a budget ended the tasks early, and the caller takes what there is

    # --- steps ----------------------------------------------------------------------------------------------------

    def take_snapshot(self) -> tuple[Any, ...]:
        """Take the snapshot of every stream that is read; returns the key of the question over this snapshot."""
        streams = sorted(self.settings if self.statement.kind == SHOW else self.statement.streams)
        backend = self.around.backend
        if self.past is not None:
            self.holdings = holdings_in(self.past, streams)
        elif streams:
            self.pins = set(backend.shards)
            self.holdings = take_snapshot(backend, self.around.ledger, self.id, self.tenant, streams, self.left_s())
            self.pins = {held.shard for holdings in self.holdings.values() for held in holdings if held.batches}
        identities = tuple((stream, tuple(held.identity for held in self.holdings[stream])) for stream in streams)
        settings = tuple(self.settings[stream] for stream in streams)
        return (self.tenant, self.question, self.options.at, identities, settings)

    def prepare(self, segments_max: int, rows_max: int) -> None:
        """Plan the query, prune, and cut it into tasks."""
        self.plan = self.around.planner.plan(self.question, self.statement, self.holdings, self.settings)
        if isinstance(self.options.at, int):
            self.plan = stored_until(self.plan, self.options.at)
        if self.plan.leaf.scans:
            self.pruned = prune(self.plan.leaf, self.holdings)
            if self.plan.kind == TOP_N:
                rows_max = sys.maxsize  # what the newest segments of a task have lets the engine skip the others
            self.tasks = make_tasks(self.pruned, self.around.backend.readers, segments_max, rows_max)

    def run(self) -> Iterator[Answer]:
        """The answers of the tasks as they come. Raises BudgetExceeded, and what a task failed with."""
        if not self.tasks:
            return
        fleet = self.around.backend.fleet(self.id, self.plan.leaf, self.left_s(), self.options.cache)
        self.dispatcher = Dispatcher(fleet, self.around.clock, self._why_stop)
        scanned = 0
        for answer in self.dispatcher.run(self.tasks):
            if answer.task.memtable:
                self.pins.discard(answer.task.shard)
            yield answer
            scanned += answer.result.stats.bytes_read
            if self.options.scanned_bytes_max is not None and scanned > self.options.scanned_bytes_max:
                raise BudgetExceeded(
                    f"the query scans more than {self.options.scanned_bytes_max} bytes: narrow its time range or its "
                    "filters, or allow more",
                    budget="scanned_bytes",
                )

    def run_kept(self) -> Iterator[None]:
        """Run all tasks and keep what they gave; yields after each. `partial` tells that a budget ended it early."""
        kept = 0
        try:
            for answer in self.run():
                kept += sum(table.nbytes for table in answer.result.tables)
                if self.plan.leaf.bytes_max is not None and kept > self.plan.leaf.bytes_max:
                    raise too_much(self.plan.leaf.bytes_max)
                self.answers.append(answer)
                yield
        except BudgetExceeded as error:
            if self.options.on_budget != PARTIAL or error.budget not in _SOFT_BUDGETS:
                raise
            self.around.backend.cancel(self.id)
            self.id = secrets.token_hex(8)  # the merge goes on
            self.stopped = None
            self.partial = True

    def run_all(self) -> None:
        """Run all tasks and keep what they gave; see run_kept()."""
        for _ in self.run_kept():
            pass

    def merge(self, results: Sequence[LeafResult]) -> pa.Table:
        """The rows that the plan makes of `results`."""
        if self.stopped is not None:
            raise self.stopped
        left = self.deadline_s - self.around.clock.steady_s()
        seconds = max(left, _MERGE_SECONDS_MIN if self.partial else 0.001)
        return run_merge(self.plan, results, self.around.executor, seconds=seconds, query_id=self.id)

    def merged(self, started_s: float, partial: bool) -> QueryAnswer:
        """The answer from what came until now."""
        table = self.merge([answer.result for answer in self.answers])
        check_result(self.options, table.num_rows, table.nbytes)
        warnings = self.plan.warnings
        if partial and self.options.on_budget == PARTIAL:
            warnings = (*warnings, f"the result is partial: {len(self.answers)} of {len(self.tasks)} parts were read")
        return QueryAnswer(table, warnings, self._numbers(started_s, partial))

    # --- stopping -------------------------------------------------------------------------------------------------

    def left_s(self) -> float:
        """Seconds that the query may still take. Raises BudgetExceeded when there are none or it was stopped."""
        reason = self._why_stop()
        if reason is not None:
            raise reason
        return max(self.deadline_s - self.around.clock.steady_s(), 0.001)

    def stop(self, reason: BudgetExceeded) -> None:
        """End the query with `reason`, wherever it runs; callable from any thread."""
        self.stopped = reason
        self.around.executor.cancel(self.id)
        self.around.backend.cancel(self.id)

    def end(self, finished: bool) -> None:
        """Leave nothing behind on the workers; `finished` tells that no task runs any more."""
        if not finished and len(self.answers) < len(self.tasks):
            self.around.backend.cancel(self.id)
        elif self.pins:
            self.around.backend.release(self.id)

    def _why_stop(self) -> BudgetExceeded | None:
        if self.stopped is None and self.around.clock.steady_s() > self.deadline_s:
            self.stopped = too_late(self.options.timeout_s)
        return self.stopped

    # --- numbers --------------------------------------------------------------------------------------------------

    def _numbers(self, started_s: float, partial: bool) -> dict[str, Any]:
        stats = LeafStats()
        for part in self.pruned:
            skipped = sum(part.reasons.values())
            stats += LeafStats(segments=skipped, segments_pruned=skipped)
        for answer in self.answers:
            stats += answer.result.stats
        return {
            "plan": self.plan.kind,
            "seconds": self.around.clock.steady_s() - started_s,
            "shards": len(self.around.backend.shards),
            "tasks": len(self.tasks),
            "progress": len(self.answers) / len(self.tasks) if self.tasks else 1.0,
            "partial": partial,
            "result_cached": False,
            "snapshot": {stream: visible_ends(holdings) for stream, holdings in self.holdings.items()},
            "hedges": self.dispatcher.hedges if self.dispatcher is not None else 0,
            "retries": self.dispatcher.retries if self.dispatcher is not None else 0,
            **{name: getattr(stats, name) for name in LeafStats.__dataclass_fields__},
        }


def check_result(options: QueryOptions, rows: int, size: int) -> None:
    """Raise BudgetExceeded when a result of `rows` rows and `size` bytes of Arrow is larger than the caller allows."""
    if options.result_rows_max is not None and rows > options.result_rows_max:
        raise BudgetExceeded(
            f"the result has more than {options.result_rows_max} rows: add a LIMIT, or allow more",
            budget="result_rows",
        )
    if options.result_bytes_max is not None and size > options.result_bytes_max:
        raise BudgetExceeded(
            f"the result has more than {options.result_bytes_max} bytes: select less, or allow more",
            budget="result_bytes",
        )


def too_late(timeout_s: float) -> BudgetExceeded:
    """The error of a query whose time is over."""
    return BudgetExceeded(f"the query took longer than its {timeout_s:g} s", budget="seconds")
