"""Owns the way from an Arrow table to typed columns: structs to dotted paths, colliding paths, arrays to kinds.

Works column by column; only what Arrow cannot translate by itself (lists of structs, maps, unions, lists of mixed
unsigned numbers) goes through plain values row by row.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from core.columns import ColumnKey
from core.errors import InvalidRequest
from core.limits import NESTING_DEPTH_MAX
from ingest.arrow_values import columns_of_leaf, field_names, kind_values, plain_values, types, unwrapped
from ingest.flatten import flatten
from ingest.row_columns import RowColumns
from ingest.values import canonical, too_deep


class ArrowColumn:
    """One typed column as an Arrow array over all rows."""

    __slots__ = ("_array", "key")

    def __init__(self, key: ColumnKey, array: pa.Array) -> None:
        self.key = key
        self._array = array

    @property
    def count(self) -> int:
        """Number of values."""
        return int(len(self._array) - self._array.null_count)

    def array(self, row_count: int) -> pa.Array:
        """The column; it has `row_count` rows."""
        return self._array

    def valid(self) -> Any:
        """One bool per row: whether it has a value."""
        if self._array.null_count == 0:
            return np.ones(len(self._array), np.bool_)
        return self._array.is_valid().to_numpy(zero_copy_only=False)

    def without(self, rows: Any) -> ArrowColumn:
        """This column with null where `rows` (one bool per row) is true."""
        places = pa.array(np.arange(len(self._array)), mask=rows)
        return ArrowColumn(self.key, self._array.take(places))

    def overlaid(self, newer: ArrowColumn) -> ArrowColumn:
        """This column with `newer`'s values where it has some; both are of one kind."""
        pieces = [
            array.dictionary_decode() if types.is_dictionary(array.type) else array
            for array in (self._array, newer.array(0))
        ]
        row_count = len(self._array)
        places = np.arange(row_count) + np.where(newer.valid(), row_count, 0)
        return ArrowColumn(self.key, pa.concat_arrays(pieces).take(pa.array(places)))

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, canonical JSON text) of each value."""
        for row, value in enumerate(kind_values(self._array, self.key.kind)):
            if value is not None:
                yield row, canonical(value)


def columns_of(table: pa.Table | pa.RecordBatch) -> list[ArrowColumn]:
    """The typed columns of `table`, without those that are all null; where paths collide, the last value of a row wins.

    InvalidRequest when a name repeats within the table or a struct, when a type cannot be stored, when a time is
    beyond int64 microseconds, or when structs are nested too deeply.
    """
    repeated = [name for name, count in Counter(table.schema.names).items() if count > 1]
    if repeated:
        raise InvalidRequest(f"the table has the column {repeated[0]!r} twice: rename one")
    found: dict[str, list[ArrowColumn]] = {}
    for name in table.schema.names:
        for path, array in _leaves(name, _one_array(table.column(name)), 2):
            for newer_path, newer in _by_path(_typed(path, array)).items():
                older = found.get(newer_path)
                found[newer_path] = newer if older is None else _overlay(older, newer)
    return [column for columns in found.values() for column in columns if column.count]


def _one_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def _leaves(path: str, array: pa.Array, depth: int) -> Iterator[tuple[str, pa.Array]]:
    """The arrays under `array` that are no structs, with their paths; a null struct makes all under it null.

    `depth` is the nesting level of a struct at this place.
    """
    array = unwrapped(array)
    if not types.is_struct(array.type) or array.type.num_fields == 0:
        yield path, array
        return
    if depth > NESTING_DEPTH_MAX:
        raise too_deep()
    for name, child in zip(field_names(array.type), array.flatten(), strict=True):
        yield from _leaves(f"{path}.{name}", child, depth + 1)


def _typed(path: str, array: pa.Array) -> list[ArrowColumn]:
    try:
        columns = columns_of_leaf(array)
        if columns is not None:
            return [ArrowColumn(ColumnKey(path, kind), column) for kind, column in columns]
        rows = RowColumns()
        for row, value in enumerate(plain_values(array)):
            rows.add(row, flatten({path: value}))
    except (pa.ArrowException, InvalidRequest) as error:
        raise InvalidRequest(f"column {path!r} of type {array.type}: {error}") from error
    return [ArrowColumn(column.key, column.array(len(array))) for column in rows.finish()]


def _by_path(columns: list[ArrowColumn]) -> dict[str, list[ArrowColumn]]:
    groups: dict[str, list[ArrowColumn]] = {}
    for column in columns:
        groups.setdefault(column.key.path, []).append(column)
    return groups


def _overlay(older: list[ArrowColumn], newer: list[ArrowColumn]) -> list[ArrowColumn]:
    """The columns of one path where `newer` wins row by row, whatever the kinds."""
    taken = np.logical_or.reduce([column.valid() for column in newer])
    columns = {column.key: column.without(taken) for column in older}
    for column in newer:
        same = columns.get(column.key)
        columns[column.key] = column if same is None else same.overlaid(column)
    return list(columns.values())
