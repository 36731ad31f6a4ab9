"""Owns what shredding is asked for and what it answers: settings, the batch, and what was rejected."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from core.errors import InvalidRequest, InvalidSettings
from core.limits import BATCH_BYTES_MAX, BATCH_REJECTED_MAX, BATCH_ROWS_MAX, BATCH_ROWS_TARGET, MAX_PATHS_DEFAULT

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


def reject(rejected: list[Rejected], line: int, byte_offset: int, reason: str) -> bool:
    """Append a rejected event; whether to read on: the last that has room says that nothing from it on is read."""
    last = len(rejected) + 1 >= BATCH_REJECTED_MAX
    if last:
        reason = f"{BATCH_REJECTED_MAX} events are rejected: this one and all behind it are not read"
    rejected.append(Rejected(line, byte_offset, sys.intern(reason)))  # there are few reasons, and room for many events
    return not last


@dataclass(frozen=True, slots=True)
class Shredded:
    """The batch of the good events (None when there is none), in order, and what happened to the others.

    `timestamps_missing` and `timestamps_unreadable` count events that got ingest time as their event time.
    """

    batch: pa.RecordBatch | None
    rejected: tuple[Rejected, ...]
    timestamps_missing: int
    timestamps_unreadable: int


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


def check_bytes(size: int) -> None:
    """InvalidRequest when `size` bytes of events are beyond what one batch may hold."""
    if size > BATCH_BYTES_MAX:
        raise InvalidRequest(f"{size} bytes of events are too many for one batch: send at most {BATCH_BYTES_MAX}")
