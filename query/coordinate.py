"""Owns one query from text to rows: parse, snapshot of every shard, plan, prune, tasks, merge. No Ray.

All rounds read one snapshot: describe pins the memtables under the query's id, segments never change.
"""

from __future__ import annotations

import secrets
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

from core.clock import Clock
from core.errors import BudgetExceeded, InvalidQuery, NotFound
from core.ids import nearest
from core.limits import (
    PROGRESS_SEGMENTS_MAX,
    QUERIES_RUNNING_MAX,
    RESULT_CACHE_BYTES,
    STREAM_ROWS_MAX,
    TASK_ROWS_MAX,
    TASK_SEGMENTS_MAX,
    TENANT_QUERIES_RUNNING_MAX,
    TENANT_QUERIES_WAITING_MAX,
)
from query.admission import Admission
from query.backend import Backend, Streams
from query.catalog import describe_stream
from query.dispatch import Answer, Dispatcher
from query.executor import Executor
from query.explain import explained
from query.fragment import CONSTANT, TOP_N, DistributedPlan, Leaf, LeafResult, LeafStats
from query.holdings import Holding, Ledger, merged_shape, take_snapshot
from query.merge import run_merge
from query.mistakes import located
from query.options import PARTIAL, QueryAnswer, QueryOptions
from query.parse import DESCRIBE, EXPLAIN, EXPLAIN_ANALYZE, SHOW, Statement
from query.planner import Planner, Question
from query.result_cache import ResultCache
from query.shape import StreamShape
from query.tasks import Pruned, Task, make_tasks, prune
from storage.stream_settings import StreamSettings

_SAMPLE_ROWS: Final = 200  # that DESCRIBE looks at for sample values
_UNPLANNED: Final = DistributedPlan(CONSTANT, Leaf(()), "", (), (), ())
_MERGE_SECONDS_MIN: Final = 5.0  # for the merge of what came before the time was over


@dataclass(slots=True)
class _Query:
    """One query that runs: its snapshot, its plan, and how it goes."""

    id: str
    tenant: str
    question: Question
    options: QueryOptions
    deadline_s: float
    statement: Statement
    settings: Mapping[str, StreamSettings]
    stop: BudgetExceeded | None = None
    holdings: dict[str, list[Holding]] = field(default_factory=dict)
    plan: DistributedPlan = _UNPLANNED
    pruned: list[Pruned] = field(default_factory=list)
    tasks: list[Task] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    pinned: bool = False
    hedges: int = 0
    retries: int = 0

    @property
    def stats(self) -> LeafStats:
        """What all tasks looked at until now, with what was never sent."""
        total = LeafStats()
        for part in self.pruned:
            skipped = sum(part.reasons.values())
            total += LeafStats(segments=skipped, segments_pruned=skipped)
        for answer in self.answers:
            total += answer.result.stats
        return total


class Queries:
    """Answers the queries of one coordinator. Thread-safe; holds nothing that cannot be lost."""

    def __init__(
        self,
        backend: Backend,
        executor: Executor,
        clock: Clock,
        streams: Streams,
    ) -> None:
        self._backend = backend
        self._executor = executor
        self._clock = clock
        self._streams = streams
        self._ledger = Ledger()
        self._planner = Planner(executor, clock)
        self._results: ResultCache[QueryAnswer] = ResultCache(RESULT_CACHE_BYTES)
        self._admission = Admission(QUERIES_RUNNING_MAX, TENANT_QUERIES_RUNNING_MAX, TENANT_QUERIES_WAITING_MAX)
        self._lock = threading.Lock()
        self._running: dict[str, _Query] = {}

    def answer(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> QueryAnswer:
        """Answer one statement over one snapshot of every shard.

        Raises InvalidQuery, NotFound (a stream), BudgetExceeded, Overloaded, Unavailable or UnknownOutcome (a shard
        went away: run it again).
        """
        started_s = self._clock.steady_s()
        with self._query(text, parameters, tenant, options) as query:
            kind = query.statement.kind
            if kind in (EXPLAIN, EXPLAIN_ANALYZE):
                return self._explain(query, started_s)
            key = self._snapshot(query)
            kept = self._results.get(key) if options.cache else None
            if kept is not None:
                return kept.again(self._clock.steady_s() - started_s)
            if kind == DESCRIBE:
                return QueryAnswer(self._described(query), (), {"plan": "constant"})
            self._prepare(query, TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
            partial = self._run_all(query)
            answer = self._merged(query, started_s, partial)
            if query.plan.repeatable and not partial:
                self._results.put(key, answer)
            return answer

    def updates(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> Iterator[QueryAnswer]:
        """Early answers over what is read so far, at most every `options.update_s`, then the whole answer.

        `stats["partial"]` is true of all but the last, `stats["progress"]` is the share of the tasks that are done.
        """
        started_s = shown_s = self._clock.steady_s()
        with self._query(text, parameters, tenant, options) as query:
            self._snapshot(query)
            self._prepare(query, PROGRESS_SEGMENTS_MAX, TASK_ROWS_MAX)
            for answer in self._run(query):
                query.answers.append(answer)
                now_s = self._clock.steady_s()
                if now_s - shown_s >= options.update_s and len(query.answers) < len(query.tasks):
                    shown_s = now_s
                    yield self._merged(query, started_s, True)
            yield self._merged(query, started_s, False)

    def pieces(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> Iterator[pa.Table]:
        """The rows in pieces. Where no order is asked for, each is passed on and forgotten once it is there."""
        started_s = self._clock.steady_s()
        with self._query(text, parameters, tenant, options) as query:
            self._snapshot(query)
            self._prepare(query, 1, STREAM_ROWS_MAX)
            if not query.plan.piecewise:
                self._run_all(query)
                yield self._merged(query, started_s, False).table
                return
            rows = 0
            yield self._merge(query, [])  # the schema, also when there are no rows
            for answer in self._run(query):
                table = self._merge(query, [answer.result])
                rows += table.num_rows
                self._check_rows(query, rows, 0)
                if table.num_rows:
                    yield table

    def parts(
        self, text: str, parameters: Any, tenant: str, options: QueryOptions
    ) -> tuple[DistributedPlan, list[Task]]:
        """The plan and the tasks of a query, for somebody who runs them himself under `options.query_id`."""
        with self._query(text, parameters, tenant, options) as query:
            self._snapshot(query)
            self._prepare(query, 1, STREAM_ROWS_MAX)
            query.pinned = False
            return query.plan, query.tasks

    def cancel(self, query_id: str) -> bool:
        """Stop a query wherever it runs; False when it does not run here."""
        with self._lock:
            query = self._running.get(query_id)
        if query is None:
            return False
        query.stop = BudgetExceeded(f"query {query_id!r} was cancelled", budget="cancelled")
        self._executor.cancel(query_id)
        self._backend.cancel(query_id)
        return True

    def status(self) -> dict[str, Any]:
        """Numbers for people: queries that run and wait, and the cache of answers."""
        return {"queries": self._admission.status(), "result_cache": self._results.status()}

    # --- the course of a query ------------------------------------------------------------------------------------

    @contextmanager
    def _query(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> Iterator[_Query]:
        """A query that holds a slot, is known under its id, and leaves nothing behind on the workers."""
        deadline_s = self._clock.steady_s() + options.timeout_s
        question = (text, repr(parameters), options.dialect)
        statement = self._planner.parse(question, parameters)
        settings = {stream.name: stream for stream in self._streams.known_streams(tenant)}
        if statement.kind == SHOW or not statement.streams <= settings.keys():
            settings = {stream.name: stream for stream in self._streams.streams(tenant)}
        check_streams(statement, settings)
        query = _Query(
            options.query_id or secrets.token_hex(8), tenant, question, options, deadline_s, statement, settings
        )
        finished = False
        with self._lock:
            self._running[query.id] = query
        try:
            with self._admission.slot(tenant, options.timeout_s):
                yield query
            finished = True
        except InvalidQuery as error:
            raise located(error, statement.text) from error
        finally:
            with self._lock:
                self._running.pop(query.id, None)
            if query.pinned:
                self._backend.release(query.id)
            if not finished and len(query.answers) < len(query.tasks):
                self._backend.cancel(query.id)

    def _left_s(self, query: _Query) -> float:
        if query.stop is not None:
            raise query.stop
        left = query.deadline_s - self._clock.steady_s()
        if left <= 0:
            raise _too_late(query.options.timeout_s)
        return left

    def _snapshot(self, query: _Query) -> Any:
        """Take the snapshot of every stream that is read; returns the key of the question over this snapshot."""
        statement = query.statement
        streams = sorted(query.settings if statement.kind == SHOW else statement.streams)
        if streams:
            query.pinned = True
            query.holdings = take_snapshot(
                self._backend, self._ledger, query.id, query.tenant, streams, self._left_s(query)
            )
        identities = tuple((s, tuple(holding.identity for holding in query.holdings[s])) for s in streams)
        settings = tuple(query.settings[stream] for stream in streams)
        return (query.tenant, query.question, identities, settings)

    def _prepare(self, query: _Query, segments_max: int, rows_max: int) -> None:
        """Plan the query, prune, and cut it into tasks."""
        query.plan = self._planner.plan(query.question, query.statement, query.holdings, query.settings)
        leaf = query.plan.leaf
        if leaf.scans:
            query.pruned = prune(leaf, query.holdings)
            if query.plan.kind == TOP_N:
                rows_max = sys.maxsize  # what the newest segments of a task have lets the engine skip the others
            query.tasks = make_tasks(query.pruned, self._backend.readers, segments_max, rows_max)
        # A task with memtable batches lets go of the pins of its shard; without any there is nothing to let go of.
        pinned = {holding.shard for held in query.holdings.values() for holding in held if holding.batches}
        query.pinned = bool(pinned - {task.shard for task in query.tasks if task.memtable})

    def _run(self, query: _Query) -> Iterator[Answer]:
        """The answers of the query's tasks as they come, within its budgets."""
        if not query.tasks:
            return
        scanned = 0
        options = query.options

        def stop() -> BudgetExceeded | None:
            if query.stop is None and self._clock.steady_s() > query.deadline_s:
                query.stop = _too_late(options.timeout_s)
            return query.stop

        fleet = self._backend.fleet(query.id, query.plan.leaf, self._left_s(query), options.cache)
        dispatcher = Dispatcher(fleet, self._clock, stop)
        try:
            for answer in dispatcher.run(query.tasks):
                yield answer
                scanned += answer.result.stats.bytes_read
                if options.scanned_bytes_max is not None and scanned > options.scanned_bytes_max:
                    raise BudgetExceeded(
                        f"the query scans more than {options.scanned_bytes_max} bytes: narrow its time range or its "
                        "filters, or allow more",
                        budget="scanned_bytes",
                    )
        finally:
            query.hedges, query.retries = dispatcher.hedges, dispatcher.retries

    def _run_all(self, query: _Query) -> bool:
        """Run all tasks; whether a budget ended them early and the caller takes what there is."""
        try:
            for answer in self._run(query):
                query.answers.append(answer)
        except BudgetExceeded as error:
            if query.options.on_budget != PARTIAL or error.budget not in ("seconds", "scanned_bytes"):
                raise
            self._backend.cancel(query.id)
            return True
        return False

    def _merge(self, query: _Query, results: Sequence[LeafResult]) -> pa.Table:
        seconds = max(query.deadline_s - self._clock.steady_s(), _MERGE_SECONDS_MIN)
        return run_merge(query.plan, results, self._executor, seconds=seconds, query_id=query.id)

    def _merged(self, query: _Query, started_s: float, partial: bool) -> QueryAnswer:
        table = self._merge(query, [answer.result for answer in query.answers])
        self._check_rows(query, table.num_rows, table.nbytes)
        warnings = query.plan.warnings
        if partial and query.options.on_budget == PARTIAL:
            warnings = (*warnings, f"the result is partial: {len(query.answers)} of {len(query.tasks)} parts were read")
        stats = query.stats
        numbers = {name: getattr(stats, name) for name in LeafStats.__dataclass_fields__}
        return QueryAnswer(
            table,
            warnings,
            {
                "plan": query.plan.kind,
                "seconds": self._clock.steady_s() - started_s,
                "shards": self._backend.shards,
                "tasks": len(query.tasks),
                "progress": len(query.answers) / len(query.tasks) if query.tasks else 1.0,
                "partial": partial,
                "result_cached": False,
                "snapshot": {
                    stream: {holding.shard: holding.visible_offset for holding in holdings}
                    for stream, holdings in query.holdings.items()
                },
                "hedges": query.hedges,
                "retries": query.retries,
                **numbers,
            },
        )

    def _check_rows(self, query: _Query, rows: int, size: int) -> None:
        options = query.options
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

    # --- statements about statements ------------------------------------------------------------------------------

    def _explain(self, query: _Query, started_s: float) -> QueryAnswer:
        self._snapshot(query)
        self._prepare(query, TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
        merged = None
        if query.statement.kind == EXPLAIN_ANALYZE:
            self._run_all(query)
            merged = self._merged(query, started_s, False)
        table = explained(query.plan, query.pruned, query.tasks, query.answers, merged)
        return QueryAnswer(table, query.plan.warnings, merged.stats if merged is not None else {"plan": "explain"})

    def _described(self, query: _Query) -> pa.Table:
        (stream,) = query.statement.streams
        shape = merged_shape(query.holdings[stream])
        return describe_stream(shape, self._samples(query, stream, shape))

    def _samples(self, query: _Query, stream: str, shape: StreamShape) -> pa.Table | None:
        if not shape.rows:
            return None
        # Its own slot would wait for this one.
        question = (f'SELECT * FROM "{stream}" ORDER BY timestamp DESC LIMIT {_SAMPLE_ROWS}', "None", None)
        inner = _Query(
            secrets.token_hex(8),
            query.tenant,
            question,
            QueryOptions(timeout_s=self._left_s(query)),
            query.deadline_s,
            self._planner.parse(question, None),
            query.settings,
        )
        self._snapshot(inner)
        self._prepare(inner, TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
        try:
            self._run_all(inner)
            return self._merged(inner, 0.0, False).table
        finally:
            if inner.pinned:
                self._backend.release(inner.id)


def check_streams(statement: Statement, known: Mapping[str, object]) -> None:
    """Raise NotFound, with the nearest name, when the statement reads a stream that is not there."""
    for stream in sorted(statement.streams):
        if stream not in known:
            similar = nearest(stream, known)
            names = f"there are: {', '.join(sorted(known)[:10])}" if known else "there are no streams yet: write one"
            raise NotFound(f"stream {stream!r} is not there: {f'did you mean {similar!r}?' if similar else names}")


def _too_late(timeout_s: float) -> BudgetExceeded:
    return BudgetExceeded(f"the query took longer than its {timeout_s:g} s", budget="seconds")
