"""Owns the sort keys of rows: how those of segments compare, and where sorted rows may be cut. Never moves a row.

A key has one value per path of the sort key: text cut to 64 characters, times in microseconds, None where there is no
value. Rows are cut only where the key changes, so that the ranges of the pieces never overlap: pieces that share a key
would be merged again for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import TIMESTAMP
from core.columns import key_of
from storage.sorting import sort_columns, sort_order, sort_ranks
from storage.zone_maps import TEXT_BOUND_CHARACTERS

_LOOK_ROWS: Final = 65_536
_KEY_BITS: Final = 64

Key = tuple[Any, ...]


def comparable(key: Key) -> tuple[Any, ...]:
    """What compares as the rows are sorted: numbers, then NaN, texts, bytes, and what has no value last."""
    return tuple(_place(value) for value in key)


def _place(value: Any) -> tuple[int, Any]:
    if value is None:
        return 4, 0
    if isinstance(value, str):
        return 2, value
    if isinstance(value, bytes):
        return 3, value
    return (1, 0) if value != value else (0, value)


def overlap(one: tuple[Key, Key], other: tuple[Key, Key]) -> bool:
    """Whether two ranges (first key, last key) have a key in common, or one in between."""
    return comparable(one[0]) <= comparable(other[1]) and comparable(other[0]) <= comparable(one[1])


class SortedKeys:
    """The keys of rows in their order: `table` has the sort columns, `order` the row numbers."""

    def __init__(self, table: pa.Table, sort_key: Sequence[str], order: Any) -> None:
        self._order = order
        self._columns = {_path_of(table.schema.field(name)): table.column(name) for name in table.column_names}
        self._sort_key = sort_key

    def key(self, place: int) -> Key:
        """The key of the row at a place of the order."""
        row = int(self._order[place])
        columns = (self._columns.get(path) for path in self._sort_key)
        return tuple(None if column is None else _trimmed(column.slice(row, 1))[0].as_py() for column in columns)

    def cuts(self, pieces: int) -> list[int]:
        """Places that cut the rows into at most so many pieces of about the same size, the end of the rows included."""
        rows, cuts = len(self._order), [0]
        for piece in range(1, pieces):
            place = self._change_from(max(piece * rows // pieces, cuts[-1] + 1))
            if place < rows:
                cuts.append(place)
        return [*cuts[1:], rows]

    def _change_from(self, place: int) -> int:
        """The first place from `place` on whose key differs from that of the one before; the end when there is none."""
        while place < len(self._order):
            rows = pa.array(self._order[place - 1 : place + _LOOK_ROWS])
            differs = np.zeros(len(rows) - 1, np.bool_)
            for column in self._columns.values():
                values = _trimmed(column.take(rows))
                codes = np.asarray(values.dictionary_encode(null_encoding="encode").indices)
                differs |= codes[1:] != codes[:-1]
            if differs.any():
                return place + int(np.argmax(differs))
            place += len(differs)
        return len(self._order)


def sorting_table(fields: Sequence[pa.Field], columns: Sequence[pa.Array], sort_key: Sequence[str]) -> pa.Table:
    """The sort columns, the most significant one first."""
    table = pa.Table.from_arrays(list(columns), schema=pa.schema(list(fields)))
    return table.select(sort_columns(table.schema, sort_key))


def merge_order(table: pa.Table, sort_key: Sequence[str]) -> Any | None:
    """What sort_order() says of a table of sorted pieces, one after the other: they are merged.

    Timsort finds the pieces by itself; that they are sorted is not needed for the order to be right. Measured on 16
    pieces of 330 k rows by (service, timestamp): 0.18 s instead of 0.6 to 0.8.
    """
    packed, bits = np.zeros(table.num_rows, np.uint64), 0
    for name in reversed(sort_columns(table.schema, sort_key)):
        ranks = sort_ranks(table.column(name))
        width = int(ranks.max()).bit_length()
        if bits + width > _KEY_BITS:
            return sort_order(table, sort_key)
        packed |= ranks.astype(np.uint64) << np.uint64(bits)
        bits += width
    return np.argsort(packed, kind="stable")


def _path_of(field: pa.Field) -> str:
    key = key_of(field)
    return TIMESTAMP if key is None else key.path


def _trimmed(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type):
        return pc.utf8_slice_codeunits(array, 0, TEXT_BOUND_CHARACTERS)
    return array.cast(pa.int64()) if pa.types.is_timestamp(array.type) else array
