"""Owns what a client asks of the events: SQL, whole or in pieces, search in pages, and the way to stop a query."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal, overload

import pyarrow as pa

from cluster.transport import Transport
from core.clock import Clock
from core.errors import InternalError, InvalidRequest, Unavailable, UnknownOutcome, WalMissing
from core.limits import QUERY_SECONDS_DEFAULT
from malamute.result import Page, Result
from malamute.search_cursor import SearchRequest, page_of
from query.aggregate_request import AggregateRequest
from query.aggregate_steps import aggregate
from query.options import FAIL, PIECES, UPDATES, QueryAnswer, QueryOptions
from query.past import at_of

QUERY_RETRY_S = 0.5  # pause before a query is repeated because a shard or the coordinator went away
ANSWER_SLACK_S = 5.0  # the coordinator stops a query in time by itself; its answer takes a moment more


class Questions:
    """The reading half of a client. Thread-safe."""

    _transport: Transport
    _tenant: str
    _clock: Clock
    _closed: bool

    @overload
    def sql(
        self, text: str, parameters: Any = None, *, progressive: Literal[False] = False, **options: Any
    ) -> Result: ...

    @overload
    def sql(
        self, text: str, parameters: Any = None, *, progressive: Literal[True], **options: Any
    ) -> Iterator[Result]: ...

    def sql(
        self,
        text: str,
        parameters: Any = None,
        *,
        progressive: bool = False,
        timeout_s: float = QUERY_SECONDS_DEFAULT,
        dialect: str | None = None,
        at: str | datetime | None = None,
        cache: bool = True,
        scanned_bytes_max: int | None = None,
        result_rows_max: int | None = None,
        result_bytes_max: int | None = None,
        on_budget: str = FAIL,
        query_id: str = "",
    ) -> Result | Iterator[Result]:
        """Run one SELECT, EXPLAIN [ANALYZE], DESCRIBE or SHOW STREAMS over all shards at one snapshot.

        Dotted paths need no quotes. `parameters`: a list for `?`/`$1`, a dict for `$name`. `dialect`: of the text,
        such as "postgres" or "clickhouse" (default DuckDB's). `at`: the name of a snapshot, or an instant as a datetime
        or ISO 8601 text for what was stored until then (docs/snapshots.md). `cache` off computes everything anew.

        Budgets: `timeout_s` seconds, `scanned_bytes_max` compressed bytes read, `result_rows_max`, `result_bytes_max`
        of Arrow. What passes one fails with BudgetExceeded, which names it; `on_budget="partial"` instead returns what
        was read when time or scanned bytes ran out, with `stats["partial"]` and a warning.

        `progressive=True` returns an iterator of early results, the last of them whole. `query_id` names the query for
        cancel(); Ctrl-C cancels too.
        """
        given = QueryOptions(
            timeout_s=timeout_s,
            query_id=query_id or secrets.token_hex(8),
            dialect=dialect,
            at=at_of(at),
            cache=cache,
            scanned_bytes_max=scanned_bytes_max,
            result_rows_max=result_rows_max,
            result_bytes_max=result_bytes_max,
            on_budget=on_budget,
        )
        if progressive:
            return self._updates(text, parameters, given)
        return _result(self._answer(text, parameters, given))

    def sql_batches(
        self,
        text: str,
        parameters: Any = None,
        *,
        timeout_s: float = QUERY_SECONDS_DEFAULT,
        dialect: str | None = None,
        at: str | datetime | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one SELECT as Arrow batches, as they come.

        Without ORDER BY, grouping, joins and the like, no process holds more than a few pieces at a time, however
        many rows there are. Whoever takes them slowly keeps nobody else waiting, within `timeout_s`. Leaving the loop
        ends it.
        """
        options = QueryOptions(timeout_s=timeout_s, query_id=secrets.token_hex(8), dialect=dialect, at=at_of(at))
        schema: pa.Schema | None = None
        for table in self._parts(PIECES, text, parameters, options):
            if schema is None:
                schema = table.schema
                yield from table.to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
            else:
                yield from table.cast(schema).to_batches()

    def search(
        self,
        query: str,
        *,
        stream: str | None = None,
        last: str | None = None,
        start: Any = None,
        end: Any = None,
        limit: int = 100,
        order: str = "newest",
        cursor: str | None = None,
        at: str | datetime | None = None,
        timeout_s: float = QUERY_SECONDS_DEFAULT,
    ) -> Page:
        """Events that match a search, a page at a time: `service:web -status:info "connection reset"`.

        `stream` may be left out where there is just one. `last` is an age such as "15m"; or `start` (inclusive) and
        `end` (exclusive) as datetime or ISO 8601 text. `order`: "newest" or "oldest" first. `cursor` of a page leads
        to the next one, over the events that were there when the first page was read, in its time range. `at`: as in
        sql().
        """
        name = stream if stream is not None else self._only_stream()
        request = SearchRequest(name, query, last, start, end, limit, order, at_of(at))
        text, parameters = request.sql(cursor, self._clock.now_us())
        options = QueryOptions(timeout_s=timeout_s, query_id=secrets.token_hex(8), at=request.at)
        answer = self._answer(text, parameters, options)
        return page_of(request, cursor, parameters, answer)

    def aggregate(
        self,
        stream: str,
        *,
        search: str | None = None,
        last: str | None = None,
        start: Any = None,
        end: Any = None,
        group_by: Sequence[str] = (),
        measures: Mapping[str, str | tuple[str, str]] | None = None,
        interval: str | None = None,
        top: int | Sequence[int] = 10,
        order_by: str | None = None,
        missing: str = "(missing)",
        at: str | datetime | None = None,
        timeout_s: float = QUERY_SECONDS_DEFAULT,
    ) -> Result:
        """A timeseries, a top list or a table of the events that match `search`.

        `last` is an age such as "15m"; or `start` (inclusive) and `end` (exclusive) as datetime or ISO 8601 text.
        `measures` names what is measured: `{"n": "count", "slow": ("p99", "duration_ms"), "users": ("cardinality",
        "usr.id")}`; count, cardinality, sum, avg, min, max and p50 to p99.9 are known. Of up to four paths in
        `group_by` the `top` values are kept, one number or one for each path, by the measure `order_by` (default: the
        first): those of the first path, then those of the second within each, and so on. `interval`, a length such as
        "5m" or "auto", makes a timeseries with a column `time` and a row for every interval. Events without a path are
        the group `missing`. `at`: as in sql().
        """
        request = AggregateRequest(
            stream=stream,
            search=search,
            last=last,
            start=start,
            end=end,
            group_by=tuple(group_by),
            measures=measures if measures is not None else {"count": "count"},
            interval=interval,
            top=top if isinstance(top, int) else tuple(top),
            order_by=order_by,
            missing=missing,
        )
        moment = at_of(at)
        started_s = self._clock.steady_s()
        answers: list[QueryAnswer] = []

        def ask(text: str, parameters: Mapping[str, Any]) -> pa.Table:
            left_s = timeout_s - (self._clock.steady_s() - started_s)
            options = QueryOptions(timeout_s=max(left_s, 0.001), query_id=secrets.token_hex(8), at=moment)
            answers.append(self._answer(text, dict(parameters), options))
            return answers[-1].table

        table = aggregate(request, self._clock.now_us(), ask)
        warnings = tuple(dict.fromkeys(warning for answer in answers for warning in answer.warnings))
        stats = {"seconds": self._clock.steady_s() - started_s, "queries": [answer.stats for answer in answers]}
        return Result(table, warnings, stats)

    def dataset(
        self,
        text: str,
        parameters: Any = None,
        *,
        timeout_s: float = QUERY_SECONDS_DEFAULT,
        dialect: str | None = None,
        at: str | datetime | None = None,
    ) -> Any:
        """The rows of one SELECT as a ray.data.Dataset; needs `ray[data]`.

        Rows that need no merge stay as blocks on the nodes that read them; those of any other SELECT are merged by
        the coordinator first.
        """
        from cluster.dataset import blocks, dataset_of

        options = QueryOptions(timeout_s=timeout_s, query_id=secrets.token_hex(8), dialect=dialect, at=at_of(at))
        asked = self._ask("parts", self._tenant, text, parameters, options, timeout_s=timeout_s + ANSWER_SLACK_S)
        plan, tasks, course_id = asked
        if not tasks:
            return dataset_of(self.sql(text, parameters, timeout_s=timeout_s, dialect=dialect, at=at).to_arrow())
        return dataset_of(blocks(self._transport, course_id, plan, tasks, timeout_s))

    def cancel(self, query_id: str) -> bool:
        """Stop the query of this id wherever it runs; False when it does not run."""
        stopped: bool = self._ask("cancel", self._tenant, query_id)
        return stopped

    def _answer(self, text: str, parameters: Any, options: QueryOptions) -> QueryAnswer:
        deadline_s = self._clock.steady_s() + options.timeout_s
        while True:
            left_s = max(deadline_s - self._clock.steady_s(), 0.001)
            try:
                answer: QueryAnswer = self._ask(
                    "sql",
                    self._tenant,
                    text,
                    parameters,
                    replace(options, timeout_s=left_s),
                    timeout_s=left_s + ANSWER_SLACK_S,
                )
                return answer
            except (InternalError, WalMissing):
                raise  # it would happen again, until somebody does something
            except (Unavailable, UnknownOutcome):
                # Safe to repeat: every attempt reads a snapshot of its own.
                if self._closed or self._clock.steady_s() + QUERY_RETRY_S > deadline_s:
                    raise
                time.sleep(QUERY_RETRY_S)
            except KeyboardInterrupt:
                self.cancel(options.query_id)
                raise

    def _updates(self, text: str, parameters: Any, options: QueryOptions) -> Iterator[Result]:
        for answer in self._parts(UPDATES, text, parameters, options):
            yield _result(answer)

    def _parts(self, kind: str, text: str, parameters: Any, options: QueryOptions) -> Iterator[Any]:
        """What the coordinator yields; the query is stopped when nobody wants the rest."""
        complete = False
        try:
            if self._closed:
                raise Unavailable("this client is closed: connect again")
            cursor = secrets.token_hex(8)
            timeout_s = options.timeout_s + ANSWER_SLACK_S
            question = (kind, text, parameters, options)
            yield from self._transport.ask_parts(cursor, self._tenant, *question, timeout_s=timeout_s)
            complete = True
        finally:
            if not complete and not self._closed:
                self.cancel(options.query_id)

    def _only_stream(self) -> str:
        names = sorted(self._ask("streams", self._tenant))
        if len(names) != 1:
            there = f"there are {', '.join(names[:10])}" if names else "there are none yet"
            raise InvalidRequest(f"search needs the name of a stream: {there}")
        return str(names[0])

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._closed:
            raise Unavailable("this client is closed: connect again")
        return self._transport.ask(method, *arguments, **options)


def _result(answer: QueryAnswer) -> Result:
    return Result(answer.table, answer.warnings, answer.stats)
