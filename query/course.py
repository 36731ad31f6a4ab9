"""Owns the course of one query: its snapshot, its plan, its tasks and what they gave, within its budgets. No Ray.

Whatever happens, end() lets go of what the query holds on the workers.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from core.clock import Clock
from core.errors import BudgetExceeded, InvalidQuery
from core.limits import TASK_ROWS_MAX, TASK_SEGMENTS_MAX
from query.attempt import Attempt, by_shard, unchanged
from query.backend import Backend
from query.dispatch import Answer, Dispatcher
from query.executor import Executor
from query.fragment import CONSTANT, TOP_N, DistributedPlan, Leaf, LeafResult, LeafStats
from query.hidden import HiddenEvents, hide
from query.holdings import Holding, Ledger, take_snapshot, visible_ends
from query.merge import run_merge
from query.options import PARTIAL, QueryAnswer, QueryOptions
from query.parse import SELECT, SHOW, Statement
from query.past import Past, stored_until
from query.planner import Planner, Question
from query.tasks import QUICK_ROWS_MAX, Pruned, Task, make_tasks, prune, shard_worker
from query.worker import too_much
from storage.named_snapshot_format import NamedSnapshot
from storage.stream_settings import StreamSettings

Key = tuple[Any, ...]  # of a question over a snapshot

_UNPLANNED: Final = DistributedPlan(CONSTANT, Leaf(()), "", (), (), ())
_ATTEMPT_SLACK_S: Final = 1.0  # a shard ends an attempt in time by itself; its answer takes a moment more
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
    past: Past


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
    hidden: tuple[HiddenEvents, ...] = ()  # as it was before any snapshot is taken
    id: str = field(default_factory=lambda: secrets.token_hex(8))
    stopped: BudgetExceeded | None = None
    holdings: dict[str, list[Holding]] = field(default_factory=dict)
    plan: DistributedPlan = _UNPLANNED
    pruned: list[Pruned] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pins: set[int] = field(default_factory=set)  # shards that may hold a snapshot for the query
    dispatcher: Dispatcher | None = None
    done: bool = False  # all tasks were run by attempt()
    partial: bool = False  # a budget ended the tasks early, and the caller takes what there is

    # --- steps ----------------------------------------------------------------------------------------------------

    def recall(self) -> Key | None:
        """The key of the question over what the streams held when last asked; None when that is not known."""
        held = self._recalled()
        return None if held is None else self._key(held)

    def look(self) -> Key | None:
        """The key of the question over what the streams hold now; nothing is pinned."""
        believed = self._recalled()
        held = None if believed is None else self._ask_for(believed, {})[0]
        return None if held is None else self._key(held)

    def attempt(self, segments_max: int, rows_max: int) -> Key | None:
        """Answer in one round, if the streams hold what they held when last asked: then all tasks are done.

        Returns the key of the question over the snapshot; None when that came to nothing, of which nothing is left.
        """
        believed = self._recalled()
        soft = self.options.on_budget == PARTIAL or self.options.scanned_bytes_max is not None
        if self.statement.kind != SELECT or believed is None or soft:
            return None
        self.holdings = believed
        held = None
        try:
            held = self._run_at_once(segments_max, rows_max)
        except InvalidQuery:  # of what the streams hold now the query may be right
            if self.tasks:
                self._cancel_and_go_on()
        if held is None or not unchanged(believed, held):
            self.holdings, self.plan, self.pruned, self.tasks, self.answers = {}, _UNPLANNED, [], [], []
            return None
        self.holdings = held
        self.done = True
        return self._key(held)

    def take_snapshot(self) -> Key:
        """Take the snapshot of every stream that is read; returns the key of the question over this snapshot."""
        backend = self.around.backend
        if self.past is not None:
            self.holdings = self.around.past.holdings(self.past, self._streams)
        elif self._streams:
            self.pins = set(backend.shards)
            self.holdings = take_snapshot(
                backend, self.around.ledger, self.id, self.tenant, self._streams, self.left_s()
            )
            self.pins = {held.shard for holdings in self.holdings.values() for held in holdings if held.batches}
        return self._key(self.holdings)

    def prepare(self, segments_max: int, rows_max: int, *, pieces: bool = False) -> None:
        """Plan the query, prune, and cut it into tasks; `pieces` keeps a plan that works piece by piece."""
        self.plan = self.around.planner.plan(self.question, self.statement, self.holdings, self.settings)
        if isinstance(self.options.at, int):
            self.plan = stored_until(self.plan, self.options.at)
        self.plan = hide(self.plan, self.hidden)
        if self.plan.leaf.scans:
            self.pruned = prune(self.plan.leaf, self.holdings)
            if self.plan.kind == TOP_N:
                rows_max = sys.maxsize  # what the newest segments of a task have lets the engine skip the others
            self.tasks = make_tasks(self.pruned, self._readers(), segments_max, rows_max)
            if len(self.tasks) == 1 and not (pieces and self.plan.piecewise) and self._is_quick():
                self.plan = self.plan.whole()

    def prepare_leaf(self, leaf: Leaf) -> None:
        """Have the tasks of a leaf that is no question's, over all that the snapshot holds of its streams."""
        self.plan = replace(_UNPLANNED, leaf=leaf)
        self.pruned = prune(leaf, self.holdings)
        self.tasks = make_tasks(self.pruned, self._readers(), TASK_SEGMENTS_MAX, TASK_ROWS_MAX)

    def _readers(self) -> Sequence[str]:
        """The workers that read segments; () when every shard reads its own."""
        backend = self.around.backend
        if self.past is None or backend.readers:
            return backend.readers
        return [shard_worker(shard) for shard in backend.shards]  # a shard of then may be no more

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
            self._cancel_and_go_on()
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

    def _is_quick(self) -> bool:
        """Whether the only task costs no more than to look after states that would make it cheaper next time."""
        (task,) = self.tasks
        return task.rows <= QUICK_ROWS_MAX or not self.plan.keeps_states

    def _recalled(self) -> dict[str, list[Holding]] | None:
        """What the streams held when last asked; None when that is not known, or of no interest."""
        if self.past is not None or not self._streams:
            return None
        return self.around.ledger.recall(self.around.backend.shards, self.tenant, self._streams)

    @property
    def _streams(self) -> list[str]:
        return sorted(self.settings if self.statement.kind == SHOW else self.statement.streams)

    def _key(self, holdings: Mapping[str, Sequence[Holding]]) -> Key:
        identities = tuple((stream, tuple(held.identity for held in holdings[stream])) for stream in self._streams)
        settings = tuple(self.settings[stream] for stream in self._streams)
        return (self.tenant, self.question, self.options.at, identities, settings, self.hidden)

    def _ask_for(
        self, believed: Mapping[str, Sequence[Holding]], tasks: Mapping[int, Task]
    ) -> tuple[dict[str, list[Holding]] | None, dict[int, LeafResult]]:
        """What the shards hold, None when what is believed does not lead there, and what those gave that ran a task."""
        known: dict[int, dict[str, int]] = {}
        for stream, holdings in believed.items():
            for holding in holdings:
                known.setdefault(holding.shard, {})[stream] = holding.version
        leaf, seconds, cache = self.plan.leaf, self.left_s(), self.options.cache
        asked = {
            shard: Attempt(self.id, versions, leaf, tasks.get(shard), seconds, cache)
            for shard, versions in known.items()
        }
        answers = self.around.backend.attempt(self.tenant, asked, seconds + _ATTEMPT_SLACK_S)
        told = {shard: answer.told for shard, answer in answers.items()}
        held = self.around.ledger.learn_all(self.tenant, self._streams, told)
        return held, {shard: answer.result for shard, answer in answers.items() if answer.result is not None}

    def _run_at_once(self, segments_max: int, rows_max: int) -> dict[str, list[Holding]] | None:
        """Plan for `holdings`, and have each shard run its task; what the shards hold, None when one did not run it."""
        self.prepare(segments_max, rows_max)
        placed = by_shard(self.tasks)
        if placed is None:
            return None
        held, results = self._ask_for(self.holdings, placed)
        if len(results) < len(self.tasks):
            return None
        self.answers = [Answer(task, task.workers[0], results[task.shard]) for task in self.tasks]
        return held

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

    def _cancel_and_go_on(self) -> None:
        """End what runs on the workers, but not the query."""
        self.around.backend.cancel(self.id)
        self.id = secrets.token_hex(8)

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
