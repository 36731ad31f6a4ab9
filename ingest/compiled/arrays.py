"""Owns Arrow arrays of what was scanned: all columns of a batch at once, and single ones for lists and `_rest`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.columns import ColumnKey, arrow_type
from ingest.compiled.columns import (
    gather_bools,
    gather_items,
    gather_texts,
    gather_words,
    validity,
)
from ingest.compiled.gather import DATA, OFFSETS, TEXTS, VALIDITY, VALUES, WORDS, fill, lay_out
from ingest.compiled.kinds import (
    K_BOOL,
    K_DECIMAL,
    K_INT,
    K_JSON,
    K_LIST,
    K_TIME,
    K_UINT,
    KIND_NAMES,
)
from ingest.compiled.memory import roomy
from ingest.compiled.tape import ROWS, Tape
from ingest.values import Instant, canonical

_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True, slots=True)
class TapeColumn:
    """One typed column: the entries of a path and kind, in row order."""

    key: ColumnKey
    kind: int
    rows: np.ndarray  # int32
    bits: np.ndarray  # int64
    tape: Tape

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.rows)

    def texts(self) -> Iterator[str]:
        """The canonical JSON text of each value."""
        values = self.array(np.arange(self.count, dtype=np.int32), self.count, None)
        if self.kind in (K_DECIMAL, K_JSON):
            return iter(values.to_pylist())
        if self.kind == K_TIME:
            return (canonical(Instant(time_us)) for time_us in values.cast(pa.int64()).to_pylist())
        if self.kind in (K_INT, K_UINT):
            return map(int.__repr__, values.to_pylist())
        return map(canonical, values.to_pylist())

    def array(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        """The values at `rows` of `row_count`; `bitmap` says where there are some, None where all have one."""
        type_ = arrow_type(self.key.kind)
        nulls = row_count - self.count
        if self.kind in WORDS:
            values = self.bits.copy() if bitmap is None else gather_words(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind == K_BOOL:
            values = gather_bools(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind in TEXTS:
            return self._text_array(type_, rows, self.bits, row_count, bitmap)
        return self._lists(rows, row_count, bitmap)

    def _text_array(
        self, type_: pa.DataType, rows: np.ndarray, bits: np.ndarray, row_count: int, bitmap: Any
    ) -> pa.Array:
        offsets, data = gather_texts(self.tape.src, rows, bits, row_count)
        buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data).slice(0, int(offsets[-1]))]
        return pa.Array.from_buffers(type_, row_count, buffers, row_count - len(rows))

    def _lists(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        offsets, places, bits = gather_items(rows, self.bits, row_count, self.tape.item_kind, self.tape.item_bits)
        kind = self.kind - K_LIST
        item_count = int(offsets[-1])
        items = TapeColumn(ColumnKey(self.key.path, KIND_NAMES[kind]), kind, places, bits, self.tape)
        valid = None if len(places) == item_count else pa.py_buffer(validity(places, item_count))
        values = items.array(places, item_count, valid)
        buffers = [bitmap, pa.py_buffer(offsets)]
        return pa.Array.from_buffers(
            arrow_type(self.key.kind), row_count, buffers, row_count - len(rows), children=[values]
        )


def arrays_of(tape: Tape, keys: Sequence[ColumnKey], kinds: np.ndarray, parts: np.ndarray, seed: int) -> list[pa.Array]:
    """Each column over all rows of the tape, null where it has no value; dictionary<int32, string> where that pays.

    `parts` are the (begin, end) of the columns in the sorted entries. Call once: it overwrites the unsorted ones.
    """
    row_count = int(tape.state[ROWS])
    layout, size, sparse_size = lay_out(tape, parts, kinds, row_count, seed)
    memories = np.empty(size, np.uint8), roomy(sparse_size, np.uint8)
    fill(tape, parts, kinds, layout, *memories, row_count)
    wholes = [pa.py_buffer(memory) for memory in memories]
    arrays = []
    for key, kind, part, begin, sizes, different, sparse in zip(
        keys,
        kinds.tolist(),
        parts.tolist(),
        layout.begin.tolist(),
        layout.size.tolist(),
        layout.different.tolist(),
        layout.sparse.tolist(),
        strict=True,
    ):
        whole = wholes[sparse]
        entries = slice(*part)
        count = part[1] - part[0]
        bitmap = whole.slice(begin[VALIDITY], sizes[VALIDITY]) if sizes[VALIDITY] else None
        if K_LIST <= kind < K_DECIMAL:
            column = TapeColumn(key, kind, tape.sorted_rows[entries], tape.sorted_bits[entries], tape)
            arrays.append(column.array(column.rows, row_count, bitmap))
            continue
        buffers = [bitmap, whole.slice(begin[VALUES], sizes[VALUES])]
        if different:
            texts = [None, whole.slice(begin[OFFSETS], sizes[OFFSETS]), whole.slice(begin[DATA], sizes[DATA])]
            dictionary = pa.Array.from_buffers(pa.string(), different, texts, 0)
            arrays.append(
                pa.DictionaryArray.from_buffers(_DICTIONARY, row_count, buffers, dictionary, row_count - count)
            )
            continue
        if kind in TEXTS:
            buffers.append(whole.slice(begin[DATA], sizes[DATA]))
        arrays.append(pa.Array.from_buffers(arrow_type(key.kind), row_count, buffers, row_count - count))
    return arrays
