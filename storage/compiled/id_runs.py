"""Owns ordering, finding and merging ids by their 128-bit hashes, compiled. storage/dedup_index.py is the way in.

A run is sorted by (high, low). `starts[b]` is where the hashes whose topmost bits are b begin; hashes are uniform, so
between two starts there are a few, and whoever chose them to be many pays a binary search. `slices` are numbers modulo
2^16 of slices of time; one is live when it is at most 2^15 after `oldest`.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from storage.compiled.vectors import address_of, prefetch

_CROWDED: Final = 64  # in one bucket: no chance, somebody chose the hashes, or many are equal
_AHEAD: Final = 16  # ids ahead whose place is fetched: a cache miss takes about as long as those take
_LIVE: Final = 0x8000
_MASK: Final = 0xFFFF
_ZERO: Final = np.uint64(0)
_ONE: Final = np.uint64(1)


@kernel
def order_by_hash(high: np.ndarray, low: np.ndarray, shift: int, starts: np.ndarray, order: np.ndarray) -> bool:
    """Put into `order` (int64) the rows by (high, low, row); False when they crowd, and `order` means nothing.

    `starts` has 2^(64 - shift) + 1 zeros (int64).
    """
    bits = np.uint64(shift)
    for row in range(len(high)):
        starts[np.int64(high[row] >> bits) + 1] += 1
    for place in range(1, len(starts)):
        if starts[place] > _CROWDED:
            return False
        starts[place] += starts[place - 1]
    for row in range(len(high)):
        bucket = np.int64(high[row] >> bits)
        order[starts[bucket]] = row
        starts[bucket] += 1
    begin = 0
    for group in range(len(starts) - 1):
        end = starts[group]
        for place in range(begin + 1, end):
            row, at = order[place], place
            while at > begin and _after(high, low, order[at - 1], row):
                order[at] = order[at - 1]
                at -= 1
            order[at] = row
        begin = end
    return True


@kernel
def _after(high: np.ndarray, low: np.ndarray, one: int, other: int) -> bool:
    return high[one] > high[other] or (high[one] == high[other] and low[one] > low[other])


@kernel
def fill_starts(high: np.ndarray, shift: int, starts: np.ndarray) -> None:
    """Make the `starts` (uint32, 2^(64 - shift) + 1 of them) of a run."""
    bits = np.uint64(shift)
    bucket = 0
    for place in range(len(high)):
        of = np.int64(high[place] >> bits)
        while bucket <= of:
            starts[bucket] = place
            bucket += 1
    while bucket < len(starts):
        starts[bucket] = len(high)
        bucket += 1


@kernel
def find_known(
    high: np.ndarray,
    low: np.ndarray,
    run_high: np.ndarray,
    run_low: np.ndarray,
    run_slices: np.ndarray,
    shift: int,
    starts: np.ndarray,
    oldest: int,
    known: np.ndarray,
) -> None:
    """Set known[i] where the run holds (high[i], low[i]) in a live slice."""
    bits = np.uint64(shift)
    address = address_of(run_high)
    for i in range(len(high)):
        ahead = i + _AHEAD
        if ahead < len(high):
            prefetch(address, np.int64(starts[high[ahead] >> bits]) << 3)
        wanted = high[i]
        bucket = wanted >> bits
        begin, end = np.uint64(starts[bucket]), np.uint64(starts[bucket + _ONE])
        place, length = begin, end - begin
        while length > _ZERO:  # without a branch on what is found: most ids are new, and no CPU can guess the way
            half = (length + _ONE) >> _ONE
            place += half & (_ZERO - np.uint64(run_high[place + half - _ONE] < wanted))
            length -= half
        if place < end and run_high[place] == wanted:
            known[i] = _is_live(run_high, run_low, run_slices, place, end, wanted, low[i], oldest) or known[i]


@kernel
def _is_live(
    run_high: np.ndarray,
    run_low: np.ndarray,
    run_slices: np.ndarray,
    begin: np.uint64,
    end: np.uint64,
    high: np.uint64,
    low: np.uint64,
    oldest: int,
) -> bool:
    """Whether (high, low) is between begin and end, of which no hash is below (high, 0), in a live slice."""
    place, stop = np.int64(begin), np.int64(end)
    while place < stop:
        middle = (place + stop) >> 1
        if run_high[middle] == high and run_low[middle] < low:
            place = middle + 1
        else:
            stop = middle
    while place < np.int64(end) and run_high[place] == high and run_low[place] == low:
        if ((np.int64(run_slices[place]) - oldest) & _MASK) < _LIVE:
            return True
        place += 1
    return False


@kernel
def merge_live(
    a_high: np.ndarray,
    a_low: np.ndarray,
    a_slices: np.ndarray,
    b_high: np.ndarray,
    b_low: np.ndarray,
    b_slices: np.ndarray,
    oldest: int,
    high: np.ndarray,
    low: np.ndarray,
    slices: np.ndarray,
) -> int:
    """Merge two runs, without what is in slices that are not live, into one; returns its length."""
    i = j = count = _ZERO
    a_end, b_end = np.uint64(len(a_high)), np.uint64(len(b_high))
    while i < a_end and j < b_end:
        # Without a branch on which comes first, which no CPU can guess: measured, 4 ns an id instead of 10.
        before = np.uint64(a_high[i] < b_high[j])
        before |= np.uint64(a_high[i] == b_high[j]) & np.uint64(a_low[i] <= b_low[j])
        from_a, from_b = _ZERO - before, before - _ONE
        high[count] = (a_high[i] & from_a) | (b_high[j] & from_b)
        low[count] = (a_low[i] & from_a) | (b_low[j] & from_b)
        number = (np.uint64(a_slices[i]) & from_a) | (np.uint64(b_slices[j]) & from_b)
        slices[count] = number
        i += before
        j += _ONE - before
        count += np.uint64(((np.int64(number) - oldest) & _MASK) < _LIVE)
    for place in range(i, a_end):
        high[count], low[count], slices[count] = a_high[place], a_low[place], a_slices[place]
        count += np.uint64(((np.int64(a_slices[place]) - oldest) & _MASK) < _LIVE)
    for place in range(j, b_end):
        high[count], low[count], slices[count] = b_high[place], b_low[place], b_slices[place]
        count += np.uint64(((np.int64(b_slices[place]) - oldest) & _MASK) < _LIVE)
    return int(count)
