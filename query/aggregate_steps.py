"""Owns the way of a request of store.aggregate() to its answer: a query for each level of groups, then the series.

Each query is one GROUP BY, which the shards answer with partial states; what is kept of a level narrows the next. A
total of a level is asked for and never added up: averages, percentiles and distinct counts do not add.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from core.errors import InvalidQuery
from core.limits import AGGREGATE_SERIES_ROWS_MAX
from query.aggregate_request import AggregateRequest
from query.dialect import quote
from query.written_times import as_datetime, microseconds

Ask = Callable[[str, Mapping[str, Any]], pa.Table]  # SQL and its parameters by name → the rows
_Values = tuple[str | None, ...]

TIME: Final = "time"
_TIME_TYPE: Final = pa.timestamp("us", "UTC")
# The engine counts buckets from a Monday.
_ORIGIN_US: Final = 946_857_600_000_000


def aggregate(request: AggregateRequest, now_us: int, ask: Ask) -> pa.Table:
    """The answer to `request` at the instant `now_us`: columns `time` (of a series), the groups, the measures.

    A series has a row for each of its intervals, also for those without events. Groups come in the order of the
    measure that picked them. Raises what `ask` raises, and InvalidQuery.
    """
    return _Aggregation(request, now_us, ask).answer()


class _Aggregation:
    def __init__(self, request: AggregateRequest, now_us: int, ask: Ask) -> None:
        self._request = request
        self._ask = ask
        self._start_us, self._end_us = request.time_range(now_us)
        self._measures = request.numbers()
        self._parameters: dict[str, Any] = {}

    def answer(self) -> pa.Table:
        request = self._request
        if request.interval is None and not request.group_by:
            whole = self._query([], [], [()])
            return self._table([()], whole, range(whole.num_rows))
        kept: list[_Values] = [()]
        table: pa.Table | None = None
        rows: list[int] = []
        for depth, top in enumerate(request.tops(), start=1):
            limit = f"ORDER BY {request.order() + 2} DESC NULLS LAST, 1 NULLS LAST LIMIT {top}" if depth == 1 else ""
            table = self._query(self._keys(depth), list(request.group_by[: depth - 1]), kept, limit)
            kept, rows = self._best(table, depth, top, kept)
        return self._series(kept) if request.interval is not None else self._table(kept, table, rows)

    def _keys(self, depth: int) -> list[str]:
        return [f"CAST({quote(path)} AS VARCHAR)" for path in self._request.group_by[:depth]]

    def _query(self, keys: list[str], narrowed: list[str], kept: Sequence[_Values], tail: str = "") -> pa.Table:
        """The measures by `keys`, where the paths `narrowed` have one of the values `kept`."""
        self._parameters = {}
        items = [f"{key} AS k{number}" for number, key in enumerate(keys)]
        items += [f"{measure.call} AS m{number}" for number, measure in enumerate(self._measures)]
        sql = f"SELECT {', '.join(items)} FROM {quote(self._request.stream)}{self._where(narrowed, kept)}"
        if keys:
            sql += f" GROUP BY {', '.join(str(number + 1) for number in range(len(keys)))}"
        return self._ask(f"{sql} {tail}".rstrip(), self._parameters)

    def _where(self, narrowed: list[str], kept: Sequence[_Values]) -> str:
        conditions = []
        if self._start_us is not None:
            conditions.append(f"timestamp >= {self._parameter(as_datetime(self._start_us))}")
        if self._end_us is not None:
            conditions.append(f"timestamp < {self._parameter(as_datetime(self._end_us))}")
        if self._request.search:
            conditions.append(f"matches({self._parameter(self._request.search)})")
        if narrowed:
            conditions.append(self._among(narrowed, kept))
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""

    def _parameter(self, value: Any) -> str:
        name = f"p{len(self._parameters)}"
        self._parameters[name] = value
        return f"${name}"

    def _among(self, paths: list[str], kept: Sequence[_Values]) -> str:
        """The condition that the values of `paths` are one of `kept`."""
        keys = self._keys(len(paths))
        if len(keys) == 1:
            known = [self._parameter(value) for (value,) in kept if value is not None]
            parts = [f"{keys[0]} IN ({', '.join(known)})"] if known else []
            parts += [f"{keys[0]} IS NULL"] if (None,) in kept else []
        else:
            parts = [" AND ".join(map(self._is, keys, values)) for values in kept]
        return f"({' OR '.join(f'({part})' for part in parts)})" if parts else "false"

    def _is(self, key: str, value: str | None) -> str:
        return f"{key} IS NULL" if value is None else f"{key} = {self._parameter(value)}"

    def _best(
        self, table: pa.Table, depth: int, top: int, parents: Sequence[_Values]
    ) -> tuple[list[_Values], list[int]]:
        """The `top` groups of each of `parents`, in their order, and the rows of `table` that they are."""
        groups: list[_Values] = list(zip(*(table.column(key).to_pylist() for key in range(depth)), strict=True))
        measured = table.column(depth + self._request.order()).to_pylist()
        order = sorted(range(len(groups)), key=lambda row: (_descending(measured[row]), _last_none(groups[row])))
        by_parent: dict[_Values, list[int]] = {}
        for row in order:
            by_parent.setdefault(groups[row][:-1], []).append(row)
        rows = [row for parent in parents for row in by_parent.get(parent, ())[:top]]
        return [groups[row] for row in rows], rows

    def _table(self, kept: Sequence[_Values], table: pa.Table | None, rows: Sequence[int]) -> pa.Table:
        assert table is not None
        picked = table.take(pa.array(rows, pa.int64()))
        columns = self._groups(kept)
        depth = len(self._request.group_by)
        columns |= {m.name: picked.column(depth + number) for number, m in enumerate(self._measures)}
        return pa.table(columns)

    def _groups(self, kept: Sequence[_Values]) -> dict[str, Any]:
        missing = self._request.missing
        return {
            path: pa.array([missing if values[n] is None else values[n] for values in kept], pa.string())
            for n, path in enumerate(self._request.group_by)
        }

    def _series(self, kept: Sequence[_Values]) -> pa.Table:
        first_us, end_us = self._bounds()
        step_us = self._request.interval_us(first_us, end_us)
        bucket = f"time_bucket(INTERVAL '{step_us // 1_000_000} seconds', timestamp)"
        depth = len(self._request.group_by)
        table = self._query([bucket, *self._keys(depth)], list(self._request.group_by), kept)
        held = {
            (*(groups[1:]), microseconds(groups[0])): row
            for row, groups in enumerate(zip(*(table.column(n).to_pylist() for n in range(depth + 1)), strict=True))
        }
        start_us = first_us - (first_us - _ORIGIN_US) % step_us
        times = list(range(start_us, end_us, step_us)) if end_us > first_us else []
        if len(kept) * len(times) > AGGREGATE_SERIES_ROWS_MAX:
            raise InvalidQuery(
                f"{len(kept)} groups of {len(times)} intervals are more than {AGGREGATE_SERIES_ROWS_MAX} rows: take "
                "fewer groups or a longer interval"
            )
        # A group without events has nothing to show, and so has a stream without any.
        rows = [(held.get((*values, time)), values, time) for values in kept for time in times]
        columns = {TIME: pa.array([time for _, _, time in rows], pa.int64()).cast(_TIME_TYPE)}
        columns |= self._groups([values for _, values, _ in rows])
        for number, measure in enumerate(self._measures):
            column = table.column(depth + 1 + number)
            measured = column.to_pylist()
            shown = [measure.empty if row is None else measured[row] for row, _, _ in rows]
            columns[measure.name] = pa.array(shown, column.type)
        return pa.table(columns)

    def _bounds(self) -> tuple[int, int]:
        """The time range of the series: where it is open, that of the events."""
        start_us, end_us = self._start_us, self._end_us
        if start_us is None or end_us is None:
            self._parameters = {}
            sql = f"SELECT min(timestamp) AS a, max(timestamp) AS b FROM {quote(self._request.stream)}"
            (row,) = self._ask(sql + self._where([], []), self._parameters).to_pylist()
            if row["a"] is None:
                start_us = end_us = start_us if start_us is not None else end_us or 0
            else:
                start_us = microseconds(row["a"]) if start_us is None else start_us
                end_us = microseconds(row["b"]) + 1 if end_us is None else end_us
        return start_us, end_us


def _descending(value: Any) -> tuple[bool, Any]:
    """A key that sorts large values first and missing ones last."""
    if value is None or value != value:
        return True, 0
    return (False, _Reversed(value)) if not isinstance(value, (int, float)) else (False, -value)


def _last_none(values: _Values) -> tuple[tuple[bool, str], ...]:
    return tuple((value is None, value or "") for value in values)


class _Reversed:
    """A value that sorts the other way round."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __lt__(self, other: _Reversed) -> bool:
        return bool(other._value < self._value)
