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

    def unpack(self, start: int, stop: int) -> pa.Array:
        """The rows from `start` on and before `stop`."""
        if self.places is None:
            return self.values.slice(start, stop - start)
        first, last = np.searchsorted(self.places, [start, stop]).tolist()
        codes, mask = np.zeros(stop - start, np.int32), np.ones(stop - start, np.bool_)
        places = self.places[first:last] - start
        codes[places] = np.arange(last - first, dtype=np.int32)
        mask[places] = False
        return pc.take(self.values.slice(first, last - first), pa.array(codes, mask=mask), boundscheck=False)


def packed(array: pa.Array) -> PackedColumn:
    """The column, packed when that pays."""
    values = len(array) - array.null_count
    if values * _SPARSE_FACTOR > len(array):
        return PackedColumn(len(array), array, None)
    return PackedColumn(len(array), array.drop_null(), np.flatnonzero(np.asarray(array.is_valid())))


def array_bytes(array: pa.Array) -> int:
    """What an array takes, its dictionary included."""
    return int(array.nbytes)


def _null_bytes(type_: pa.DataType) -> float:
    if pa.types.is_boolean(type_):
        return 0.25
    four = pa.types.is_dictionary(type_) or pa.types.is_string(type_) or pa.types.is_binary(type_)
    return 4.125 if four or pa.types.is_list(type_) else 8.125
