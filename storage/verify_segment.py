"""Owns verifying one segment and its index against the manifest. Reads whole objects one at a time, never writes.

Without `deep`, offsets, times and sort columns of all rows are read, and some other columns of one row group; with it
every value of every column, and every token of every text is looked for in its filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.batch import INGESTED_AT, OFFSET, REST, SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import arrow_type, key_of
from core.errors import Corrupt, MalamuteError, NotFound
from storage.keys import index_key
from storage.objects import ObjectStore
from storage.segment_index_format import IndexContents, decode_index
from storage.segment_writer import FORMAT_KEY, FORMAT_VERSION, SHARD_KEY, STREAM_KEY, TENANT_KEY
from storage.snapshot import Segment
from storage.sorting import sort_columns, sort_order
from storage.verify_column import GroupColumn, column_faults
from storage.verify_offsets import runs_of
from storage.verify_report import CORRUPT, DOUBLE, MISSING, RETRY, UNREADABLE, WRONG, Findings
from storage.zone_maps import merged

# Columns read at a time, and columns of the one row group that is looked at without `deep`.
_COLUMNS_AT_ONCE: Final = 16
_SAMPLED_COLUMNS: Final = 16

_REQUIRED: Final = (TIMESTAMP, TIMESTAMP_INFERRED, INGESTED_AT, OFFSET)
_REBUILD: Final = "restore the segment from a backup, or the manifest that describes it; queries may answer wrongly"


@dataclass(frozen=True, slots=True)
class SegmentSeen:
    """What was seen: the runs of its offsets (None: they are not known), its rows, bytes read, objects found."""

    runs: Any | None
    rows: int
    bytes: int
    objects: int


def verify_segment(objects: ObjectStore, segment: Segment, shard: int, deep: bool, found: Findings) -> SegmentSeen:
    """Compare a segment and its index with what the manifest says, and the index with the rows."""
    index_data = None
    if segment.index_bytes:
        index_data = _fetch(objects, index_key(segment.name), segment.index_bytes, segment.index_crc32c, found)
    index = _decoded(index_data, segment, found)
    data = _fetch(objects, segment.name, segment.bytes, segment.crc32c, found)
    size = len(data or b"") + len(index_data or b"")
    counted = (data is not None) + (index_data is not None)
    if data is None:
        return SegmentSeen(None, 0, size, counted)
    try:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            check = _Check(file, segment, index, shard, deep, found)
            runs = check.run()
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        found.add(CORRUPT, segment.name, f"its bytes are as published, but it does not read as Parquet: {error}")
        return SegmentSeen(None, 0, size, counted)
    return SegmentSeen(runs, file.metadata.num_rows, size, counted)


def _fetch(objects: ObjectStore, key: str, size: int, crc: int, found: Findings) -> bytes | None:
    """The bytes of an object when they are those that were published, else None and a finding."""
    try:
        data = objects.get(key)
    except NotFound:
        found.add(MISSING, key, f"the manifest names it ({size:,} bytes), but it is not there")
        return None
    except MalamuteError as error:
        found.add(UNREADABLE, key, str(error), RETRY)
        return None
    seen = google_crc32c.value(data)
    if (len(data), seen) != (size, crc):
        message = f"it has {len(data):,} bytes with crc32c {seen:08x}; published were {size:,} with {crc:08x}"
        found.add(CORRUPT, key, message)
        return None
    return data


def _decoded(data: bytes | None, segment: Segment, found: Findings) -> IndexContents | None:
    if data is None:
        return None
    key = index_key(segment.name)
    try:
        contents = decode_index(data, "the index")
    except Corrupt as error:
        found.add(CORRUPT, key, str(error))
        return None
    if sum(contents.rows) != segment.rows:
        found.add(WRONG, key, f"it is of {sum(contents.rows)} rows, the manifest says {segment.rows}")
    return contents


class _Check:
    """One pass over the row groups of a segment."""

    def __init__(
        self,
        file: Any,
        segment: Segment,
        index: IndexContents | None,
        shard: int,
        deep: bool,
        found: Findings,
    ) -> None:
        self._file, self._segment, self._index, self._shard = file, segment, index, shard
        self._deep, self._found = deep, found
        self._schema: pa.Schema = file.schema_arrow
        self._columns = {column.name: column for column in segment.columns}
        self._indexed = {column.name: column for column in index.columns} if index else {}
        self._previous: pa.Table | None = None  # the last row so far, of the sort columns
        self._in_order = True
        self._seen_values: dict[str, int] = {}

    def run(self) -> Any:
        """Check everything; returns the runs of offsets."""
        self._check_footer()
        if not self._check_schema():
            raise ValueError("a system column is missing or of another type")
        self._check_index()
        offsets, times = [], []
        sorting = sort_columns(self._schema, self._segment.sort_key)
        for group in range(self._file.num_row_groups):
            table = self._read(group, [OFFSET, TIMESTAMP, *(name for name in sorting if name != TIMESTAMP)])
            offsets.append(np.asarray(table.column(OFFSET)))
            times.append(np.asarray(table.column(TIMESTAMP).cast(pa.int64())))
            if sorting:
                self._check_order(table.select(sorting))
            for name, array in self._arrays(group):
                self._check_column(group, name, array)
        self._check_totals()
        return self._check_rows(np.concatenate(offsets), np.concatenate(times))

    def _wrong(self, message: str) -> None:
        self._found.add(WRONG, self._segment.name, message, _REBUILD)

    def _check_footer(self) -> None:
        segment, footer = self._segment, self._file.metadata
        if footer.num_rows != segment.rows:
            self._wrong(f"it has {footer.num_rows} rows, the manifest says {segment.rows}")
        own = self._schema.metadata or {}
        expected = {
            FORMAT_KEY: str(FORMAT_VERSION),
            TENANT_KEY: segment.tenant,
            STREAM_KEY: segment.stream,
            SHARD_KEY: str(self._shard),
        }
        for key, value in expected.items():
            if own.get(key) != value.encode():
                stands = own.get(key, b"nothing").decode(errors="replace")
                self._wrong(f"it says {stands!r} of {key.decode()}, the manifest {value!r}")

    def _check_schema(self) -> bool:
        """Compare the columns; returns whether those that must be there can be read."""
        fields = [(field, key_of(field)) for field in self._schema]
        present = [(field.name, key) for field, key in fields if key is not None]
        stated = [(column.name, column.key) for column in self._segment.columns]
        if present != stated:
            differ = sorted({name for name, _ in set(present) ^ set(stated)}) or ["their order"]
            self._wrong(f"its columns are not those of the manifest: {', '.join(differ[:5])}")
        if (REST in self._schema.names) != self._segment.has_rest:
            self._wrong(f"the manifest says has_rest {self._segment.has_rest}, which is not so")
        for field, key in fields:
            type_ = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
            if key is not None and type_ != arrow_type(key.kind):
                self._wrong(f"column {field.name!r} of kind {key.kind!r} is stored as {type_}")
        return all(
            name in self._schema.names and self._schema.field(name).type == SYSTEM_FIELDS[name].type
            for name in _REQUIRED
        )

    def _check_index(self) -> None:
        if self._index is None:
            return
        key = index_key(self._segment.name)
        groups = tuple(self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups))
        if groups != self._index.rows:
            message = f"it has row groups of {self._index.rows} rows, the segment of {groups}"
            self._found.add(WRONG, key, message, _REBUILD)
            self._index, self._indexed = None, {}
        elif [column.name for column in self._index.columns] != self._schema.names:
            self._found.add(WRONG, key, "its columns are not those of the segment", _REBUILD)
        for name, column in self._indexed.items():
            stated = self._columns.get(name)
            if stated is None:
                continue
            zones = zip(column.values, column.minima, column.maxima, strict=True) if column.minima else ()
            if (sum(column.values), *merged(zones)) != (stated.values, stated.minimum, stated.maximum):
                self._wrong(f"the manifest says other values or bounds of column {name!r} than the index")

    def _read(self, group: int, names: Sequence[str]) -> pa.Table:
        # A name with dots also selects what it is a prefix of.
        return self._file.read_row_group(group, columns=list(names)).select(list(names))

    def _arrays(self, group: int) -> Iterator[tuple[str, pa.Array]]:
        """The columns of a row group that are compared with what is said of them."""
        names = [*self._schema.names]
        if not self._deep:
            if group != self._segment.crc32c % self._file.num_row_groups:
                return
            start = self._segment.crc32c % len(names)
            names = (names[start:] + names[:start])[:_SAMPLED_COLUMNS]
        for at in range(0, len(names), _COLUMNS_AT_ONCE):
            part = names[at : at + _COLUMNS_AT_ONCE]
            table = self._read(group, part)
            for name in part:
                yield name, _one_array(table.column(name))

    def _check_column(self, group: int, name: str, array: pa.Array) -> None:
        self._seen_values[name] = self._seen_values.get(name, 0) + len(array) - array.null_count
        if name in _REQUIRED and array.null_count:
            self._wrong(f"system column {name!r} has {array.null_count} nulls")
        indexed, stated = self._indexed.get(name), self._columns.get(name)
        column = GroupColumn(self._schema.field(name), array, group, indexed, stated)
        for where_index, fault in column_faults(column, self._deep):
            key = index_key(self._segment.name) if where_index else self._segment.name
            self._found.add(WRONG, key, fault, _REBUILD)

    def _check_totals(self) -> None:
        if not self._deep:
            return
        for name, stated in self._columns.items():
            seen = self._seen_values.get(name, 0)
            if seen != stated.values:
                self._wrong(f"column {name!r} has {seen} values, the manifest says {stated.values}")

    def _check_order(self, table: pa.Table) -> None:
        table = _plain(table)
        joined = table if self._previous is None else pa.concat_tables([self._previous, table])
        if self._in_order and sort_order(joined, self._segment.sort_key) is not None:
            self._in_order = False
            self._wrong(f"its rows are not in the order of its sort key {', '.join(self._segment.sort_key)}")
        self._previous = table.slice(table.num_rows - 1, 1)

    def _check_rows(self, offsets: Any, times: Any) -> Any:
        segment = self._segment
        runs, repeated = runs_of(offsets)
        if repeated:
            self._found.add(DOUBLE, segment.name, f"{repeated} of its offsets stand there more than once", _REBUILD)
        facts: list[tuple[str, Callable[[Any], Any], Any, int]] = [
            ("first offset", np.min, offsets, segment.first_offset),
            ("last offset", np.max, offsets, segment.last_offset),
            ("smallest timestamp", np.min, times, segment.timestamp_min_us),
            ("largest timestamp", np.max, times, segment.timestamp_max_us),
        ]
        for what, of, values, said in facts:
            seen = int(of(values))
            if seen != said:
                self._wrong(f"its {what} is {seen}, the manifest says {said}")
        outside = int(((times < segment.window_start_us) | (times > segment.window_end_us - 1)).sum())
        if outside:
            self._wrong(f"{outside} of its events are outside of its window")
        return runs


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    if isinstance(combined, pa.ChunkedArray):
        combined = combined.chunk(0) if combined.num_chunks else pa.array([], column.type)
    return combined


def _plain(table: pa.Table) -> pa.Table:
    """The table with texts instead of dictionaries, which differ between row groups."""
    for at, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            values = pc.cast(table.column(at), field.type.value_type)
            table = table.set_column(at, field.with_type(field.type.value_type), values)
    return table
