"""Owns the pages of a search: the SQL of one, and the cursor that leads to the next.

A cursor holds no resource anywhere. Offsets of a shard belong to one event for ever, so the snapshot of the first page
is the offset that each shard had reached, and a page goes on after the last event of the one before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import msgpack
import pyarrow as pa

from core.batch import OFFSET, SHARD, TIMESTAMP
from core.errors import InvalidRequest
from core.ids import check_name
from core.limits import SEARCH_PAGE_ROWS_MAX
from malamute.result import Page
from query.options import QueryAnswer
from query.past import At
from query.written_times import as_datetime, instant_us, length_us, microseconds

NEWEST: Final = "newest"
OLDEST: Final = "oldest"

_VERSION: Final = 1
# Of 1,024 shards, each with a full offset. What is longer is none of ours, and its SQL would be too long.
_CURSOR_CHARACTERS_MAX: Final = 20_000
# Microseconds of the years 0001 and 9999: no bound.
_FIRST_US: Final = -62_135_596_800_000_000
_END_US: Final = 253_402_300_800_000_000


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page ends: time, shard and offset of its last event; the time range; the snapshot's end per shard."""

    start_us: int
    end_us: int
    after: tuple[int, int, int] | None
    bounds: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search as it was asked."""

    stream: str
    query: str
    last: str | None
    start: Any
    end: Any
    limit: int
    order: str
    at: At = None

    def __post_init__(self) -> None:
        check_name("stream", self.stream)
        if self.order not in (NEWEST, OLDEST):
            raise InvalidRequest(f"order {self.order!r} is not known: use {NEWEST!r} or {OLDEST!r}")
        if type(self.limit) is not int or not 0 < self.limit <= SEARCH_PAGE_ROWS_MAX:
            raise InvalidRequest(f"limit {self.limit!r} is not allowed: 1 to {SEARCH_PAGE_ROWS_MAX} events a page")
        if self.last is not None and (self.start is not None or self.end is not None):
            raise InvalidRequest("last does not go together with start or end: give one of them")

    def place(self, cursor: str | None, now_us: int) -> _Place:
        """Where to read on; without a cursor from the beginning, at `now_us`."""
        if cursor is not None:
            return _decoded(cursor, self)
        start = instant_us(self.start, "start") if self.last is None else now_us - length_us(self.last, "last")
        end = instant_us(self.end, "end")
        return _Place(_FIRST_US if start is None else start, _END_US if end is None else end, None, ())

    def sql(self, cursor: str | None, now_us: int) -> tuple[str, dict[str, Any]]:
        """The SELECT of a page and its parameters."""
        place = self.place(cursor, now_us)
        conditions = ["matches($query)", f"{TIMESTAMP} >= $start", f"{TIMESTAMP} < $end"]
        parameters: dict[str, Any] = {
            "query": self.query,
            "start": _moment(place.start_us),
            "end": _moment(place.end_us),
        }
        if place.bounds:
            # Not OR: a thousand of them would be too deep.
            ends = " ".join(f"WHEN {shard} THEN {offset}" for shard, offset in place.bounds)
            conditions.append(f"{OFFSET} < CASE {SHARD} {ends} END")
        if place.after is not None:
            time_us, shard, offset = place.after
            parameters["after"] = _moment(time_us)
            before, beyond = ("<=", "<") if self.order == NEWEST else (">=", ">")
            conditions.append(f"{TIMESTAMP} {before} $after")
            conditions.append(f"({TIMESTAMP}, {SHARD}, {OFFSET}) {beyond} ($after, {shard}, {offset})")
        direction = "DESC" if self.order == NEWEST else "ASC"
        order = ", ".join(f"{name} {direction}" for name in (TIMESTAMP, SHARD, OFFSET))
        text = (
            f'SELECT *, {SHARD}, {OFFSET} FROM "{self.stream}" WHERE {" AND ".join(conditions)} '
            f"ORDER BY {order} LIMIT {self.limit}"
        )
        return text, parameters

    @property
    def fingerprint(self) -> str:
        """Says which search a cursor belongs to."""
        asked = (self.stream, self.query, self.order, *([] if self.at is None else [self.at]))
        return hashlib.sha256(repr(asked).encode()).hexdigest()[:16]


def page_of(request: SearchRequest, cursor: str | None, parameters: dict[str, Any], answer: QueryAnswer) -> Page:
    """The page that `answer` holds, with the cursor to the next one; None after the last."""
    table = answer.table
    # By place: a stream may have attributes of these names too. `*` begins with the timestamp.
    places = (0, table.num_columns - 2, table.num_columns - 1)
    shown = table.select(range(places[1]))
    if table.num_rows < request.limit:
        return Page(shown, answer.warnings, answer.stats, None)
    last = table.slice(table.num_rows - 1)
    after = tuple(int(last.column(place).cast(pa.int64())[0].as_py()) for place in places)
    if cursor is not None:
        bounds = _decoded(cursor, request).bounds
    else:
        bounds = tuple(sorted(answer.stats["snapshot"][request.stream].items()))
    start_us, end_us = (microseconds(parameters[name]) for name in ("start", "end"))
    return Page(shown, answer.warnings, answer.stats, _encoded(request, start_us, end_us, after, bounds))


def _encoded(request: SearchRequest, start_us: int, end_us: int, after: Any, bounds: Any) -> str:
    plain = [_VERSION, request.fingerprint, start_us, end_us, list(after), [list(bound) for bound in bounds]]
    return base64.urlsafe_b64encode(msgpack.packb(plain)).decode().rstrip("=")


def _decoded(cursor: str, request: SearchRequest) -> _Place:
    try:
        if len(cursor) > _CURSOR_CHARACTERS_MAX:
            raise ValueError(f"{len(cursor)} characters")
        data = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        version, fingerprint, start_us, end_us, after, bounds = msgpack.unpackb(data)
        if version != _VERSION:
            raise InvalidRequest(f"the cursor is of version {version!r}, known is {_VERSION}: search again without it")
        time_us, shard, offset = (_whole(value) for value in after)
        pairs = tuple((_whole(number), _whole(end)) for number, end in bounds)
        place = _Place(_whole(start_us), _whole(end_us), (time_us, shard, offset), pairs)
    except (ValueError, TypeError, binascii.Error, msgpack.UnpackException) as error:
        raise InvalidRequest("the cursor is damaged: pass on what a page gave, or search again without it") from error
    if fingerprint != request.fingerprint:
        raise InvalidRequest("the cursor belongs to another search: repeat stream, query, order and at with it")
    return place


def _whole(value: Any) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value


def _moment(time_us: int) -> datetime:
    return as_datetime(min(max(time_us, _FIRST_US), _END_US - 1))
