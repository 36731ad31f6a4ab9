"""Owns the 128-bit hash of ids, compiled: MurmurHash3 x64 128 (Appleby, 2011). Never knows what an id is.

Bytes are hashed where they lie, integers as their 8 bytes, little-endian. All arithmetic is on uint64, modulo 2^64.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel

_C1: Final = np.uint64(0x87C3_7B91_1142_53D5)
_C2: Final = np.uint64(0x4CF5_AD43_2745_937F)
_MIX1: Final = np.uint64(0xFF51_AFD7_ED55_8CCD)
_MIX2: Final = np.uint64(0xC4CE_B9FE_1A85_EC53)
_ADD1: Final = np.uint64(0x52DC_E729)
_ADD2: Final = np.uint64(0x3849_5AB5)
_FIVE: Final = np.uint64(5)
_HALF: Final = np.uint64(33)
_WORD: Final = np.uint64(64)
_EIGHT: Final = np.uint64(8)


@kernel
def hash_texts(data: np.ndarray, offsets: np.ndarray, seed: int, high: np.ndarray, low: np.ndarray) -> None:
    """Hash data[offsets[i]:offsets[i + 1]] (uint8, int64) into high[i] and low[i] (uint64)."""
    for i in range(len(high)):
        start, end = offsets[i], offsets[i + 1]
        h1 = h2 = np.uint64(seed)
        at = start
        while at + 16 <= end:
            h1 = _rotated(h1 ^ _k1(_eight(data, at)), 27) + h2
            h1 = h1 * _FIVE + _ADD1
            h2 = _rotated(h2 ^ _k2(_eight(data, at + 8)), 31) + h1
            h2 = h2 * _FIVE + _ADD2
            at += 16
        if end - at > 8:
            h1 ^= _k1(_eight(data, at))
            h2 ^= _k2(_fewer(data, at + 8, end))
        elif end > at:
            h1 ^= _k1(_fewer(data, at, end))
        high[i], low[i] = _finished(h1, h2, np.uint64(end - start))


@kernel
def hash_words(words: np.ndarray, seed: int, high: np.ndarray, low: np.ndarray) -> None:
    """Hash the 8 bytes of words[i] (uint64) into high[i] and low[i] (uint64)."""
    for i in range(len(high)):
        high[i], low[i] = _finished(np.uint64(seed) ^ _k1(words[i]), np.uint64(seed), _EIGHT)


@kernel
def _rotated(value: np.uint64, bits: int) -> np.uint64:
    shift = np.uint64(bits)
    return (value << shift) | (value >> (_WORD - shift))


@kernel
def _k1(word: np.uint64) -> np.uint64:
    return _rotated(word * _C1, 31) * _C2


@kernel
def _k2(word: np.uint64) -> np.uint64:
    return _rotated(word * _C2, 33) * _C1


@kernel
def _mixed(value: np.uint64) -> np.uint64:
    value = (value ^ (value >> _HALF)) * _MIX1
    value = (value ^ (value >> _HALF)) * _MIX2
    return value ^ (value >> _HALF)


@kernel
def _finished(h1: np.uint64, h2: np.uint64, length: np.uint64) -> tuple[np.uint64, np.uint64]:
    h1 ^= length
    h2 ^= length
    h1 += h2
    h2 += h1
    h1, h2 = _mixed(h1), _mixed(h2)
    h1 += h2
    return h1, h2 + h1


@kernel
def _eight(data: np.ndarray, at: int) -> np.uint64:
    word = np.uint64(0)
    for byte in range(8):
        word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    return word


@kernel
def _fewer(data: np.ndarray, at: int, end: int) -> np.uint64:
    word = np.uint64(0)
    for byte in range(end - at):
        word |= np.uint64(data[at + byte]) << np.uint64(8 * byte)
    return word
