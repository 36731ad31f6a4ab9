"""Owns one typed column of a scanned tape as an Arrow array. Never looks at other columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.columns import ColumnKey, arrow_type
from ingest.compiled.columns import (
    find_dictionary,
    gather_bools,
    gather_items,
    gather_numbers,
    gather_texts,
    gather_words,
    validity,
)
from ingest.compiled.kinds import (
    K_BIN,
    K_BOOL,
    K_DECIMAL,
    K_FLOAT,
    K_INT,
    K_JSON,
    K_LIST,
    K_STR,
    K_TIME,
    K_UINT,
    KIND_NAMES,
)
from ingest.compiled.tape import Tape
from ingest.values import Instant, canonical

_WORDS: Final = (K_INT, K_UINT, K_FLOAT, K_TIME)
_TEXTS: Final = (K_STR, K_DECIMAL, K_JSON, K_BIN)


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
        if self.kind == K_STR:
            numbers, different = find_dictionary(self.tape.src, self.bits, self.seed)
            if len(different):
                return self._dictionary(row_count, bitmap, numbers, different)
        return self._plain(self.rows, row_count, bitmap)

    def texts(self) -> Iterator[str]:
        """The canonical JSON text of each value."""
        values = self._plain(np.arange(self.count, dtype=np.int32), self.count, None)
        if self.kind in (K_DECIMAL, K_JSON):
            return iter(values.to_pylist())
        if self.kind == K_TIME:
            return (canonical(Instant(time_us)) for time_us in values.cast(pa.int64()).to_pylist())
        return map(canonical, values.to_pylist())

    def _plain(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        type_ = arrow_type(self.key.kind)
        nulls = row_count - self.count
        if self.kind in _WORDS:
            values = self.bits.copy() if bitmap is None else gather_words(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind == K_BOOL:
            values = gather_bools(rows, self.bits, row_count)
            return pa.Array.from_buffers(type_, row_count, [bitmap, pa.py_buffer(values)], nulls)
        if self.kind in _TEXTS:
            return self._text_array(type_, rows, self.bits, row_count, bitmap)
        return self._lists(rows, row_count, bitmap)

    def _text_array(
        self, type_: pa.DataType, rows: np.ndarray, bits: np.ndarray, row_count: int, bitmap: Any
    ) -> pa.Array:
        offsets, data = gather_texts(self.tape.src, rows, bits, row_count)
        buffers = [bitmap, pa.py_buffer(offsets), pa.py_buffer(data).slice(0, int(offsets[-1]))]
        return pa.Array.from_buffers(type_, row_count, buffers, row_count - len(rows))

    def _dictionary(self, row_count: int, bitmap: Any, numbers: np.ndarray, different: np.ndarray) -> pa.Array:
        count = len(different)
        texts = self._text_array(pa.string(), np.arange(count, dtype=np.int32), different, count, None)
        indices = numbers if bitmap is None else gather_numbers(self.rows, numbers, row_count)
        places = pa.Array.from_buffers(pa.int32(), row_count, [bitmap, pa.py_buffer(indices)], row_count - self.count)
        return pa.DictionaryArray.from_arrays(places, texts, safe=False)

    def _lists(self, rows: np.ndarray, row_count: int, bitmap: Any) -> pa.Array:
        offsets, places, bits = gather_items(rows, self.bits, row_count, self.tape.item_kind, self.tape.item_bits)
        kind = self.kind - K_LIST
        item_count = int(offsets[-1])
        items = TapeColumn(ColumnKey(self.key.path, KIND_NAMES[kind]), kind, places, bits, self.tape, self.seed)
        valid = None if len(places) == item_count else pa.py_buffer(validity(places, item_count))
        values = items._plain(places, item_count, valid)
        buffers = [bitmap, pa.py_buffer(offsets)]
        return pa.Array.from_buffers(
            arrow_type(self.key.kind), row_count, buffers, row_count - len(rows), children=[values]
        )
