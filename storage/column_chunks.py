"""Owns where the column chunks of a segment's file are, and their checksums: by them parts of a file are verified.

The chunks follow each other from behind the magic on, row group by row group, in the order of the columns. What comes
behind the last one is the tail: bloom filters, page indexes, the footer. Never reads a chunk's values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from core.limits import MIB

MAGIC: Final = b"PAR1"
_CRC_STEP_BYTES: Final = 4 * MIB


@dataclass(frozen=True, slots=True, eq=False)
class ColumnChunks:
    """`bytes` and `crc32c` of each chunk by [row group, column], columns in the order of the file."""

    bytes: npt.NDArray[np.int64]
    crc32c: npt.NDArray[np.uint32]
    tail_crc32c: int

    @property
    def starts(self) -> npt.NDArray[np.int64]:
        """Where in the file each chunk begins."""
        ends = len(MAGIC) + np.cumsum(self.bytes.ravel())
        return ends.reshape(self.bytes.shape) - self.bytes

    @property
    def tail_start(self) -> int:
        """Where in the file the tail begins."""
        return len(MAGIC) + int(self.bytes.sum())


def column_chunks(data: pa.Buffer, footer: Any) -> ColumnChunks | None:
    """The chunks of the file `data`, whose metadata (pyarrow.parquet) is `footer`; None when they are elsewhere."""
    shape = (footer.num_row_groups, footer.num_columns)
    sizes, sums = np.zeros(shape, np.int64), np.zeros(shape, np.uint32)
    place = len(MAGIC)
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        for index in range(footer.num_columns):
            chunk = group.column(index)
            starts = [at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at]
            if min(starts, default=0) != place:
                return None
            size = chunk.total_compressed_size
            sizes[number, index], sums[number, index] = size, crc32c_of(data, place, place + size)
            place += size
    return ColumnChunks(sizes, sums, crc32c_of(data, place))


def crc32c_of(data: pa.Buffer, start: int = 0, stop: int | None = None) -> int:
    """The crc32c of the bytes of `data` from `start` on and before `stop`, by default of all."""
    crc, end = 0, data.size if stop is None else stop
    while start < end:
        # The library takes bytes only; steps keep the copy small.
        size = min(_CRC_STEP_BYTES, end - start)
        crc = google_crc32c.extend(crc, data.slice(start, size).to_pybytes())
        start += size
    return crc
