"""Owns reading the segments that are merged: some columns of some rows at a time, by name. Never writes.

A row group is the unit of decoding, so only those that hold asked rows are read, and what comes out of one is counted
before the next is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.columns import ColumnKey, key_of
from core.errors import Corrupt, MalamuteError
from storage.snapshot import Segment

# A segment to the path of its verified file, or to all its bytes.
OpenSegment = Callable[[Segment], "str | pa.Buffer"]


class TooLarge(MalamuteError):
    """What was asked for takes more memory than it may: ask for fewer rows. Stays inside storage/."""


class MergeInput:
    """One segment that is merged."""

    def __init__(self, segment: Segment, open_segment: OpenSegment) -> None:
        source = open_segment(segment)
        mapped = isinstance(source, str)
        self.segment = segment
        self._file = pq.ParquetFile(
            source if mapped else pa.BufferReader(source), memory_map=mapped, pre_buffer=False, buffer_size=0
        )
        self.schema: pa.Schema = self._file.schema_arrow
        metadata = self._file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._uncompressed = _uncompressed_bytes(metadata)
        self._starts = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
        self.rows = int(self._starts[-1])
        if self.rows != segment.rows:
            raise Corrupt(f"segment {segment.name} has {self.rows} rows, the manifest says {segment.rows}: restore it")
        keys = ((key_of(field), field.name) for field in self.schema)
        self.names: dict[ColumnKey, str] = {key: name for key, name in keys if key is not None}

    def read(self, names: Sequence[str], start: int, stop: int, bytes_max: int | None) -> list[pa.Array]:
        """The rows from `start` on and before `stop` of the columns `names`; raises TooLarge beyond `bytes_max`."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        last = int(np.searchsorted(self._starts, stop, side="left"))
        pieces, size = [], 0
        for group in range(first, last):
            # A name with dots also selects what it is a prefix of.
            table = self._file.read_row_group(group, columns=list(names), use_threads=False).select(list(names))
            begin = int(self._starts[group])
            piece = table.slice(max(start - begin, 0), stop - max(begin, start))
            pieces.append(piece)
            size += piece.nbytes
            if bytes_max is not None and size > bytes_max:
                raise TooLarge(f"{size} bytes of {len(names)} columns in {stop - start} rows")
        return [
            one_array([column for piece in pieces for column in piece.column(at).chunks], self.schema.field(name))
            for at, name in enumerate(names)
        ]

    def bytes_in_memory(self, name: str, values: int) -> float:
        """About what a column of so many values takes, packed; text that repeats within a row group takes more."""
        type_ = self.schema.field(name).type
        width = 4.0 if pa.types.is_dictionary(type_) else 0.125 if pa.types.is_boolean(type_) else 8.0
        if pa.types.is_string(type_) or pa.types.is_binary(type_) or pa.types.is_list(type_):
            width = 4.0 + self._uncompressed.get(name, 0) / max(1, values)
        return min(values * (width + 8.0), values * width + self.rows * 4.125)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _uncompressed_bytes(metadata: pq.FileMetaData) -> dict[str, int]:
    """Bytes of each column as encoded, by the name of the column."""
    sizes: dict[str, int] = {}
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for at in range(metadata.num_columns):
            chunk = row_group.column(at)
            name = chunk.path_in_schema.removesuffix(".list.element")
            sizes[name] = sizes.get(name, 0) + chunk.total_uncompressed_size
    return sizes


def one_array(chunks: Sequence[pa.Array], field: pa.Field) -> pa.Array:
    """The chunks of a column as one array."""
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], field.type)


def contiguous(rows: Any) -> bool:
    """Whether row numbers are a run."""
    return len(rows) == int(rows[-1]) - int(rows[0]) + 1 and bool((rows[1:] > rows[:-1]).all())
