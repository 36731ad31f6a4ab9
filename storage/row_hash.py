"""Owns the hash of rows that compaction compares before and after a merge: 128 bits, whatever the order of the rows.

A row's hash is the sum of the hashes of its values, each with its (path, kind); null adds nothing. So it does not
depend on the order of columns, on a column without values being there, or on how a text is encoded. It guards against
mistakes, not against people. NaN is NaN and 0.0 is -0.0: Parquet's dictionaries do not tell them apart.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.columns import key_of

_ALL_VALID: Final = (np.frombuffer(b"", np.uint8), 0)
_NULL_ITEM: Final = np.uint64(0x6E75_6C6C_6E75_6C6C)

RowHashSum = tuple[int, int]  # two independent sums modulo 2^64


class RowHashes:
    """The hashes of a number of rows, to which columns are added one by one."""

    def __init__(self, rows: int) -> None:
        self._high, self._low = np.zeros(rows, np.uint64), np.zeros(rows, np.uint64)

    def __len__(self) -> int:
        return len(self._high)

    def add(self, field: pa.Field, array: pa.Array, first: int = 0) -> None:
        """Add the values of one column, of the rows from `first` on."""
        part = slice(first, first + len(array))
        _add(array, _seed(field), self._high[part], self._low[part])

    def total(self, rows: Any = None) -> RowHashSum:
        """The sum over all rows, or over those that are named (numpy integers)."""
        from storage.compiled import row_hash

        high, low = (self._high, self._low) if rows is None else (self._high[rows], self._low[rows])
        one, other = row_hash.sum_rows(high, low)
        return int(one), int(other)


def added(one: RowHashSum, other: RowHashSum) -> RowHashSum:
    """The sum of the rows of both."""
    return (one[0] + other[0]) % 2**64, (one[1] + other[1]) % 2**64


def _seed(field: pa.Field) -> Any:
    """What sets the column apart from all others: 64 bits of its path and kind, or of the name of a system column."""
    key = key_of(field)
    what = f"system\0{field.name}" if key is None else f"{key.kind}\0{key.path}"
    return np.uint64(int.from_bytes(hashlib.blake2b(what.encode(), digest_size=8).digest(), "little"))


def _add(array: pa.Array, seed: Any, high: Any, low: Any) -> None:
    from storage.compiled import row_hash

    if array.null_count == len(array):
        return
    if pa.types.is_dictionary(array.type):
        entries = array.dictionary
        hashes = np.zeros(len(entries), np.uint64), np.zeros(len(entries), np.uint64)
        row_hash.add_texts(*_texts(entries), *_ALL_VALID, seed, *hashes)
        indices = array.indices
        codes = _view(indices.buffers()[1], np.uint32)[indices.offset : indices.offset + len(indices)]
        row_hash.add_hashes(*hashes, codes, *_validity(indices), high, low)
    elif pa.types.is_list(array.type):
        row_hash.add_hashes(*_list_hashes(array, seed), _view(None, np.uint32), *_validity(array), high, low)
    elif pa.types.is_string(array.type) or pa.types.is_binary(array.type):
        row_hash.add_texts(*_texts(array), *_validity(array), seed, high, low)
    else:
        row_hash.add_words(_words(array), *_validity(array), seed, high, low)


def _texts(array: pa.Array) -> tuple[Any, Any]:
    """(bytes, where each text begins and the last ends) of an array of texts or bytes."""
    offsets = _view(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    return _view(array.buffers()[2], np.uint8), offsets


def _list_hashes(array: pa.Array, seed: Any) -> tuple[Any, Any]:
    """(high, low) of each value of an array of lists."""
    from storage.compiled.row_hash import fold_lists

    offsets = _view(array.buffers()[1], np.int32)[array.offset : array.offset + len(array) + 1]
    items = array.values
    item_high, item_low = np.zeros(len(items), np.uint64), np.zeros(len(items), np.uint64)
    _add(items, seed, item_high, item_low)
    if items.null_count:
        item_high[np.asarray(items.is_null())] = _NULL_ITEM
    high, low = np.empty(len(array), np.uint64), np.empty(len(array), np.uint64)
    fold_lists(offsets, item_high, item_low, seed, high, low)
    return high, low


def _words(array: pa.Array) -> Any:
    """The values of an array of fixed width as uint64."""
    if pa.types.is_boolean(array.type):
        return _read_only(np.asarray(array.fill_null(False)).astype(np.uint64))
    words = _view(array.buffers()[1], np.uint64)[array.offset : array.offset + len(array)]
    if pa.types.is_floating(array.type):
        numbers = words.view(np.float64) + 0.0
        numbers[np.isnan(numbers)] = np.nan
        return _read_only(numbers.view(np.uint64))
    return words


def _validity(array: pa.Array) -> tuple[Any, int]:
    """(bits, offset of the first) of what is not null."""
    bits = array.buffers()[0] if array.null_count else None
    return _view(bits, np.uint8), array.offset


def _view(buffer: pa.Buffer | None, type_: Any) -> Any:
    # Where all texts are empty there may be no bytes to point at.
    return _read_only(np.frombuffer(buffer if buffer is not None else b"", type_))


def _read_only(array: Any) -> Any:
    """A view that cannot be written: kernels are compiled for such ones only, whatever Arrow says of its buffers."""
    seen = array[:]
    seen.flags.writeable = False
    return seen
