"""Owns one segment that a merge writes: row group by row group, then its index, and a second look at its bytes.

Never reads an input. What was written is decoded again and hashed: what a merge vouches for is the file, not what was
in memory before.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.batch import OFFSET, REST, TIMESTAMP
from core.columns import ColumnKey, key_of
from core.errors import check
from storage.column_chunks import column_chunks, crc32c_of
from storage.columns_merge import trim_dictionary
from storage.compaction_inputs import BATCH_ROWS, columns_at_once
from storage.encodings import encodings_of
from storage.packed_columns import PackedColumn
from storage.row_hash import RowHashes, RowHashSum
from storage.segment_index_format import ColumnIndex, IndexContents, encode_index
from storage.segment_index_writer import column_stats, index_of
from storage.segment_writer import EncodedSegment, parquet_writer
from storage.zone_maps import merged

Pause = Callable[[], None]


class MergeOutput:
    """One segment in the making, with the columns of `schema`; `columns` are those of its first rows."""

    def __init__(
        self, schema: pa.Schema, columns: Sequence[PackedColumn], sort_key: Sequence[str], cold: bool, pause: Pause
    ) -> None:
        self._schema, self._pause = schema, pause
        self._sink = pa.BufferOutputStream()
        samples = ((field.name, column.values) for field, column in zip(schema, columns, strict=True))
        self._writer = parquet_writer(self._sink, schema, sort_key, encodings_of(samples, columns[0].rows, cold=cold))
        self._groups: list[IndexContents] = []

    def write(self, columns: Sequence[PackedColumn], start: int, stop: int) -> None:
        """Write the rows from `start` on and before `stop` as one row group."""
        parts = [_trimmed(column.slice(start, stop)) for column in columns]
        self._groups.append(index_of(self._schema, [part.values for part in parts], stop - start))
        self._pause()
        table = pa.Table.from_arrays([part.unpack() for part in parts], schema=self._schema)
        self._pause()
        self._writer.write_table(table, row_group_size=table.num_rows)
        self._pause()

    def finish(self, keys: tuple[tuple[Any, ...], tuple[Any, ...]]) -> tuple[EncodedSegment, WrittenRows]:
        """The whole segment, from its first key to its last, and what it holds when it is read again."""
        self._writer.close()
        data = self._sink.getvalue()
        index = replace(_joined(self._groups), chunks=column_chunks(data, pq.read_metadata(pa.BufferReader(data))))
        written = WrittenRows(data, self._schema, self._pause)
        check(written.groups == index.rows, "SEG-4", "the footer has row groups %s, not %s", written.groups, index.rows)
        times, offsets = _bounds_of(index, TIMESTAMP), _bounds_of(index, OFFSET)
        encoded = EncodedSegment(
            data=data,
            index=encode_index(index),
            rows=sum(index.rows),
            crc32c=crc32c_of(data),
            timestamp_min_us=times[0],
            timestamp_max_us=times[1],
            first_offset=offsets[0],
            last_offset=offsets[1],
            has_rest=REST in self._schema.names,
            columns=column_stats(self._schema, index),
            first_key=keys[0],
            last_key=keys[1],
        )
        return encoded, written


class WrittenRows:
    """What the bytes of a segment hold: row groups, the hash of the rows, and the values of each column."""

    def __init__(self, data: pa.Buffer, schema: pa.Schema, pause: Pause) -> None:
        self.hash: RowHashSum = (0, 0)
        self.values: Counter[ColumnKey] = Counter()
        with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
            groups = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            self.groups = tuple(groups)
            every, read = schema.names, file.schema_arrow  # made anew whenever it is asked for
            check(read.names == every, "CMP-2", "the file has other columns than were written")
            hashes = RowHashes(sum(groups))
            size = columns_at_once(BATCH_ROWS)
            for at in range(0, len(every), size):
                names, first = every[at : at + size], 0
                fields = [read.field(name) for name in names]
                for batch in file.iter_batches(BATCH_ROWS, columns=names, use_threads=False):
                    for field, array in zip(fields, batch.select(names).columns, strict=True):
                        self._add(field, array, hashes, first)
                    first += batch.num_rows
                    pause()
                check(first == sum(groups), "CMP-1", "%d rows of %d can be read", first, sum(groups))
            self.hash = hashes.total()

    def _add(self, field: pa.Field, array: pa.Array, hashes: RowHashes, first: int) -> None:
        hashes.add(field, array, first)
        key = key_of(field)
        if key is not None:
            self.values[key] += len(array) - array.null_count


def _trimmed(column: PackedColumn) -> PackedColumn:
    if not pa.types.is_dictionary(column.values.type):
        return column
    return replace(column, values=trim_dictionary(column.values))


def _bounds_of(index: IndexContents, name: str) -> tuple[Any, Any]:
    """The bounds of a column that has a value in every row."""
    (column,) = (column for column in index.columns if column.name == name)
    return merged(zip(column.values, column.minima, column.maxima, strict=True))


def _joined(groups: Sequence[IndexContents]) -> IndexContents:
    """The index of a segment, of those of its row groups, whose columns are the same."""
    rows = tuple(count for group in groups for count in group.rows)
    return IndexContents(rows, tuple(map(_joined_column, zip(*(group.columns for group in groups), strict=True))))


def _joined_column(parts: Iterable[ColumnIndex]) -> ColumnIndex:
    parts = tuple(parts)
    joined: dict[str, Any] = {"name": parts[0].name}
    for field in fields(ColumnIndex)[1:]:
        known = [getattr(part, field.name) for part in parts]
        joined[field.name] = tuple(item for of_group in known for item in of_group or (None,)) if any(known) else ()
    return ColumnIndex(**joined)
