"""Owns the event times of an Arrow table: reads the time attribute's columns and takes what was readable out of them.

The same rules as for single events (ingest.event_time), over whole columns where the type allows it.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.columns import DECIMAL, FLOAT, INT, STR, TIME, TIMESTAMP_TYPE, UINT
from ingest.arrow_columns import ArrowColumn
from ingest.arrow_values import kind_values
from ingest.event_time import (
    MICROSECONDS_BELOW,
    MILLISECONDS_BELOW,
    SECOND_US,
    SECONDS_BELOW,
    TIME_US_MAX,
    TIME_US_MIN,
    parse_time,
)

_PARSED_KINDS: Final = (STR, FLOAT, UINT, DECIMAL)


class Times:
    """The event times of a table while its columns are read; one element per row in each array."""

    def __init__(self, row_count: int) -> None:
        self._times_us = np.zeros(row_count, np.int64)
        self._known = np.zeros(row_count, np.bool_)  # a readable time
        self._present = np.zeros(row_count, np.bool_)  # the attribute is there, readable or not

    def take(self, column: ArrowColumn) -> ArrowColumn | None:
        """Read `column` in the rows that have no time attribute yet; what is left of it afterwards.

        The columns of one path hold values in different rows, so each may be taken by itself.
        """
        present = column.valid() & ~self._present
        times_us, readable = _read(column, present)
        taken = present & readable
        if taken.all():
            self._times_us = times_us
        else:
            self._times_us = np.where(taken, times_us, self._times_us)
        self._known |= taken
        self._present |= present
        took = int(taken.sum())
        if took == column.count:
            return None
        return column.without(taken) if took else column

    @property
    def missing(self) -> int:
        """Rows without time attribute."""
        return int((~self._present).sum())

    @property
    def unreadable(self) -> int:
        """Rows whose time attribute cannot be read."""
        return int((self._present & ~self._known).sum())

    def array(self, ingest_time_us: int) -> pa.Array:
        """The event times, `ingest_time_us` where there is none."""
        known = self._known.all()
        times_us = self._times_us if known else np.where(self._known, self._times_us, ingest_time_us)
        return pa.array(times_us).cast(TIMESTAMP_TYPE)

    def inferred(self) -> Any:
        """One bool per row: whether ingest time stands in."""
        return ~self._known


def take_times(columns: list[ArrowColumn], paths: tuple[str, ...], row_count: int) -> tuple[list[ArrowColumn], Times]:
    """(the columns without the values that became event times, the times); per row the first of `paths` counts."""
    times = Times(row_count)
    for path in paths:
        remaining: list[ArrowColumn] = []
        for column in columns:
            left = times.take(column) if column.key.path == path else column
            if left is not None:
                remaining.append(left)
        columns = remaining
    return columns, times


def _read(column: ArrowColumn, rows: Any) -> tuple[Any, Any]:
    """(UTC microseconds, whether readable) per row; only the elements in `rows` mean something."""
    kind = column.key.kind
    array = column.array(len(rows))
    if kind in (TIME, INT):
        numbers = array.cast(pa.int64())
        if numbers.null_count:
            numbers = numbers.fill_null(0)
        values = numbers.to_numpy()
        times_us = values if kind == TIME else _from_epochs(values)
        return times_us, (times_us >= TIME_US_MIN) & (times_us <= TIME_US_MAX)
    times_us = np.zeros(len(rows), np.int64)
    readable = np.zeros(len(rows), np.bool_)
    if kind in _PARSED_KINDS:
        values = kind_values(array, kind)
        for row in np.flatnonzero(rows).tolist():
            time_us = parse_time(values[row])
            if time_us is not None:
                times_us[row] = time_us
                readable[row] = True
    return times_us, readable


def _from_epochs(numbers: Any) -> Any:
    def below(bound: int) -> Any:
        return (numbers > -bound) & (numbers < bound)

    # Products of numbers that belong to a larger unit wrap around and are not chosen.
    return np.select(
        [below(SECONDS_BELOW), below(MILLISECONDS_BELOW), below(MICROSECONDS_BELOW)],
        [numbers * SECOND_US, numbers * 1000, numbers],
        numbers // 1000,
    )
