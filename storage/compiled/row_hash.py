"""Owns adding the hashes of a column's values to the hashes of their rows, compiled. storage/row_hash.py is the way in.

All arithmetic is on uint64, modulo 2^64. Validity is Arrow's: bit `offset + row` is set where there is a value; an
empty array means that all are there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from storage.compiled.vectors import address_of, load64

_K1: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_K2: Final = np.uint64(0xBF58_476D_1CE4_E5B9)
_K3: Final = np.uint64(0x94D0_49BB_1331_11EB)
_S1: Final = np.uint64(32)
_S2: Final = np.uint64(29)
_S3: Final = np.uint64(31)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_ALL: Final = np.uint64(2**64 - 1)


@kernel
def add_words(
    words: np.ndarray, validity: np.ndarray, offset: int, seed: np.uint64, high: np.ndarray, low: np.ndarray
) -> None:
    """Add the hash of words[row] (uint64) to high[row] and low[row]."""
    if len(validity) == 0:
        for row in range(len(high)):
            one, other = _mixed(words[row], seed)
            high[row] += one
            low[row] += other
        return
    row = 0
    while row < len(high):
        stop = min(len(high), row + 8 - ((offset + row) & 7))
        if validity[(offset + row) >> 3]:  # in a wide stream eight nulls are the rule
            for place in range(row, stop):
                one, other = _mixed(words[place], seed)
                there = _ones_if_set(validity, offset + place)
                high[place] += one & there
                low[place] += other & there
        row = stop


@kernel
def add_texts(
    data: np.ndarray,
    offsets: np.ndarray,
    validity: np.ndarray,
    offset: int,
    seed: np.uint64,
    high: np.ndarray,
    low: np.ndarray,
) -> None:
    """Add the hash of data[offsets[row]:offsets[row + 1]] (uint8, int32) to high[row] and low[row]."""
    base = address_of(data)
    for row in range(len(high)):
        if len(validity) and not (validity[(offset + row) >> 3] >> ((offset + row) & 7)) & 1:
            continue
        start, end = int(offsets[row]), int(offsets[row + 1])
        one = seed ^ (np.uint64(end - start) * _K1)
        other = ~one
        for place in range(start, end - 7, 8):
            one, other = _absorbed(one, other, load64(base, place))
        tail = (end - start) & 7
        if tail:
            one, other = _absorbed(one, other, _last_bytes(data, base, end, tail))
        one, other = _mixed(one, other)
        high[row] += one
        low[row] += other


@kernel
def add_hashes(
    hash_high: np.ndarray,
    hash_low: np.ndarray,
    codes: np.ndarray,
    validity: np.ndarray,
    offset: int,
    high: np.ndarray,
    low: np.ndarray,
) -> None:
    """Add the hash number codes[row] (uint32; an empty array: number `row`) to high[row] and low[row].

    There is at least one hash: the first is looked at in the place of what a null has for a code.
    """
    if len(codes) == 0:
        for row in range(len(high)):
            there = _ALL if len(validity) == 0 else _ones_if_set(validity, offset + row)
            high[row] += hash_high[row] & there
            low[row] += hash_low[row] & there
        return
    if len(validity) == 0:
        for row in range(len(high)):
            high[row] += hash_high[codes[row]]
            low[row] += hash_low[codes[row]]
        return
    for row in range(len(high)):
        there = _ones_if_set(validity, offset + row)
        at = np.uint64(codes[row]) & there
        high[row] += hash_high[at] & there
        low[row] += hash_low[at] & there


@kernel
def fold_lists(
    offsets: np.ndarray, item_high: np.ndarray, item_low: np.ndarray, seed: np.uint64, high: np.ndarray, low: np.ndarray
) -> None:
    """Hash the items offsets[i] to offsets[i + 1], in their order, into high[i] and low[i]."""
    for row in range(len(high)):
        one, other = seed, ~seed
        for item in range(offsets[row], offsets[row + 1]):
            one, _ = _mixed(one + item_high[item], seed)
            other, _ = _mixed(other + item_low[item], seed)
        high[row], low[row] = _mixed(one ^ np.uint64(offsets[row + 1] - offsets[row]), other)


@kernel
def sum_rows(high: np.ndarray, low: np.ndarray) -> tuple[np.uint64, np.uint64]:
    """The sums of the rows' hashes, each mixed once more: the order of the rows does not count."""
    one, other = _ZERO, _ZERO
    for row in range(len(high)):
        a, b = _mixed(high[row], low[row])
        one += a
        other += b
    return one, other


@kernel
def _mixed(word: np.uint64, seed: np.uint64) -> tuple[np.uint64, np.uint64]:
    one = (word ^ seed) * _K1
    one = (one ^ (one >> _S1)) * _K2
    one ^= one >> _S2
    other = (one + seed) * _K3
    return one, other ^ (other >> _S3)


@kernel
def _absorbed(one: np.uint64, other: np.uint64, word: np.uint64) -> tuple[np.uint64, np.uint64]:
    """The two states of a text after eight more of its bytes."""
    one = (one ^ word) * _K2
    other = (other + word) * _K3
    return one ^ (one >> _S1), other ^ (other >> _S2)


@kernel
def _last_bytes(data: np.ndarray, base: int, end: int, count: int) -> np.uint64:
    """The `count` (1 to 7) bytes before `end`, little-endian. Reads nothing outside the array."""
    if end >= 8:
        return load64(base, end - 8) >> np.uint64(64 - 8 * count)
    word = _ZERO
    for byte in range(count):
        word |= np.uint64(data[end - count + byte]) << np.uint64(8 * byte)
    return word


@kernel
def _ones_if_set(bits: np.ndarray, place: int) -> np.uint64:
    """All bits set where the bit at `place` is, none where it is not."""
    return _ZERO - ((np.uint64(bits[place >> 3]) >> np.uint64(place & 7)) & _ONE)
