"""Owns finding the distinct tokens of texts and writing them into a bloom filter, compiled. storage/tokens.py is the
reference, docs/formats/segment_index.md the definition. Never allocates.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from storage.compiled.constants import BLOCK_WORDS, HASH_END, HASH_LENGTH, HASH_SHIFT, HASH_WORD, SALTS
from storage.compiled.vectors import address_of, load64, mask_word, trailing_zeros

# What stops a scan, beside the end.
FULL: Final = -1  # half of the table is used: grow it and go on at the same text, what is in stays in
CROWDED: Final = -2  # far more probes than chance explains: somebody chose the tokens

# At most half full, a table of a million random hashes has no run of more than about 100.
_PROBES_MAX: Final = 1_000

_LENGTH: Final = np.uint64(HASH_LENGTH)
_WORD: Final = np.uint64(HASH_WORD)
_END: Final = np.uint64(HASH_END)
_SHIFT: Final = np.uint64(HASH_SHIFT)
_ONE: Final = np.uint64(1)
_ALL: Final = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
_SALTS: Final = np.array(SALTS, np.uint32)

# Lowering 8 bytes at once: the top bit of a byte of (byte + 0x3F) says at least "A", of (byte + 0x25) beyond "Z".
_LOW_BITS: Final = np.uint64(0x7F7F_7F7F_7F7F_7F7F)
_TOP_BITS: Final = np.uint64(0x8080_8080_8080_8080)
_FROM_A: Final = np.uint64(0x3F3F_3F3F_3F3F_3F3F)
_BEYOND_Z: Final = np.uint64(0x2525_2525_2525_2525)
_TWO: Final = np.uint64(2)


@kernel
def find_tokens(
    data: np.ndarray, starts: np.ndarray, ends: np.ndarray, first: int, table: np.ndarray, count: int
) -> tuple[int, int, int]:
    """Put the hashes of all tokens of the texts data[starts[i]:ends[i]] from text `first` on into `table`.

    `table` has a power of two of uint64, 0 where free, `count` of them used. Returns (len(starts) or FULL or CROWDED,
    text to go on with, count). PADDING bytes behind the last text must be readable.
    """
    base = address_of(data)
    count_max = len(table) // 2
    for text in range(first, len(starts)):
        place, end = int(starts[text]), int(ends[text])
        token = -1  # where the token began that a block ended in
        while place < end:
            word = mask_word(base, place)
            if end - place < 64:
                word &= (_ONE << np.uint64(end - place)) - _ONE
            changes = word ^ (word << _ONE)
            if token >= 0:
                changes ^= _ONE
            while changes:
                at = place + trailing_zeros(changes)
                changes &= changes - _ONE
                if token < 0:
                    token = at
                    continue
                found = _insert(table, _hash(base, token, at - token))
                token = -1
                if found < 0:
                    return CROWDED, text, count
                count += found
                if count > count_max:
                    return FULL, text, count
            # A token that reaches the end of the block has no change behind it; one that ends the text has.
            place += 64
        if token >= 0:
            found = _insert(table, _hash(base, token, end - token))
            if found < 0:
                return CROWDED, text, count
            count += found
        if count > count_max:
            return FULL, text, count
    return len(starts), len(starts), count


@kernel
def _hash(base: int, start: int, length: int) -> np.uint64:
    state = np.uint64(length) * _LENGTH
    while length > 0:
        word = load64(base, start)
        if length < 8:
            word &= (_ONE << np.uint64(8 * length)) - _ONE
        low = word & _LOW_BITS
        upper = ((low + _FROM_A) ^ (low + _BEYOND_Z)) & ~word & _TOP_BITS
        state = (state ^ (word | (upper >> _TWO))) * _WORD
        state ^= state >> _SHIFT
        start += 8
        length -= 8
    state *= _END
    state ^= state >> _SHIFT
    return state if state else _ONE


@kernel
def _insert(table: np.ndarray, value: np.uint64) -> int:
    """1 when `value` is new in the table, 0 when it was there, -1 when it finds no place."""
    last = np.uint64(len(table) - 1)
    slot = value & last
    for _ in range(_PROBES_MAX):
        present = table[slot]
        if present == value:
            return 0
        if present == 0:
            table[slot] = value
            return 1
        slot = (slot + _ONE) & last
    return -1


@kernel
def move_tokens(table: np.ndarray, larger: np.ndarray) -> bool:
    """Put all of one table into an empty one; whether it succeeded."""
    for value in table:
        if value and _insert(larger, value) < 0:
            return False
    return True


@kernel
def fill_blocks(table: np.ndarray, words: np.ndarray) -> None:
    """Add each hash of `table` to the filter `words` (uint32, BLOCK_WORDS a block, zero before)."""
    blocks = np.uint64(len(words) // BLOCK_WORDS)
    for value in table:
        if value:
            block = ((value >> np.uint64(32)) * blocks) >> np.uint64(32)
            first = np.int64(block) * BLOCK_WORDS
            low = np.uint32(value & np.uint64(0xFFFF_FFFF))
            for word in range(BLOCK_WORDS):
                words[first + word] |= np.uint32(1) << (np.uint32(low * _SALTS[word]) >> np.uint32(27))
