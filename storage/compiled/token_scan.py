"""Owns finding the distinct tokens of texts and writing them into a bloom filter, compiled. Never knows a segment.

storage/tokens.py is the reference, docs/formats/segment_index.md the definition.

Texts are scanned as one run of bytes, 64 at a time, whatever their lengths; what a block holds is collected before it
is hashed, and hashed before it is looked up, so that neither a wrong guess of a length nor a slow load stops the rest.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from storage.compiled.constants import BLOCK_WORDS, HASH_END, HASH_LENGTH, HASH_SHIFT, HASH_WORD, SALTS
from storage.compiled.vectors import address_of, count_ones, load64, mask_word, prefetch, store64, trailing_zeros

TOO_MANY: Final = -1  # instead of a number of tokens

# Far more than chance explains: random hashes need about 100 at most in a table that is 5/8 full. Somebody chose the
# tokens, and must not make the flush slow.
_PROBES_MAX: Final = 1_000
_BATCH: Final = 1_024  # tokens that are collected before they are looked up: 16 KiB of places
SCRATCH: Final = (4, _BATCH + 64)  # places where tokens start and end, their hashes, and the longer ones of them
_AT_ONCE: Final = 12  # places that are written for every block, in use or not: more than most hold
_GROWTH: Final = 4

_LENGTH: Final = np.uint64(HASH_LENGTH)
_WORD: Final = np.uint64(HASH_WORD)
_END: Final = np.uint64(HASH_END)
_SHIFT: Final = np.uint64(HASH_SHIFT)
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)
_LAST: Final = np.uint64(63)
_HALF: Final = np.uint64(32)
_LOWER: Final = np.uint64(0xFFFF_FFFF)
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
    data: np.ndarray,
    offsets: np.ndarray,
    scratch: np.ndarray,
    table: np.ndarray,
    slots: int,
    distinct: np.ndarray,
    count: int,
) -> tuple[int, int]:
    """Add the tokens of the texts data[offsets[i]:offsets[i + 1]] to the `count` hashes of `distinct`.

    `table` is a hash table of them in its first `slots` (a power of two) uint64, 0 where free; it is grown within the
    array, whose length is a power of two as well. Returns (slots, count); count is TOO_MANY when one of the arrays
    would overflow or when the tokens were chosen to collide. PADDING bytes behind the last text must be readable.

    `scratch`, uint64 of SCRATCH, is the caller's because an array that is made here and used by its address only is
    freed by the compiler as soon as the address is taken.
    """
    base = address_of(data)
    starts, ends, hashes, longer = scratch[0], scratch[1], scratch[2], scratch[3]
    starts_at, ends_at = address_of(starts), address_of(ends)
    hashes_at, longer_at = address_of(hashes), address_of(longer)
    began = ended = 0  # a token whose end is in a later block has begun only
    text, place, last = 1, int(offsets[0]), int(offsets[-1])
    before = _ZERO  # 1 when the byte before `place` belongs to a word
    while place < last:
        word = mask_word(base, place)
        if last - place < 64:
            word &= (_ONE << np.uint64(last - place)) - _ONE
        cuts = _ZERO  # where texts begin
        while text < len(offsets) - 1 and offsets[text] < place + 64:
            cuts |= _ONE << np.uint64(offsets[text] - place)
            text += 1
        shifted = (word << _ONE) | before
        before = word >> _LAST
        began = _places(word & (~shifted | cuts), place, starts_at, began)
        ended = _places(shifted & (~word | cuts), place, ends_at, ended)
        place += 64
        if began >= _BATCH:
            _hash_all(base, starts_at, ends_at, ended, hashes_at, longer_at)
            slots, count = _add(hashes, ended, table, slots, distinct, count)
            if count < 0:
                return slots, count
            starts[0] = starts[ended]
            began, ended = began - ended, 0
    if began > ended:
        ends[ended] = last
    _hash_all(base, starts_at, ends_at, began, hashes_at, longer_at)
    return _add(hashes, began, table, slots, distinct, count)


@kernel
def _places(bits: np.uint64, base: int, places: int, used: int) -> int:
    """Append base + i to the array at `places` for each bit i; returns how many are used then."""
    following = used + count_ones(bits)
    for index in range(_AT_ONCE):
        store64(places, 8 * (used + index), base + trailing_zeros(bits))
        bits &= bits - _ONE
    used += _AT_ONCE
    while bits:
        store64(places, 8 * used, base + trailing_zeros(bits))
        bits &= bits - _ONE
        used += 1
    return following


@kernel
def _hash_all(base: int, starts: int, ends: int, tokens: int, hashes: int, longer: int) -> None:
    """Write the hash of each token to the array at `hashes`; the one at `longer` is scratch."""
    count = 0
    for place in range(0, 8 * tokens, 8):
        # The first 8 bytes of all tokens, without a branch: they are the whole of most.
        start = int(load64(starts, place))
        length = int(load64(ends, place)) - start
        store64(hashes, place, _mixed(np.uint64(length) * _LENGTH, _word(base, start, length)))
        store64(longer, 8 * count, place)
        count += int(length > 8)
    for index in range(count):
        place = int(load64(longer, 8 * index))
        start, end = int(load64(starts, place)) + 8, int(load64(ends, place))
        state = load64(hashes, place)
        while start < end:
            state = _mixed(state, _word(base, start, end - start))
            start += 8
        store64(hashes, place, state)
    for place in range(0, 8 * tokens, 8):
        state = load64(hashes, place) * _END
        state ^= state >> _SHIFT
        store64(hashes, place, state if state else _ONE)


@kernel
def _word(base: int, start: int, length: int) -> np.uint64:
    """Up to 8 bytes of a token, lowered, zero behind its end."""
    word = load64(base, start) & (_ALL >> np.uint64(64 - 8 * min(length, 8)))
    low = word & _LOW_BITS
    upper = ((low + _FROM_A) ^ (low + _BEYOND_Z)) & ~word & _TOP_BITS
    return word | (upper >> _TWO)


@kernel
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    state = (state ^ word) * _WORD
    return state ^ (state >> _SHIFT)


@kernel
def _add(
    hashes: np.ndarray, tokens: int, table: np.ndarray, slots: int, distinct: np.ndarray, count: int
) -> tuple[int, int]:
    """Add the first `tokens` of `hashes`; the rest as find_tokens has it."""
    if count + tokens > len(distinct):
        return slots, TOO_MANY
    at = address_of(table)
    while 8 * (count + tokens) > 5 * slots:  # measured: 10 % faster than half full, which takes four times the memory
        slots *= _GROWTH
        if slots > len(table):
            return slots, TOO_MANY
        table[:slots] = 0
        for index in range(count):
            if _insert(at, slots, distinct[index]) < 0:
                return slots, TOO_MANY
    for index in range(tokens):
        prefetch(at, 8 * (int(hashes[index]) & (slots - 1)))
    # Most tokens were seen before and stand where they are looked for first: these go without a branch.
    kept = 0
    for index in range(tokens):
        value = hashes[index]
        hashes[kept] = value
        kept += int(load64(at, 8 * (int(value) & (slots - 1))) != value)
    for index in range(kept):
        found = _insert(at, slots, hashes[index])
        if found < 0:
            return slots, TOO_MANY
        distinct[count] = hashes[index]
        count += found
    return slots, count


@kernel
def _insert(table: int, slots: int, value: np.uint64) -> int:
    """1 when `value` is new in the table, 0 when it was there, -1 when it finds no place."""
    slot = int(value) & (slots - 1)
    for _ in range(_PROBES_MAX):
        present = load64(table, 8 * slot)
        if present == value:
            return 0
        if present == _ZERO:
            store64(table, 8 * slot, value)
            return 1
        slot = (slot + 1) & (slots - 1)
    return -1


@kernel
def fill_blocks(hashes: np.ndarray, words: np.ndarray) -> None:
    """Add each of `hashes` to the filter `words` (uint32, BLOCK_WORDS a block)."""
    blocks = np.uint64(len(words) // BLOCK_WORDS)
    for value in hashes:
        first = int(((value >> _HALF) * blocks) >> _HALF) * BLOCK_WORDS
        low = np.uint32(value & _LOWER)
        for word in range(BLOCK_WORDS):
            words[first + word] |= np.uint32(1) << (np.uint32(low * _SALTS[word]) >> np.uint32(27))


@kernel
def mark_used(codes: np.ndarray, validity: np.ndarray, first: int, count: int, used: np.ndarray) -> None:
    """Set used[code] of codes[first:first + count] whose bit in `validity` is set; an empty one says all."""
    for place in range(first, first + count):
        code = codes[place]
        if 0 <= code < len(used):
            used[code] |= len(validity) == 0 or (validity[place >> 3] >> (place & 7)) & 1
