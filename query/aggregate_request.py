"""Owns what may be asked of store.aggregate(): the request, checked, its time range and its interval. Never asks it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.batch import INGESTED_AT, TIMESTAMP
from core.errors import InvalidQuery
from core.ids import check_name
from core.limits import AGGREGATE_GROUPS_MAX, AGGREGATE_MEASURES_MAX, AGGREGATE_POINTS_MAX, AGGREGATE_ROWS_MAX
from query.dialect import quote
from query.written_times import instant_us, length_us

AUTO: Final = "auto"
COUNT: Final = "count"
POINTS_WANTED: Final = 120  # at most so many where the interval is ours to choose; about half of it at least

_MOMENTS: Final = frozenset({TIMESTAMP, INGESTED_AT})
_CALLS: Final = {
    "count": "count({path})",
    "cardinality": "approx_count_distinct({path})",
    "sum": "sum({path})",
    "avg": "avg({path})",
    # An addition asks for a number where the path holds text as well.
    "min": "min({path} + 0)",
    "max": "max({path} + 0)",
}
_PERCENTILE: Final = re.compile(r"p(\d{1,2}(?:\.\d{1,4})?)")
_ZERO_WITHOUT_EVENTS: Final = frozenset({"count", "cardinality"})

_NICE: Final = "1s 2s 5s 10s 15s 30s 1m 2m 5m 10m 15m 30m 1h 2h 3h 6h 12h 1d 2d 1w 2w 4w 8w 13w 26w 52w"


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of each row: `call` is its SQL, `empty` what it is where there are no events."""

    name: str
    call: str
    empty: int | None


@dataclass(frozen=True, slots=True)
class AggregateRequest:
    """A timeseries, a top list or a table of the events that match `search`. Raises InvalidQuery when it is wrong.

    The time range is `last` (an age such as "15m"), or `start` (inclusive) and `end` (exclusive), datetime or ISO 8601
    text, UTC where they name no zone; open where nothing is given. `measures` gives each name a kind, "count", or kind
    and path, ("p99", "duration"): count, cardinality, sum, avg, min, max, p50 … p99.9. Of each path of `group_by` the
    `top` values are kept, one number or one for each path, by the measure `order_by` (default: the first): the first
    path's values, then the second's within each of those, and so on. `interval` makes a timeseries: a length such as
    "5m", or "auto". Events without a path are the group `missing`.
    """

    stream: str
    search: str | None = None
    start: datetime | str | None = None
    end: datetime | str | None = None
    last: str | None = None
    group_by: tuple[str, ...] = ()
    measures: Mapping[str, str | tuple[str, str]] = field(default_factory=lambda: {COUNT: COUNT})
    interval: str | None = None
    top: int | tuple[int, ...] = 10
    order_by: str | None = None
    missing: str = "(missing)"

    def __post_init__(self) -> None:
        check_name("stream", self.stream)
        if not isinstance(self.group_by, tuple) or len(self.group_by) > AGGREGATE_GROUPS_MAX:
            raise InvalidQuery(f"group_by takes a list of at most {AGGREGATE_GROUPS_MAX} paths")
        if not 0 < len(self.measures) <= AGGREGATE_MEASURES_MAX:
            raise InvalidQuery(f"measures takes 1 to {AGGREGATE_MEASURES_MAX} of them, not {len(self.measures)}")
        names = [*self.group_by, *self.measures, *(("time",) if self.interval else ())]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InvalidQuery(f"{twice!r} would name two columns: give the measure another name")
        if self.order_by is not None and self.order_by not in self.measures:
            raise InvalidQuery(f"order_by {self.order_by!r} is no measure: take one of {', '.join(self.measures)}")
        if self.last is not None and (self.start is not None or self.end is not None):
            raise InvalidQuery("last says the whole time range: leave start and end out, or last")
        self.numbers()
        self.time_range(0)
        if self.interval not in (None, AUTO):
            length_us(str(self.interval), "interval")
        tops = self.tops()
        rows = 1
        for top in tops:
            rows *= top
        if len(tops) != len(self.group_by) or any(top < 1 for top in tops) or rows > AGGREGATE_ROWS_MAX:
            raise InvalidQuery(
                f"top {self.top!r} asks for more than {AGGREGATE_ROWS_MAX} groups, or not one number for each path"
            )

    def numbers(self) -> list[Measure]:
        """The measures, in order."""
        return [_measure(name, asked) for name, asked in self.measures.items()]

    def tops(self) -> tuple[int, ...]:
        """How many values of each path are kept."""
        return (self.top,) * len(self.group_by) if isinstance(self.top, int) else tuple(self.top)

    def order(self) -> int:
        """The position of the measure that decides what is on top."""
        return list(self.measures).index(self.order_by) if self.order_by is not None else 0

    def time_range(self, now_us: int) -> tuple[int | None, int | None]:
        """UTC microseconds of the first instant and of the one behind the last; None where it is open."""
        if self.last is not None:
            return now_us - length_us(self.last, "last"), now_us
        start, end = instant_us(self.start, "start"), instant_us(self.end, "end")
        if start is not None and end is not None and start >= end:
            raise InvalidQuery(f"start {self.start} is not before end {self.end}: no event can be in that range")
        return start, end

    def interval_us(self, first_us: int, end_us: int) -> int:
        """The length of one interval between two instants. Raises InvalidQuery when there would be too many."""
        span = max(1, end_us - first_us)
        if self.interval != AUTO:
            chosen = length_us(str(self.interval), "interval")
            if span // chosen >= AGGREGATE_POINTS_MAX:
                raise InvalidQuery(
                    f"interval {self.interval} makes over {AGGREGATE_POINTS_MAX} points: take a longer one, or auto"
                )
            return chosen
        nice = [length_us(text, "interval") for text in _NICE.split()]
        # Both ends may stand within an interval.
        return next((step for step in nice if span // step + 1 <= POINTS_WANTED), nice[-1])


def _measure(name: str, asked: str | tuple[str, str]) -> Measure:
    if not isinstance(asked, str) and not (isinstance(asked, (tuple, list)) and len(asked) == 2):
        raise InvalidQuery(f"measure {name!r} is {asked!r}: write 'count', or a kind and a path, ('p99', 'duration')")
    kind, path = (asked, "") if isinstance(asked, str) else asked
    empty = 0 if kind in _ZERO_WITHOUT_EVENTS else None
    if not path:
        if kind != COUNT:
            raise InvalidQuery(f"measure {name!r} needs a path: write {name!r}: ({kind!r}, 'path')")
        return Measure(name, "count(*)", empty)
    percentile = _PERCENTILE.fullmatch(kind)
    if percentile is not None:
        share = f"{float(percentile[1]) / 100:.6f}".rstrip("0")
        return Measure(name, f"approx_quantile({quote(path)}, {share})", None)
    if kind not in _CALLS:
        kinds = ", ".join(_CALLS)
        raise InvalidQuery(f"measure {name!r} of kind {kind!r} is not known: take {kinds}, or p50 to p99.9")
    if kind in ("min", "max") and path in _MOMENTS:
        return Measure(name, f"{kind}({quote(path)})", None)
    return Measure(name, _CALLS[kind].format(path=quote(path).replace("{", "{{").replace("}", "}}")), empty)
