"""Owns shredding: events as NDJSON, dicts or Arrow tables → one record batch in the layout of core.batch.

The reference: it says what is right, a faster shredder has to agree with it. Never drops an event silently (each one
is in the batch or in `rejected`), never coerces a value because of its type, never does I/O.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from core.errors import InvalidRequest, InvalidSettings
from core.limits import BATCH_BYTES_MAX, BATCH_ROWS_MAX, BATCH_ROWS_TARGET, MAX_PATHS_DEFAULT
from ingest.arrow_columns import columns_of
from ingest.arrow_time import take_times
from ingest.assemble import assemble
from ingest.dict_events import plain_event
from ingest.event_time import parse_time
from ingest.flatten import flatten
from ingest.json_lines import BOM, blocks, has_long_numbers, lines, parse_event
from ingest.row_columns import RowColumns

__all__ = [
    "Rejected",
    "ShredSettings",
    "Shredded",
    "blocks",
    "fitting",
    "shred_arrow",
    "shred_dicts",
    "shred_ndjson",
    "slices",
]

TIMESTAMP_PATHS: Final = ("timestamp", "@timestamp")


@dataclass(frozen=True, slots=True)
class ShredSettings:
    """How events become columns.

    `timestamp` is the dotted path of the event time; None takes the first of TIMESTAMP_PATHS an event has.
    `max_paths` is the most attribute columns of one batch; the rarest beyond it go to `_rest`.
    """

    timestamp: str | None = None
    max_paths: int = MAX_PATHS_DEFAULT

    def __post_init__(self) -> None:
        if self.max_paths < 0:
            raise InvalidSettings(f"max_paths is {self.max_paths}: use 0 or more")

    @property
    def timestamp_paths(self) -> tuple[str, ...]:
        """The paths that may hold the event time; the first that an event has counts."""
        return TIMESTAMP_PATHS if self.timestamp is None else (self.timestamp,)


@dataclass(frozen=True, slots=True)
class Rejected:
    """An event that is not in the batch, and why; `reason` never quotes a value.

    `line` counts from 1 (for dicts: the position in the sequence); `byte_offset` is where the line begins (dicts: 0).
    """

    line: int
    byte_offset: int
    reason: str


@dataclass(frozen=True, slots=True)
class Shredded:
    """The batch of the good events (None when there is none), in order, and what happened to the others.

    `timestamps_missing` and `timestamps_unreadable` count events that got ingest time as their event time.
    """

    batch: pa.RecordBatch | None
    rejected: tuple[Rejected, ...]
    timestamps_missing: int
    timestamps_unreadable: int


def shred_ndjson(
    data: bytes | memoryview, settings: ShredSettings, *, ingest_time_us: int, first_line: int = 1, first_byte: int = 0
) -> Shredded:
    """Shred NDJSON; lines that are not a JSON object are rejected, blank ones skipped.

    `first_line` and `first_byte` say where `data` begins in its source (see blocks). InvalidRequest when `data` is
    beyond BATCH_BYTES_MAX.
    """
    data = bytes(data)
    _check_bytes(len(data))
    shredder = _Rows(settings, ingest_time_us)
    skipped = len(BOM) if first_byte == 0 and data.startswith(BOM) else 0
    long_numbers = has_long_numbers(data)
    for number, offset, line in lines(data[skipped:] if skipped else data):
        try:
            shredder.add(parse_event(line, long_numbers))
        except InvalidRequest as error:
            # The byte order mark belongs to the first line.
            start = first_byte + offset + (skipped if number else 0)
            shredder.rejected.append(Rejected(first_line + number, start, str(error)))
    return shredder.finish()


def shred_dicts(events: Sequence[Mapping[str, Any]], settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred Python events; those with a value that cannot be stored exactly are rejected, naming path and type.

    InvalidRequest when the texts of all events are beyond BATCH_BYTES_MAX: see slices.
    """
    shredder = _Rows(settings, ingest_time_us)
    size = 0
    for position, event in enumerate(events, start=1):
        try:
            plain, event_bytes = plain_event(event)
            shredder.add(plain)
        except InvalidRequest as error:
            shredder.rejected.append(Rejected(position, 0, str(error)))
            continue
        size += event_bytes
        _check_bytes(size)
    return shredder.finish()


def shred_arrow(table: pa.Table | pa.RecordBatch, settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred an Arrow table or batch column by column; columns of the types of core.columns are not copied.

    Trusts the buffers: run `validate(full=True)` on what comes from outside. InvalidRequest when column names repeat,
    a type cannot be stored, a time is beyond int64 microseconds, or the table is beyond the limits of a batch.
    """
    if table.num_rows > BATCH_ROWS_MAX:
        raise InvalidRequest(f"a table of {table.num_rows} rows is not allowed: send at most {BATCH_ROWS_MAX}")
    _check_bytes(table.nbytes)
    if table.num_rows == 0:
        return Shredded(None, (), 0, 0)
    columns, times = take_times(columns_of(table), settings.timestamp_paths, table.num_rows)
    batch = assemble(columns, times.array(ingest_time_us), times.inferred(), settings.max_paths)
    return Shredded(batch, (), times.missing, times.unreadable)


def slices(events: Sequence[Mapping[str, Any]], rows: int = BATCH_ROWS_TARGET) -> Iterator[Sequence[Mapping[str, Any]]]:
    """`events` in order, `rows` at a time."""
    for start in range(0, len(events), rows):
        yield events[start : start + rows]


def fitting(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """`batch` in order, halved until each piece keeps to BATCH_ROWS_MAX and BATCH_BYTES_MAX; nothing is copied.

    Events with many different paths can take far more room as columns than as JSON. One row is never divided.
    """
    pending = [batch]
    while pending:
        piece = pending.pop()
        rows = piece.num_rows
        if rows > 1 and (rows > BATCH_ROWS_MAX or piece.nbytes > BATCH_BYTES_MAX):
            pending += [piece.slice(rows // 2), piece.slice(0, rows // 2)]
        else:
            yield piece


class _Rows:
    """Shreds plain events one after the other."""

    def __init__(self, settings: ShredSettings, ingest_time_us: int) -> None:
        self.rejected: list[Rejected] = []
        self._settings = settings
        self._ingest_time_us = ingest_time_us
        self._columns = RowColumns()
        self._times: list[int] = []
        self._inferred: list[bool] = []
        self._missing = 0
        self._unreadable = 0

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event; InvalidRequest leaves everything as it was."""
        flat = flatten(event)
        time_us = self._take_time(flat)
        self._columns.add(len(self._times), flat)
        self._times.append(self._ingest_time_us if time_us is None else time_us)
        self._inferred.append(time_us is None)

    def _take_time(self, flat: dict[str, Any]) -> int | None:
        for path in self._settings.timestamp_paths:
            value = flat.get(path)
            if value is not None:
                time_us = parse_time(value)
                if time_us is None:
                    self._unreadable += 1
                else:
                    del flat[path]
                return time_us
        self._missing += 1
        return None

    def finish(self) -> Shredded:
        batch = None
        if self._times:
            batch = assemble(self._columns.finish(), self._times, self._inferred, self._settings.max_paths)
        return Shredded(batch, tuple(self.rejected), self._missing, self._unreadable)


def _check_bytes(size: int) -> None:
    if size > BATCH_BYTES_MAX:
        raise InvalidRequest(f"{size} bytes of events are too many for one batch: send at most {BATCH_BYTES_MAX}")
