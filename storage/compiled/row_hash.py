"""Owns adding the hashes of a column's values to the hashes of their rows, compiled. storage/row_hash.py is the way in.

All arithmetic is on uint64, modulo 2^64. Validity is Arrow's: bit `offset + row` is set where there is a value; an
empty array means that all are there.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel

_K1: Final = np.uint64(0x9E37_79B9_7F4A_7C15)
_K2: Final = np.uint64(0xBF58_476D_1CE4_E5B9)
_K3: Final = np.uint64(0x94D0_49BB_1331_11EB)
_S1: Final = np.uint64(32)
_S2: Final = np.uint64(29)
_S3: Final = np.uint64(31)
_ZERO: Final = np.uint64(0)


@kernel
def add_words(
    words: np.ndarray, validity: np.ndarray, offset: int, seed: np.uint64, high: np.ndarray, low: np.ndarray
) -> None:
    """Add the hash of words[row] (uint64) to high[row] and low[row]."""
    for row in range(len(high)):
        if len(validity) == 0 or (validity[(offset + row) >> 3] >> ((offset + row) & 7)) & 1:
            one, other = _mixed(words[row], seed)
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
    """Add the hash number codes[row] (int32; an empty array: number `row`) to high[row] and low[row]."""
    for row in range(len(high)):
        if len(validity) == 0 or (validity[(offset + row) >> 3] >> ((offset + row) & 7)) & 1:
            at = codes[row] if len(codes) else row
            high[row] += hash_high[at]
            low[row] += hash_low[at]


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
