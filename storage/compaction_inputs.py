"""Owns reading the segments that are merged: some columns of some rows at a time, by name. Never writes.

Only row groups that hold asked rows are decoded, a few pages at a time, and what comes out is counted meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.columns import ColumnKey, key_of
from core.errors import Corrupt, MalamuteError
from storage.snapshot import Segment

_CELLS_AT_ONCE: Final = 4 << 20
BATCH_ROWS: Final = 16_384  # decoded at a time
_BATCH_ROWS_MIN: Final = 256
_CELLS_LEFT_MAX: Final = 16 << 20  # decoded, and wait for the next read: 128 MiB of numbers

# A segment to the path of its verified file, or to all its bytes.
OpenSegment = Callable[[Segment], "str | pa.Buffer"]


class TooLarge(MalamuteError):
    """What was asked for takes more memory than it may: ask for fewer rows. Stays inside storage/."""


class MergeInput:
    """One segment that is merged; `batch_rows` are decoded at a time."""

    def __init__(self, segment: Segment, open_segment: OpenSegment, batch_rows: int = BATCH_ROWS) -> None:
        source = open_segment(segment)
        mapped = isinstance(source, str)
        self.segment, self._batch_rows = segment, batch_rows
        self._file = pq.ParquetFile(
            source if mapped else pa.BufferReader(source), memory_map=mapped, pre_buffer=False, buffer_size=0
        )
        self.schema: pa.Schema = self._file.schema_arrow
        metadata = self._file.metadata
        rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._streams: dict[tuple[str, ...], _Stream] = {}
        self._uncompressed = _uncompressed_bytes(metadata)
        self._starts = np.concatenate(([0], np.cumsum(rows))).astype(np.int64)
        self.rows = int(self._starts[-1])
        if self.rows != segment.rows:
            raise Corrupt(f"segment {segment.name} has {self.rows} rows, the manifest says {segment.rows}: restore it")
        keys = ((key_of(field), field.name) for field in self.schema)
        self.names: dict[ColumnKey, str] = {key: name for key, name in keys if key is not None}

    def read(self, names: Sequence[str], start: int, stop: int, bytes_max: int | None) -> list[list[pa.Array]]:
        """The rows from `start` on and before `stop` of each of the columns `names`, in pieces.

        Raises TooLarge beyond `bytes_max`.

        Who goes on where a read of the same columns ended decodes each row group once.
        """
        key = tuple(names)
        stream = self._streams.pop(key, None)
        if stream is None or stream.position != start:
            stream = _Stream(self._batches(key, start), self._begin_of(start))
        read = stream.read(start, stop, bytes_max)
        if stop < self.rows:
            self._streams[key] = stream
        return [[piece.column(at) for piece in read] for at in range(len(key))]

    def rewind(self) -> None:
        """Forget where reads ended."""
        self._streams.clear()

    def _begin_of(self, row: int) -> int:
        """The first row of the row group that holds a row."""
        return int(self._starts[np.searchsorted(self._starts, row, side="right") - 1])

    def _batches(self, names: tuple[str, ...], start: int) -> Iterator[pa.RecordBatch]:
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        groups = list(range(first, len(self._starts) - 1))
        columns = list(names)
        # A name with dots also selects what it is a prefix of.
        batches = self._file.iter_batches(self._batch_rows, groups, columns, use_threads=False)
        return (batch.select(columns) for batch in batches)

    def bytes_in_memory(self, name: str, values: int) -> float:
        """About what a column of so many values takes, packed; text that repeats within a row group takes more."""
        type_ = self.schema.field(name).type
        width = 4.0 if pa.types.is_dictionary(type_) else 0.125 if pa.types.is_boolean(type_) else 8.0
        if pa.types.is_string(type_) or pa.types.is_binary(type_) or pa.types.is_list(type_):
            width = 4.0 + self._uncompressed.get(name, 0) / max(1, values)
        return min(values * (width + 8.0), values * width + self.rows * 4.125)

    def close(self) -> None:
        """Let go of the file."""
        self._streams.clear()
        self._file.close()


class _Stream:
    """Some columns of a segment, decoded in the order of the rows; `position` is the row that comes next."""

    def __init__(self, batches: Iterator[pa.RecordBatch], position: int) -> None:
        self._batches = batches
        self._left: pa.RecordBatch | None = None
        self.position = position

    def read(self, start: int, stop: int, bytes_max: int | None) -> list[pa.RecordBatch]:
        """The rows from `start`, which is not behind, on and before `stop`, in pieces."""
        pieces: list[pa.RecordBatch] = []
        size = 0
        while self.position < stop:
            batch = self._left if self._left is not None else next(self._batches)
            skipped = max(0, start - self.position)
            piece = batch.slice(skipped, stop - self.position - skipped)
            taken = min(batch.num_rows, stop - self.position)
            self._left = batch.slice(taken) if taken < batch.num_rows else None
            self.position += taken
            if piece.num_rows:
                pieces.append(piece)
                size += piece.nbytes
            if bytes_max is not None and size > bytes_max:
                raise TooLarge(f"{size} bytes of {batch.num_columns} columns before row {self.position}")
        return pieces


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


def batch_rows_of(segments: Sequence[Segment]) -> int:
    """How many rows of each input are decoded at a time: what is left of them, in all columns of all inputs, waits."""
    columns = sum(len(segment.columns) for segment in segments)
    return min(BATCH_ROWS, max(_BATCH_ROWS_MIN, _CELLS_LEFT_MAX // max(1, columns)))


def columns_at_once(rows: int) -> int:
    """How many columns of so many rows are decoded together: each call has its price in a wide file."""
    return max(1, _CELLS_AT_ONCE // max(1, rows))


def one_array(chunks: Sequence[pa.Array], field: pa.Field) -> pa.Array:
    """The chunks of a column as one array."""
    if len(chunks) == 1:
        return chunks[0]
    return pa.concat_arrays(chunks) if chunks else pa.array([], field.type)
