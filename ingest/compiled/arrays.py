"""Owns the columns of a scanned tape as Arrow arrays, for ingest.assemble. Never looks at the input again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from core.columns import JSON, LIST_KINDS, STR, ColumnKey, arrow_type
from ingest.compiled.columns import (
    count_entries,
    find_dictionary,
    gather_bools,
    gather_items,
    gather_numbers,
    gather_texts,
    gather_words,
    sort_entries,
    validity,
)
from ingest.compiled.kinds import (
    K_BIN,
    K_BOOL,
    K_DECIMAL,
    K_EMPTY_LIST,
    K_FLOAT,
    K_INT,
    K_JSON,
    K_LIST,
    K_STR,
    K_TIME,
    K_UINT,
    KIND_NAMES,
)
from ingest.compiled.paths import N_COLUMNS, N_PATH_BYTES, Paths
from ingest.compiled.tape import ENTRIES, ROWS, Tape, empty_array_text
from ingest.values import Instant, canonical

_WORDS = (K_INT, K_UINT, K_FLOAT, K_TIME)
_TEXTS = (K_STR, K_DECIMAL, K_JSON, K_BIN)


@dataclass(frozen=True, slots=True)
class TapeColumn:
    """One typed column: the entries of a path and kind, in row order."""

    key: ColumnKey
    kind: int
    rows: np.ndarray  # int32
    bits: np.ndarray  # int64
    tape: Tape
    seed: int

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.rows)

    def array(self, row_count: int) -> pa.Array:
        """The column over `row_count` rows, null where it has no value; dictionary<int32, string> where that pays."""
        bitmap = None if self.count == row_count else pa.py_buffer(validity(self.rows, row_count))
        return self._array(self.rows, row_count, bitmap)

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, canonical JSON text) of each value."""
        values = self._array(np.arange(self.count, dtype=np.int32), self.count, None)
        return zip(self.rows.tolist(), map(self._text, _plain_values(values, self.kind)), strict=True)

    def _text(self, value: Any) -> str:
        return value if self.kind in (K_DECIMAL, K_JSON) else canonical(value)

    def _array(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        type_ = arrow_type(self.key.kind)
        nulls = row_count - self.count
        if self.kind in _WORDS:
            values = self.bits.copy() if bitmap is None else gather_words(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind == K_BOOL:
            values = gather_bools(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind in _TEXTS:
            if self.kind == K_STR:
                numbers, different = find_dictionary(self.tape.src, self.bits, self.seed)
                if len(different):
                    return self._dictionary(rows, row_count, bitmap, numbers, different)
            return self._texts(type_, rows, self.bits, row_count, bitmap)
        return self._lists(rows, row_count, bitmap)

    def _texts(self, type_: pa.DataType, rows: np.ndarray, bits: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        offsets, data = gather_texts(self.tape.src, rows, bits, row_count)
        buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data).slice(0, int(offsets[-1]))]
        return pa.Array.from_buffers(type_, row_count, buffers, row_count - len(rows))

    def _dictionary(
        self, rows: np.ndarray, row_count: int, bitmap: Any, numbers: np.ndarray, different: np.ndarray
    ) -> pa.Array:
        texts = self._texts(pa.string(), np.arange(len(different), dtype=np.int32), different, len(different), None)
        indices = numbers if bitmap is None else gather_numbers(rows, numbers, row_count)
        places = pa.Array.from_buffers(pa.int32(), row_count, [bitmap, pa.py_buffer(indices)], row_count - len(rows))
        return pa.DictionaryArray.from_arrays(places, texts, safe=False)

    def _lists(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        offsets, places, bits = gather_items(rows, self.bits, row_count, self.tape.item_kind, self.tape.item_bits)
        kind = self.kind - K_LIST
        item_count = int(offsets[-1])
        items = TapeColumn(ColumnKey(self.key.path, KIND_NAMES[kind]), kind, places, bits, self.tape, self.seed)
        if kind == K_STR:
            valid = None if len(places) == item_count else pa.py_buffer(validity(places, item_count))
            values = items._texts(arrow_type(STR), places, bits, item_count, valid)
        else:
            values = items.array(item_count)
        buffers = [bitmap, pa.py_buffer(offsets)]
        return pa.Array.from_buffers(
            arrow_type(self.key.kind), row_count, buffers, row_count - len(rows), children=[values]
        )


def tape_columns(tape: Tape, paths: Paths) -> list[TapeColumn]:
    """The columns of all events on the tape; empty arrays have joined another column of their path."""
    rows, entries, columns = int(tape.state[ROWS]), int(tape.state[ENTRIES]), int(paths.counts[N_COLUMNS])
    counts = count_entries(tape.column, entries, columns)
    starts = sort_entries(tape, rows, counts)
    sorted_rows, sorted_bits = tape.sorted_rows, tape.sorted_bits
    found: dict[ColumnKey, TapeColumn] = {}
    empty: list[TapeColumn] = []
    texts = paths.path_bytes[: paths.counts[N_PATH_BYTES]].tobytes()
    seed = int(paths.seed[0])
    used = np.flatnonzero(counts)
    owners = paths.column_path[used]
    text_starts, text_lengths = paths.path_start[owners].tolist(), paths.path_length[owners].tolist()
    bounds, kinds = starts.tolist(), paths.column_kind[used].tolist()
    for column, text_start, length, kind in zip(used.tolist(), text_starts, text_lengths, kinds, strict=True):
        text = texts[text_start : text_start + length].decode()
        part = slice(bounds[column], bounds[column + 1])
        name = "" if kind == K_EMPTY_LIST else KIND_NAMES[kind]
        typed = TapeColumn(ColumnKey(text, name), kind, sorted_rows[part], sorted_bits[part], tape, seed)
        if kind == K_EMPTY_LIST:
            empty.append(typed)
        else:
            found[typed.key] = typed
    for column_of_empty in empty:
        _join_empty(found, column_of_empty)
    return list(found.values())


def _join_empty(found: dict[ColumnKey, TapeColumn], empty: TapeColumn) -> None:
    """Put empty arrays into the most frequent list column of their path, else into its JSON column."""
    path = empty.key.path
    lists = [column for kind in LIST_KINDS if (column := found.get(ColumnKey(path, kind)))]
    if lists:
        target = min(lists, key=lambda column: (-column.count, column.key))
        bits = np.zeros(empty.count, np.int64)
    else:
        key = ColumnKey(path, JSON)
        target = found.get(key) or replace(empty, key=key, kind=K_JSON, rows=empty.rows[:0], bits=empty.bits[:0])
        bits = np.full(empty.count, empty_array_text(empty.tape), np.int64)
    rows = np.concatenate([target.rows, empty.rows])
    order = np.argsort(rows, kind="stable")
    found[target.key] = replace(target, rows=rows[order], bits=np.concatenate([target.bits, bits])[order])


def _plain_values(values: pa.Array, kind: int) -> list[Any]:
    """The values as plain values of ingest.values."""
    if kind == K_TIME:
        return [Instant(time_us) for time_us in values.cast(pa.int64()).to_pylist()]
    plain: list[Any] = values.to_pylist()
    return plain
