"""Owns how a column of many rows is kept in memory while others are read: without its nulls where most rows are null.

A wide stream has thousands of paths of which an event has twenty: an Arrow array takes 4 to 8 bytes for each null.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# A value that is kept with its row number takes twice the room, and is put in its place row by row.
_SPARSE_FACTOR: Final = 8


class RowOrder:
    """The order that columns are brought into: `rows` are numbers of rows (int32), each at most once, of `of_rows`."""

    def __init__(self, rows: Any, of_rows: int) -> None:
        self.unchanged = len(rows) == of_rows and bool((rows[1:] > rows[:-1]).all())
        self.rows = pa.array(rows)
        self.place_of = np.full(of_rows, -1, np.int64)  # of a row in the order, -1 where it is not in it
        self.place_of[rows] = np.arange(len(rows))


@dataclass(frozen=True, slots=True)
class PackedColumn:
    """A column of `rows` rows: all of them in `values`, or the values of the rows `places` (ascending int64)."""

    rows: int
    values: pa.Array
    places: Any | None

    @property
    def bytes(self) -> int:
        """What it takes."""
        return array_bytes(self.values) + (0 if self.places is None else int(self.places.nbytes))

    @property
    def row_bytes(self) -> float:
        """What a row of the column takes once it is unpacked, on average."""
        if self.places is None:
            return self.bytes / max(1, self.rows)
        return _null_bytes(self.values.type) + array_bytes(self.values) / max(1, self.rows)

    def ordered(self, order: RowOrder) -> PackedColumn:
        """The column in another order of its rows."""
        if order.unchanged:
            return self
        if self.places is None:
            return PackedColumn(len(order.rows), pc.take(self.values, order.rows, boundscheck=False), None)
        places = order.place_of[self.places]
        chosen = np.argsort(places)[np.count_nonzero(places < 0) :]
        return PackedColumn(len(order.rows), self.values.take(pa.array(chosen)), places[chosen])

    def slice(self, start: int, stop: int) -> PackedColumn:
        """The rows from `start` on and before `stop`."""
        if self.places is None:
            return PackedColumn(stop - start, self.values.slice(start, stop - start), None)
        first, last = np.searchsorted(self.places, [start, stop]).tolist()
        return PackedColumn(stop - start, self.values.slice(first, last - first), self.places[first:last] - start)

    def unpack(self) -> pa.Array:
        """The column as Arrow has it."""
        if self.places is None:
            return self.values
        valid = np.zeros(self.rows, np.bool_)
        valid[self.places] = True
        return _spread(self.values, self.places, self.rows, _bits(valid))


def packed(array: pa.Array) -> PackedColumn:
    """The column, packed when that pays."""
    values = len(array) - array.null_count
    if values * _SPARSE_FACTOR > len(array):
        return PackedColumn(len(array), array, None)
    if values == 0:
        return PackedColumn(len(array), array.slice(0, 0), np.empty(0, np.int64))
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    places = np.flatnonzero(np.unpackbits(bits, count=array.offset + len(array), bitorder="little")[array.offset :])
    return PackedColumn(len(array), array.take(pa.array(places)), places)


def array_bytes(array: pa.Array) -> int:
    """What an array takes, its dictionary included."""
    return int(array.nbytes)


def _spread(values: pa.Array, places: Any, rows: int, valid: pa.Buffer) -> pa.Array:
    """An array of `rows` rows with `values`, none of them null, in the rows `places`, which `valid` has a bit for."""
    type_, nulls = values.type, rows - len(values)
    if pa.types.is_dictionary(type_):
        return pa.DictionaryArray.from_arrays(
            _spread(values.indices, places, rows, valid), values.dictionary, safe=False
        )
    if pa.types.is_boolean(type_):
        flags = np.zeros(rows, np.bool_)
        flags[places] = np.asarray(values)
        return pa.Array.from_buffers(type_, rows, [valid, _bits(flags)], nulls)
    if pa.types.is_primitive(type_):
        width = np.dtype(f"u{type_.bit_width // 8}")
        numbers = np.zeros(rows, width)
        numbers[places] = np.frombuffer(values.buffers()[1], width)[values.offset : values.offset + len(values)]
        return pa.Array.from_buffers(type_, rows, [valid, pa.py_buffer(numbers)], nulls)
    bounds = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    offsets = np.zeros(rows + 1, np.int32)
    offsets[0], offsets[places + 1] = bounds[0], np.diff(bounds)
    buffers = [valid, pa.py_buffer(np.cumsum(offsets, dtype=np.int32))]
    if pa.types.is_list(type_):
        return pa.Array.from_buffers(type_, rows, buffers, nulls, children=[values.values])
    return pa.Array.from_buffers(type_, rows, [*buffers, values.buffers()[2]], nulls)


def _bits(flags: Any) -> pa.Buffer:
    return pa.py_buffer(np.packbits(flags, bitorder="little"))


def _null_bytes(type_: pa.DataType) -> float:
    if pa.types.is_boolean(type_):
        return 0.25
    four = pa.types.is_dictionary(type_) or pa.types.is_string(type_) or pa.types.is_binary(type_)
    return 4.125 if four or pa.types.is_list(type_) else 8.125
