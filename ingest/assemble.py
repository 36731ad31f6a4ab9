"""Owns the putting together of a batch: which columns it has, their order and names, and what goes to `_rest`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from core.batch import REST, SYSTEM_COLUMNS, SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import TIMESTAMP_TYPE, ColumnKey, allocate_names, field_of
from core.limits import BATCH_CELLS_FEW, BATCH_CELLS_MAX, BATCH_CELLS_PER_VALUE_MAX, PATH_BYTES_MAX
from ingest.values import canonical


class Column(Protocol):
    """One typed column of a batch under construction."""

    @property
    def key(self) -> ColumnKey: ...

    @property
    def count(self) -> int:
        """Number of values (not null)."""
        ...

    def array(self, row_count: int) -> pa.Array:
        """The column over `row_count` rows."""
        ...

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, canonical JSON text) of each value."""
        ...


def assemble(columns: Iterable[Column], times: Any, inferred: Any, max_paths: int) -> pa.RecordBatch:
    """The batch of `columns` in the layout of core.batch.

    `times` (int64 UTC microseconds, or an Arrow timestamp array) and `inferred` (bool) have one element per row.
    The columns with the most values (ties by path and kind) are kept as columns, as many as columns_max says; the
    others, and those with a path beyond PATH_BYTES_MAX, go to `_rest`.
    """
    row_count = len(times)
    columns = list(columns)
    count_max = columns_max(row_count, sum(column.count for column in columns), max_paths)
    kept, rest = _choose(columns, count_max)
    arrays = [(column.key, column.count, column.array(row_count)) for column in kept]
    return put_together(arrays, _rest_array(rest, row_count) if rest else None, times, inferred)


def columns_max(row_count: int, value_count: int, max_paths: int) -> int:
    """How many attribute columns a batch of so many rows and values may have."""
    cells = max(BATCH_CELLS_FEW, min(BATCH_CELLS_MAX, BATCH_CELLS_PER_VALUE_MAX * value_count))
    return min(max_paths, cells // max(1, row_count))


def put_together(
    columns: Sequence[tuple[ColumnKey, int, pa.Array]], rest: pa.Array | None, times: Any, inferred: Any
) -> pa.RecordBatch:
    """The batch of columns, given as (key, number of values, array) in their order, and of the column `_rest`.

    `times` and `inferred` as in assemble.
    """
    if not isinstance(times, pa.Array):
        times = pa.array(np.asarray(times, np.int64)).cast(TIMESTAMP_TYPE)
    fields = [SYSTEM_FIELDS[TIMESTAMP], SYSTEM_FIELDS[TIMESTAMP_INFERRED]]
    arrays = [times, pa.array(np.asarray(inferred, np.bool_))]
    if rest is not None:
        fields.append(SYSTEM_FIELDS[REST])
        arrays.append(rest)
    names = allocate_names([(key, count) for key, count, _ in columns], SYSTEM_COLUMNS)
    fields += [field_of(names[key], key, array.type) for key, _, array in columns]
    arrays += [array for _, _, array in columns]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _choose(columns: Iterable[Column], count_max: int) -> tuple[list[Column], list[Column]]:
    """(columns that stay, columns that go to `_rest`), each sorted by path and kind."""
    fitting: list[Column] = []
    rest: list[Column] = []
    for column in columns:
        path = column.key.path
        long = len(path) * 4 > PATH_BYTES_MAX and len(path.encode()) > PATH_BYTES_MAX
        (rest if long else fitting).append(column)
    fitting.sort(key=lambda column: (-column.count, column.key))
    rest += fitting[count_max:]
    return sorted(fitting[:count_max], key=lambda column: column.key), sorted(rest, key=lambda column: column.key)


def _rest_array(columns: Sequence[Column], row_count: int) -> pa.Array:
    members: dict[int, list[str]] = {}
    for column in columns:
        name = canonical(column.key.path)
        for row, text in column.texts():
            members.setdefault(row, []).append(f"{name}:{text}")
    objects = ("{" + ",".join(members[row]) + "}" if row in members else None for row in range(row_count))
    return pa.array(objects, pa.string(), size=row_count)
