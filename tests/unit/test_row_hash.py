"""The hash of rows says what the rows hold, not how their columns lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from storage.row_hash import RowHashes, RowHashSum

TEXTS = ["", "a", "1234567", "12345678", "123456789", "ends in a zero\0", "ends in a zero", "x" * 100, "ä", None]


def _total(array: pa.Array) -> RowHashSum:
    hashes = RowHashes(len(array))
    hashes.add(pa.field("column", array.type), array)
    return hashes.total()


def _sum(arrays: Sequence[pa.Array]) -> RowHashSum:
    totals = [_total(array) for array in arrays]
    return sum(high for high, _ in totals) % 2**64, sum(low for _, low in totals) % 2**64


@pytest.mark.parametrize("type_", [pa.string(), pa.binary()])
def test_a_text_has_one_hash_wherever_it_stands(type_: pa.DataType) -> None:
    texts = pa.array(TEXTS, pa.string()).cast(type_)
    alone = [pa.array([text], type_) for text in texts.to_pylist()]
    assert _sum([texts]) == _sum(alone) == _sum([texts.slice(3), texts.slice(0, 3)])
    assert _total(texts) == _total(texts.take(pa.array(np.arange(len(texts))[::-1])))


def test_a_dictionary_hashes_like_its_texts_whatever_stands_under_a_null() -> None:
    codes = pa.Array.from_buffers(
        pa.int32(), 5, [pa.py_buffer(b"\x17"), pa.py_buffer(np.array([2, 0, 0, 2**31 - 1, 1], np.int32).tobytes())]
    )
    entries = pa.array(["one", "two", "three and more"])
    assert _total(pa.DictionaryArray.from_arrays(codes, entries, safe=False)) == _total(
        pa.array(["three and more", "one", "one", None, "two"])
    )


def test_texts_that_differ_have_different_hashes() -> None:
    texts = [text for text in TEXTS if text is not None] + [text + "\0" for text in TEXTS if text]
    assert len({_total(pa.array([text])) for text in set(texts)}) == len(set(texts))
    assert _total(pa.array([None], pa.string())) != _total(pa.array([""]))


def test_numbers_under_nulls_do_not_count() -> None:
    words = [pa.py_buffer(np.array(numbers, np.int64).tobytes()) for numbers in ([7, 8, 9], [7, 1, 9])]
    one, other = (pa.Array.from_buffers(pa.int64(), 3, [pa.py_buffer(b"\x05"), buffer]) for buffer in words)
    assert _total(one) == _total(other) != _total(pa.array([7, 8, 9]))
