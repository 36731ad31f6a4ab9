"""Owns the merge of sorted segments: their rows in the order of the sort key, in segments of a given size.

The sort columns of all inputs are read first, which gives the order of all rows. Then come slices of that order, a
row group of each or what fits into memory: column after column is decoded, from the row groups that hold its rows, put
in order and packed; then the slice is written, in several row groups where rows are wide. A slice that turns out too
large is begun again with half the rows. Nothing is published here.

Invariants: CMP-1 as many rows come out as went in, with the same hash of all rows (row_hash.py). CMP-2 every
(path, kind) of the inputs is there with as many values, or its values are in `_rest`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.batch import REST, SYSTEM_FIELDS
from core.columns import ColumnKey
from core.errors import check
from core.ids import ShardId
from core.limits import (
    COMPACTION_GROUP_BYTES_MAX,
    COMPACTION_SLICE_BYTES_MAX,
    COMPACTION_SORT_BYTES_MAX,
    ROW_GROUP_ROWS,
)
from storage.columns_merge import convert
from storage.compaction_columns import MergeColumns, merge_columns, name_in
from storage.compaction_inputs import MergeInput, OpenSegment, TooLarge, batch_rows_of, columns_at_once, one_array
from storage.compaction_keys import Key, SortedKeys, merge_order, sorting_table
from storage.compaction_output import MergeOutput, Pause
from storage.packed_columns import PackedColumn, RowOrder, packed
from storage.rest import add_members, rest_array
from storage.row_hash import RowHashes, RowHashSum, added
from storage.segment_writer import EncodedSegment, file_metadata
from storage.snapshot import Segment
from storage.sorting import sort_columns
from storage.stream_settings import StreamSettings

_GROUP_ROWS_STEP: Final = 1_024
_FIXED_ROW_BYTES: Final = 24.125  # of the columns that every segment has
_FILL: Final = 1.1  # of what was estimated, so that a slice is rarely begun twice


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of one input, from `start` on and before `stop`; a slice needs those numbered `wanted` from there."""

    source: MergeInput
    start: int
    stop: int
    wanted: Any

    @property
    def rows(self) -> int:
        return self.stop - self.start


def merge_segments(
    segments: Sequence[Segment],
    settings: StreamSettings,
    shard: ShardId,
    pieces: int,
    open_segment: OpenSegment,
    pause: Pause,
    *,
    cold: bool = False,
) -> Iterator[EncodedSegment]:
    """Merge `segments` of one stream into at most `pieces` segments of disjoint ranges of the sort key.

    `cold` is as storage.encodings has it, `pause` is called between steps of some milliseconds. When all have been
    taken, what came out was compared with what went in: raises Corrupt when an input is not what its manifest says,
    InvariantViolation when an output is not.
    """
    with ExitStack() as stack:
        inputs, batch_rows = [], batch_rows_of(segments)
        for segment in segments:
            inputs.append(MergeInput(segment, open_segment, batch_rows))
            stack.callback(inputs[-1].close)
        yield from _Merge(inputs, settings, shard, pause, cold).outputs(pieces)


class _Merge:
    def __init__(
        self, inputs: Sequence[MergeInput], settings: StreamSettings, shard: ShardId, pause: Pause, cold: bool
    ) -> None:
        self._inputs, self._settings, self._pause, self._cold = inputs, settings, pause, cold
        self._bases = np.cumsum([0, *(source.rows for source in inputs)])
        self._rows = int(self._bases[-1])
        self._input_of = np.repeat(np.arange(len(inputs), dtype=np.uint16), [source.rows for source in inputs])
        self._columns: MergeColumns = merge_columns(inputs, settings)
        self._metadata = file_metadata(inputs[0].segment.tenant, settings.name, shard)
        self._slice_rows = self._fitting_rows()
        self._hash_in: RowHashSum = (0, 0)
        self._hash_out: RowHashSum = (0, 0)
        self._rows_out = 0
        self._values: Counter[ColumnKey] = Counter()
        self._moved = 0

    def outputs(self, pieces: int) -> Iterator[EncodedSegment]:
        start = 0
        for stop, keys in self._cuts(pieces):
            yield self._output(start, stop, keys)
            start = stop
        self._check()

    def _cuts(self, pieces: int) -> list[tuple[int, tuple[Key, Key]]]:
        """(where it ends, its first and last key) of each output. The sort columns are let go of."""
        keys = self._sorted_keys()
        cuts = keys.cuts(pieces)
        starts = [0, *cuts[:-1]]
        return [(stop, (keys.key(start), keys.key(stop - 1))) for start, stop in zip(starts, cuts, strict=True)]

    def _sorted_keys(self) -> SortedKeys:
        """The order of all rows, which is kept, and their keys."""
        sort_key = self._settings.sort_key
        self._sorting = frozenset(sort_columns(pa.schema(self._columns.fields), sort_key))
        fields = [field for field in self._columns.fields if field.name in self._sorting]
        parts = [_Part(source, 0, source.rows, np.arange(source.rows)) for source in self._inputs]
        columns = [
            one_array(self._read(parts, [field], COMPACTION_SORT_BYTES_MAX)[field.name], field) for field in fields
        ]
        table = sorting_table(fields, columns, sort_key)
        self._pause()
        order = merge_order(table, sort_key) if fields else None
        self._order = np.arange(self._rows) if order is None else order
        seen = np.zeros(self._rows, np.bool_)
        seen[self._order] = True
        check(bool(seen.all()), "CMP-1", "the order of %d rows is not one", self._rows)
        return SortedKeys(table, sort_key, self._order)

    # --- outputs --------------------------------------------------------------------------------------------------

    def _output(self, start: int, stop: int, keys: tuple[Key, Key]) -> EncodedSegment:
        output: MergeOutput | None = None
        fields: list[pa.Field] = []
        while start < stop:
            taken, columns = self._slice(start, stop)
            if output is None:
                fields = self._fields_of(columns, taken == stop)
                schema = pa.schema(fields, metadata=self._metadata)
                firsts = [columns[field.name] for field in fields]
                output = MergeOutput(schema, firsts, self._settings.sort_key, self._cold, self._pause)
            ordered = [columns[field.name] for field in fields]
            rows = _group_rows(ordered)
            for first in range(0, taken - start, rows):
                output.write(ordered, first, min(first + rows, taken - start))
            start = taken
        assert output is not None
        encoded, written = output.finish(keys)
        self._hash_out = added(self._hash_out, written.hash)
        self._rows_out += sum(written.groups)
        self._values += written.values
        return encoded

    def _fields_of(self, columns: dict[str, PackedColumn], whole: bool) -> list[pa.Field]:
        """The fields of an output: columns without a value are not there, as far as its first slice can tell.

        What sorts stays: without it another kind of the path would be taken for what the rows are sorted by.
        """
        kept = {name for name, column in columns.items() if column.values.null_count < len(column.values)}
        return [f for f in self._columns.fields if not whole or f.name in kept or f.name in self._sorting]

    def _check(self) -> None:
        check(self._rows_out == self._rows, "CMP-1", "%d rows of %d came out", self._rows_out, self._rows)
        hashes = (self._hash_out, self._hash_in)
        check(self._hash_out == self._hash_in, "CMP-1", "the rows that came out have the hash %s, not %s", *hashes)
        kept = {key: count for key, count in self._columns.values.items() if key not in set(self._columns.overflow)}
        differ = sorted(key for key in kept | self._values if kept.get(key, 0) != self._values[key])
        check(not differ, "CMP-2", "columns with other values than their inputs: %s", differ[:5])
        moved = (self._moved, self._columns.moved)
        check(moved[0] == moved[1], "CMP-2", "%d values of rare paths went to _rest of %d", *moved)

    def _fitting_rows(self) -> int:
        """How many rows should fit into memory at once: a row group at most, more would not be faster."""
        size = (
            sum(
                source.bytes_in_memory(column.name, column.values)
                for source in self._inputs
                for column in source.segment.columns
            )
            + self._rows * _FIXED_ROW_BYTES
        )
        slices = max(1, -(-int(_FILL * size) // COMPACTION_SLICE_BYTES_MAX))
        return min(ROW_GROUP_ROWS, -(-self._rows // slices))

    # --- slices ---------------------------------------------------------------------------------------------------

    def _slice(self, start: int, stop: int) -> tuple[int, dict[str, PackedColumn]]:
        """(where it ends, the columns of its rows by name), of as many rows as fit into memory."""
        while True:
            end = min(start + self._slice_rows, stop)
            moved = self._moved
            try:
                columns, hashed = self._columns_of(start, end)
            except TooLarge:
                self._slice_rows, self._moved = (end - start) // 2, moved
                for source in self._inputs:
                    source.rewind()
                continue
            self._hash_in = added(self._hash_in, hashed)
            return end, columns

    def _columns_of(self, start: int, stop: int) -> tuple[dict[str, PackedColumn], RowHashSum]:
        parts, take = self._parts(self._order[start:stop])
        hashes = RowHashes(sum(part.rows for part in parts))
        order = RowOrder(take, len(hashes))
        # One event may be larger than what a slice may take, and must be merged all the same.
        bytes_max = COMPACTION_SLICE_BYTES_MAX if stop - start > 1 else None
        columns: dict[str, PackedColumn] = {}
        size = 0
        for block in self._blocks():
            read = self._read(parts, block, bytes_max)
            for field in block:
                array = one_array(read.pop(field.name), field)
                hashes.add(field, array)
                columns[field.name] = packed(array).ordered(order)
                size += columns[field.name].bytes
                self._pause()
            if bytes_max is not None and size > bytes_max:
                raise TooLarge(f"{size} bytes of {stop - start} rows")
        return columns, hashes.total(None if len(take) == len(hashes) else take)

    def _parts(self, rows: Any) -> tuple[list[_Part], Any]:
        """What a slice reads of its inputs, and the places of its rows in that, one part after the other."""
        of_input = self._input_of[rows]
        take = np.empty(len(rows), np.int32)
        parts: list[_Part] = []
        base = 0
        for number, source in enumerate(self._inputs):
            chosen = np.flatnonzero(of_input == number)
            if len(chosen) == 0:
                continue
            local = rows[chosen] - self._bases[number]
            start = int(local.min())
            part = _Part(source, start, int(local.max()) + 1, local - start)
            take[chosen] = part.wanted + base
            parts.append(part)
            base += part.rows
        return parts, take

    def _blocks(self) -> Iterator[list[pa.Field]]:
        """The columns, a few at a time: the same ones for each slice."""
        size, fields = columns_at_once(self._slice_rows), self._columns.fields
        return (list(fields[at : at + size]) for at in range(0, len(fields), size))

    def _read(
        self, parts: Sequence[_Part], fields: Sequence[pa.Field], bytes_max: int | None
    ) -> dict[str, list[pa.Array]]:
        """For each field, its column in all parts, in pieces, as the merge has it; raises TooLarge."""
        read: dict[str, list[pa.Array]] = {field.name: [] for field in fields}
        for part in parts:
            names = {field.name: name_in(part.source, field) for field in fields if field.name != REST}
            present = [name for name in names.values() if name is not None]
            pieces = part.source.read(present, part.start, part.stop, bytes_max) if present else []
            by_name = dict(zip(present, pieces, strict=True))
            for field in fields:
                name = names.get(field.name)
                if field.name == REST:
                    read[REST].append(self._rest(part, bytes_max))
                elif name is None:
                    read[field.name].append(pa.nulls(part.rows, field.type))
                else:
                    read[field.name] += (convert(piece, field.type) for piece in by_name[name])
            self._pause()
        return read

    def _rest(self, part: _Part, bytes_max: int | None) -> pa.Array:
        """`_rest` of a part, with the values of its rare columns."""
        source, limits = part.source, (part.start, part.stop, bytes_max)
        fragments: dict[int, list[str]] = {}
        rare = [key for key in self._columns.overflow if key in source.names]
        size = columns_at_once(part.rows)
        for at in range(0, len(rare), size):
            block = rare[at : at + size]
            for key, pieces in zip(block, source.read([source.names[key] for key in block], *limits), strict=True):
                array = one_array(pieces, source.schema.field(source.names[key]))
                add_members(fragments, key.path, key.kind, array)
        self._moved += sum(len(fragments.get(row, ())) for row in part.wanted.tolist()) if fragments else 0
        existing = one_array(source.read([REST], *limits)[0], SYSTEM_FIELDS[REST]) if source.segment.has_rest else None
        return rest_array(existing, fragments, part.rows)


def _group_rows(columns: Sequence[PackedColumn]) -> int:
    """How many rows of such columns make a row group: they are in memory unpacked."""
    fitting = int(COMPACTION_GROUP_BYTES_MAX / max(1.0, sum(column.row_bytes for column in columns)))
    return min(ROW_GROUP_ROWS, max(_GROUP_ROWS_STEP, fitting // _GROUP_ROWS_STEP * _GROUP_ROWS_STEP))
