"""Owns the queries of a coordinator: who may run, what kind of answer is wanted, and what is kept of answers. No Ray.

The course of one query is query.course's. All rounds read one snapshot: describe pins the memtables under the query's
id, segments never change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from core.clock import Clock
from core.errors import BudgetExceeded, InvalidQuery, NotFound
from core.ids import check_name, nearest
from core.limits import (
    CURSORS_MAX,
    PROGRESS_SEGMENTS_MAX,
    QUERIES_RUNNING_MAX,
    QUERIES_WAITING_MAX,
    QUERY_SECONDS_MAX,
    RESULT_CACHE_BYTES,
    STREAM_ROWS_MAX,
    TASK_ROWS_MAX,
    TASK_SEGMENTS_MAX,
    TENANT_CURSORS_MAX,
    TENANT_QUERIES_RUNNING_MAX,
    TENANT_QUERIES_WAITING_MAX,
)
from query.admission import Admission
from query.backend import Backend, Streams
from query.catalog import describe_stream
from query.course import Course, Surroundings, check_result
from query.cursors import Cursors
from query.executor import Executor
from query.explain import explained
from query.fragment import DistributedPlan, Leaf
from query.hidden import Hiding, check_hidden, counting, finding, hidden_events, in_where, parse_where, referenced
from query.holdings import Ledger, merged_shape, visible_ends
from query.mistakes import located
from query.options import PIECES, QueryAnswer, QueryOptions
from query.parse import DESCRIBE, EXPLAIN, EXPLAIN_ANALYZE, SELECT, SHOW, Statement
from query.past import Past, Snapshots
from query.planner import Planner
from query.result_cache import ResultCache
from query.tasks import Task
from storage.deletes import Delete
from storage.named_snapshot_format import NamedSnapshot
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings

_SAMPLE_ROWS: Final = 200  # that DESCRIBE looks at for sample values


class Queries:
    """Answers the queries of one coordinator. Thread-safe; holds nothing that cannot be lost."""

    def __init__(
        self,
        backend: Backend,
        executor: Executor,
        clock: Clock,
        streams: Streams,
        snapshots: Snapshots,
        seconds_max: float = QUERY_SECONDS_MAX,
    ) -> None:
        """`seconds_max` is the most that a query gets, whatever it asks for: shards forget its pins then."""
        self._around = Surroundings(backend, executor, clock, Ledger(), Planner(executor, clock), Past())
        self._streams = streams
        self._snapshots = snapshots
        self._hiding = Hiding(streams, clock)
        self._seconds_max = seconds_max
        self._results: ResultCache[QueryAnswer] = ResultCache(RESULT_CACHE_BYTES)
        self._admission = Admission(
            QUERIES_RUNNING_MAX, TENANT_QUERIES_RUNNING_MAX, TENANT_QUERIES_WAITING_MAX, QUERIES_WAITING_MAX
        )
        self._cursors = Cursors(CURSORS_MAX, TENANT_CURSORS_MAX, clock)
        self._lock = threading.Lock()
        self._courses: dict[tuple[str, str, int], Course] = {}  # tenant, query id, to tell namesakes apart

    def answer(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> QueryAnswer:
        """Answer one statement over one snapshot of every shard.

        Raises InvalidQuery, NotFound (a stream), BudgetExceeded, Overloaded, Unavailable or UnknownOutcome (a shard
        went away: run it again).
        """
        with self._course(text, parameters, tenant, options) as course:
            return self._answer(course)

    def begin(self, kind: str, text: str, parameters: Any, tenant: str, options: QueryOptions, cursor: str) -> Any:
        """Begin a query of which PIECES or UPDATES are taken, under the name `cursor`; returns the first, as take()."""
        parts = (self.pieces if kind == PIECES else self.updates)(text, parameters, tenant, options)
        self._cursors.add(tenant, cursor, options.query_id, parts, options.timeout_s)
        return self.take(tenant, cursor)

    def take(self, tenant: str, cursor: str) -> Any:
        """The next part of the query that was opened as `cursor`, None when there are no more.

        It has its turn for as long as this takes, not while its taker looks at what he got. Raises as answer(); where
        there was no turn for it, Overloaded, the part may be asked for again.
        """
        turn = self._admission.slot(tenant, self._cursors.left_s(tenant, cursor))
        with turn, self._cursors.taking(tenant, cursor) as parts:
            part = next(parts, None)
        if part is None:
            self._cursors.end(tenant, cursor)
        return part

    def updates(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> Iterator[QueryAnswer]:
        """Early answers over what is read so far, at most every `options.update_s`, then the whole answer.

        `stats["partial"]` is true of all but the last, `stats["progress"]` is the share of the tasks that are done. The
        turns for it are the caller's to get: see take().
        """
        clock = self._around.clock
        with self._course(text, parameters, tenant, options, turn=False) as course:
            if course.statement.kind != SELECT:
                yield self._answer(course)
                return
            started_s = shown_s = clock.steady_s()
            course.take_snapshot()
            course.prepare(PROGRESS_SEGMENTS_MAX, TASK_ROWS_MAX)
            for _ in course.run_kept():
                if clock.steady_s() - shown_s >= options.update_s and len(course.answers) < len(course.tasks):
                    shown_s = clock.steady_s()
                    yield course.merged(started_s, True)
            yield course.merged(started_s, course.partial)

    def pieces(self, text: str, parameters: Any, tenant: str, options: QueryOptions) -> Iterator[pa.Table]:
        """The rows in pieces. Where no order is asked for, each is passed on and forgotten once it is there.

        The turns for it are the caller's to get: see take().
        """
        with self._course(text, parameters, tenant, options, turn=False) as course:
            if course.statement.kind != SELECT:
                yield self._answer(course).table
                return
            started_s = self._around.clock.steady_s()
            course.take_snapshot()
            course.prepare(1, STREAM_ROWS_MAX, pieces=True)
            if not course.plan.piecewise:
                course.run_all()
                yield course.merged(started_s, course.partial).table
                return
            rows = size = 0
            yield course.merge([])  # the schema, also when there are no rows
            for answer in course.run():
                table = course.merge([answer.result])
                rows, size = rows + table.num_rows, size + table.nbytes
                check_result(options, rows, size)
                if table.num_rows:
                    yield table

    def parts(
        self, text: str, parameters: Any, tenant: str, options: QueryOptions
    ) -> tuple[DistributedPlan, list[Task], str]:
        """The plan and tasks of a query, and its id on the workers, for somebody who runs the tasks himself.

        No tasks when the rows need a merge. The pins are his: a task takes that of its shard, others expire.
        """
        with self._course(text, parameters, tenant, options) as course:
            if course.statement.kind != SELECT:
                return course.plan, [], course.id
            course.take_snapshot()
            course.prepare(1, STREAM_ROWS_MAX, pieces=True)
            if not course.plan.piecewise:
                return course.plan, [], course.id
            course.pins -= {task.shard for task in course.tasks if task.memtable}
            return course.plan, course.tasks, course.id

    # --- deletes --------------------------------------------------------------------------------------------------

    def delete_of(self, tenant: str, stream: str, where: str) -> Delete:
        """The delete of what meets `where` now, not yet begun. Raises InvalidQuery, with the place in `where`, and as
        answer().
        """
        statement = parse_where(check_name("stream", stream), where)
        try:
            with self._course(counting(stream, where), None, tenant, QueryOptions()) as course:
                course.take_snapshot()
                course.prepare(TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
                course.run_all()
                matched = course.merged(0.0, False).table.column(0)[0].as_py()
                shape, attribute = merged_shape(course.holdings[stream]), course.settings[stream].timestamp
                bounds = visible_ends(course.holdings[stream])
        except InvalidQuery as error:
            raise in_where(error, where) from error
        read = referenced(statement, shape, attribute)
        paths = {path: tuple(sorted(kinds)) for path, kinds in read.paths.items()}
        delete = Delete(0, tenant, stream, where, bounds, 0, matched, paths, read.has_rest)
        check_hidden(hidden_events(delete, attribute), self._around.executor)
        return delete

    def leaf_of(self, delete: Delete) -> Leaf:
        """See query.hidden.finding."""
        (settings,) = [stream for stream in self._streams.streams(delete.tenant) if stream.name == delete.stream]
        return finding(delete, settings.timestamp, self._around.executor)

    def segments_of(self, tenant: str, stream: str) -> dict[int, tuple[Segment, ...]]:
        """The segments that each shard has of a stream now."""
        with self._course(counting(stream, "FALSE"), None, tenant, QueryOptions()) as course:
            course.take_snapshot()
            return {holding.shard: holding.segments for holding in course.holdings[stream]}

    def remaining(self, delete: Delete, past: NamedSnapshot | None = None) -> int:
        """How many events of a delete are stored now, or in a named snapshot of its tenant, whether hidden or not."""
        with self._course(counting(delete.stream, "FALSE"), None, delete.tenant, QueryOptions()) as course:
            course.past = past
            course.take_snapshot()
            course.prepare_leaf(self.leaf_of(delete))
            course.run_all()
            return sum(table.num_rows for answer in course.answers for table in answer.result.tables)

    def cancel(self, tenant: str, query_id: str) -> bool:
        """Stop the queries that `tenant` calls so; False when none runs here."""
        with self._lock:
            courses = [course for key, course in self._courses.items() if key[:2] == (tenant, query_id)]
        for course in courses:
            course.stop(BudgetExceeded(f"query {query_id!r} was cancelled", budget="cancelled"))
        return self._cursors.cancel(tenant, query_id) or bool(courses)

    def status(self) -> dict[str, Any]:
        """Numbers for people: queries that run, wait and are taken part by part, and the cache of answers."""
        self._cursors.sweep()
        queries = {**self._admission.status(), "open": self._cursors.status()}
        return {"queries": queries, "result_cache": self._results.status()}

    # --- one query ------------------------------------------------------------------------------------------------

    @contextmanager
    def _course(
        self, text: str, parameters: Any, tenant: str, options: QueryOptions, *, turn: bool = True
    ) -> Iterator[Course]:
        """A query that holds a slot, if it needs a `turn`, can be cancelled by its name, and leaves nothing behind on
        the workers.
        """
        clock = self._around.clock
        options = replace(options, timeout_s=min(options.timeout_s, self._seconds_max))
        question = (text, repr(parameters), options.dialect)
        statement = self._around.planner.parse(question, parameters)
        past = self._snapshots.get(tenant, options.at) if isinstance(options.at, str) else None
        settings = self._settings(tenant, statement, past)
        check_streams(statement, settings)
        read = {stream: settings[stream] for stream in statement.streams}
        hidden = self._hiding.of(tenant, read, in_snapshot=past is not None)
        deadline_s = clock.steady_s() + options.timeout_s
        course = Course(self._around, tenant, question, options, deadline_s, statement, settings, past, hidden)
        key = (tenant, options.query_id, id(course))
        finished = False
        with self._lock:
            self._courses[key] = course
        try:
            with self._admission.slot(tenant, options.timeout_s) if turn else nullcontext():
                course.left_s()  # it may have been cancelled while it waited
                yield course
            finished = True
        except InvalidQuery as error:
            raise located(error, statement.text) from error
        except RecursionError as error:
            raise InvalidQuery("the query is nested too deeply: write it flatter") from error
        finally:
            with self._lock:
                del self._courses[key]
            course.end(finished)

    def _settings(self, tenant: str, statement: Statement, past: NamedSnapshot | None) -> dict[str, StreamSettings]:
        """The tenant's streams: all of them, or at least those that the statement reads and that are there."""
        if past is not None:
            return dict(past.catalog.tenants.get(tenant, {}))
        settings = {stream.name: stream for stream in self._streams.known_streams(tenant)}
        if statement.kind == SHOW or not statement.streams <= settings.keys():
            settings = {stream.name: stream for stream in self._streams.streams(tenant)}
        return settings

    def _answer(self, course: Course) -> QueryAnswer:
        clock = self._around.clock
        started_s = clock.steady_s()
        if course.statement.kind in (SHOW, DESCRIBE) and isinstance(course.options.at, int):
            raise InvalidQuery(
                f"{course.statement.kind} tells of what is stored now or in a named snapshot, not of an instant: "
                "leave 'at' out or name a snapshot"
            )
        if course.statement.kind in (EXPLAIN, EXPLAIN_ANALYZE):
            return self._explain(course, started_s)
        kept = self._still_kept(course) if course.options.cache else None
        if kept is None:
            key = course.attempt(TASK_SEGMENTS_MAX, TASK_ROWS_MAX) or course.take_snapshot()
            kept = self._results.get(key) if course.options.cache else None
        if kept is not None:
            check_result(course.options, kept.table.num_rows, kept.table.nbytes)
            return kept.again(clock.steady_s() - started_s)
        if course.statement.kind == DESCRIBE:
            table = self._described(course)
            return QueryAnswer(table, (), {"plan": "constant", "seconds": clock.steady_s() - started_s})
        if not course.done:
            course.prepare(TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
            course.run_all()
        answer = course.merged(started_s, course.partial)
        if course.plan.repeatable and not course.partial:
            self._results.put(key, answer)
        return answer

    def _still_kept(self, course: Course) -> QueryAnswer | None:
        """The answer that is kept for what the streams held last, when they still do."""
        key = course.recall()
        if key is None or not self._results.holds(key) or course.look() != key:
            return None
        return self._results.get(key)

    def _explain(self, course: Course, started_s: float) -> QueryAnswer:
        course.take_snapshot()
        course.prepare(TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
        merged = None
        if course.statement.kind == EXPLAIN_ANALYZE:
            course.run_all()
            merged = course.merged(started_s, course.partial)
        table = explained(course.plan, course.pruned, course.tasks, course.answers, merged)
        seconds = self._around.clock.steady_s() - started_s
        stats = merged.stats if merged is not None else {"plan": "explain", "seconds": seconds}
        if merged is None:
            course.tasks = []  # nobody runs them
        return QueryAnswer(table, course.plan.warnings, stats)

    def _described(self, course: Course) -> pa.Table:
        (stream,) = course.statement.streams
        shape = merged_shape(course.holdings[stream])
        return describe_stream(shape, self._samples(course, stream) if shape.rows else None)

    def _samples(self, course: Course, stream: str) -> pa.Table:
        """The newest events of a stream, asked for in the turn of the query that describes it."""
        question = (f'SELECT * FROM "{stream}" ORDER BY timestamp DESC LIMIT {_SAMPLE_ROWS}', "None", None)
        inner = Course(
            self._around,
            course.tenant,
            question,
            QueryOptions(timeout_s=course.left_s()),
            course.deadline_s,
            self._around.planner.parse(question, None),
            course.settings,
            course.past,
            course.hidden,
        )
        finished = False
        try:
            inner.take_snapshot()
            inner.prepare(TASK_SEGMENTS_MAX, TASK_ROWS_MAX)
            inner.run_all()
            table = inner.merged(0.0, False).table
            finished = True
            return table
        finally:
            inner.end(finished)


def check_streams(statement: Statement, known: Mapping[str, object]) -> None:
    """Raise NotFound, with the nearest name, when the statement reads a stream that is not there."""
    for stream in sorted(statement.streams):
        if stream not in known:
            similar = nearest(stream, known)
            names = f"there are: {', '.join(sorted(known)[:10])}" if known else "there are no streams yet: write one"
            raise NotFound(f"stream {stream!r} is not there: {f'did you mean {similar!r}?' if similar else names}")
