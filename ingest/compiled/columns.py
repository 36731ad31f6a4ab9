"""Owns the way from the tape to Arrow buffers: entries by column, then one gather per column. Never makes objects."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.kinds import K_NULL
from ingest.compiled.paths import copy_bytes, hash_bytes, same_bytes
from ingest.compiled.tape import DROPPED, Tape, length_of, start_of
from ingest.compiled.vectors import PADDING, address_of, item32, load64, prefetch, set_item32, store64, wide
from ingest.row_columns import DICTIONARY_PROBE, DICTIONARY_REPETITION_MIN

_PREFETCH_AHEAD: Final = 40  # entries (measured: 16 is a third slower); their texts lie all over the input


@kernel
def count_entries(column: np.ndarray, entries: int, columns: int) -> np.ndarray:
    """Number of entries per column (int64)."""
    counts = np.zeros(columns + 1, np.int64)  # the first is that of DROPPED, -1
    of_entry, count_of = address_of(column), address_of(counts) + 8
    for entry in range(entries):
        at = 8 * item32(of_entry, entry)
        store64(count_of, at, load64(count_of, at) + 1)
    return counts[1:]


@kernel
def retarget(column: np.ndarray, bits: np.ndarray, entries: int, target: np.ndarray, new_bits: np.ndarray) -> None:
    """Give each entry of a column whose target is another one to it, with the new bits of its column."""
    for entry in range(entries):
        index = column[entry]
        if index != DROPPED and target[index] != index:
            column[entry] = target[index]
            bits[entry] = new_bits[index]


@kernel
def sort_entries(tape: Tape, rows: int, counts: np.ndarray) -> np.ndarray:
    """Fill tape.sorted_rows and sorted_bits: entries by column, then by row. Returns the start of each column."""
    starts = np.zeros(len(counts) + 1, np.int64)
    for index in range(len(counts)):
        starts[index + 1] = starts[index] + counts[index]
    next_place = starts.copy()
    column, bits, row_end = tape.column, address_of(tape.bits), tape.row_end
    sorted_rows, sorted_bits = address_of(tape.sorted_rows), address_of(tape.sorted_bits)
    of_entry = address_of(column)
    entry = 0
    for row in range(rows):
        end = wide(row_end[row])
        while entry < end:
            index = item32(of_entry, entry)
            if index != DROPPED:
                place = next_place[index]
                next_place[index] = place + 1
                set_item32(sorted_rows, place, row)
                store64(sorted_bits, 8 * place, load64(bits, 8 * entry))
            entry += 1
    return starts


@kernel
def fill_bitmap(rows: np.ndarray, bitmap: np.ndarray) -> None:
    """Set a bit for each of `rows` in a bitmap of zeros."""
    for entry in range(len(rows)):
        row = wide(rows[entry])
        bitmap[row >> 3] |= 1 << (row & 7)


@kernel
def fill_bools(rows: np.ndarray, bits: np.ndarray, bitmap: np.ndarray) -> None:
    """Set the bit of each row to its value in a bitmap of zeros."""
    for entry in range(len(rows)):
        row = wide(rows[entry])
        bitmap[row >> 3] |= bits[entry] << (row & 7)


@kernel
def fill_words(rows: np.ndarray, bits: np.ndarray, words: np.ndarray) -> None:
    """One value per row (int64, or int32 for dictionary indices); those of rows without one are zero already."""
    if len(rows) == len(words):
        words[:] = bits
        return
    for entry in range(len(rows)):
        words[rows[entry]] = bits[entry]


@kernel
def fill_offsets(rows: np.ndarray, bits: np.ndarray, offsets: np.ndarray) -> int:
    """Where the text or list of each row begins (and the last one ends), rows without one empty; returns the end."""
    total = 0
    row = 0
    for entry in range(len(rows)):
        here = wide(rows[entry])
        while row <= here:
            offsets[row] = total
            row += 1
        total += length_of(bits[entry])
    while row < len(offsets):
        offsets[row] = total
        row += 1
    return total


@kernel
def validity(rows: np.ndarray, row_count: int) -> np.ndarray:
    """Arrow's bitmap over `row_count` rows with a bit set for each of `rows`."""
    bitmap = np.zeros((row_count + 7) // 8, np.uint8)
    fill_bitmap(rows, bitmap)
    return bitmap


@kernel
def gather_words(rows: np.ndarray, bits: np.ndarray, row_count: int) -> np.ndarray:
    """One 64-bit value per row, 0 where there is none."""
    values = np.zeros(row_count, np.int64)
    fill_words(rows, bits, values)
    return values


@kernel
def gather_bools(rows: np.ndarray, bits: np.ndarray, row_count: int) -> np.ndarray:
    """A bitmap of the values."""
    values = np.zeros((row_count + 7) // 8, np.uint8)
    fill_bools(rows, bits, values)
    return values


@kernel
def gather_texts(src: np.ndarray, rows: np.ndarray, bits: np.ndarray, row_count: int) -> tuple[np.ndarray, np.ndarray]:
    """(offsets (int32), bytes with PADDING behind them), an empty text where a row has none."""
    offsets = np.empty(row_count + 1, np.int32)
    total = fill_offsets(rows, bits, offsets)
    data = np.empty(total + PADDING, np.uint8)
    source, target = address_of(src), address_of(data)
    out = 0
    for entry in range(len(rows)):
        length = length_of(bits[entry])
        copy_bytes(target, out, source, start_of(bits[entry]), length)
        out += length
    return offsets, data


@kernel
def find_dictionary(src: np.ndarray, bits: np.ndarray, seed: int, numbers: np.ndarray, different: np.ndarray) -> int:
    """Number of different texts, 0 where a dictionary does not pay: see DICTIONARY_REPETITION_MIN.

    Writes to `numbers` (int32) which of them each entry has, and to `different` their bits in order of appearance;
    both have as much room as there are entries.
    """
    count = len(bits)
    source = address_of(src)
    limit = count // DICTIONARY_REPETITION_MIN
    size = 64
    while size < 4 * min(limit, DICTIONARY_PROBE):
        size *= 2
    slots = np.zeros(size, np.int32)
    texts, slots_at, different_at = address_of(bits), address_of(slots), address_of(different)
    found = 0
    for entry in range(count):
        if entry == DICTIONARY_PROBE and found * DICTIONARY_REPETITION_MIN > DICTIONARY_PROBE:
            return 0
        ahead = start_of(load64(texts, 8 * min(entry + _PREFETCH_AHEAD, count - 1)))
        prefetch(source, ahead)
        prefetch(source, ahead + 31)  # where 32 bytes end may be another line
        text = load64(texts, 8 * entry)
        start, length = start_of(text), length_of(text)
        slot = hash_bytes(source, start, length, 0, seed) & (size - 1)
        while True:
            number = item32(slots_at, slot) - 1
            if number < 0:
                if found == limit:
                    return 0
                number = found
                different[found] = text
                found += 1
                slots[slot] = found
                if found * 2 > size:
                    size *= 4
                    slots = _rehashed(source, different, found, size, seed)
                    slots_at = address_of(slots)
                break
            known = load64(different_at, 8 * number)
            if length_of(known) == length and same_bytes(source, start_of(known), source, start, length):
                break
            slot = (slot + 1) & (size - 1)
        numbers[entry] = number
    return found


@kernel
def _rehashed(source: int, different: np.ndarray, found: int, size: int, seed: int) -> np.ndarray:
    slots = np.zeros(size, np.int32)
    for number in range(found):
        known = different[number]
        slot = hash_bytes(source, start_of(known), length_of(known), 0, seed) & (size - 1)
        while slots[slot]:
            slot = (slot + 1) & (size - 1)
        slots[slot] = number + 1
    return slots


@kernel
def gather_items(
    rows: np.ndarray, bits: np.ndarray, row_count: int, item_kind: np.ndarray, item_bits: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(list offsets (int32), places of the items that are not null (int32), their bits), rows without a list empty."""
    offsets = np.empty(row_count + 1, np.int32)
    total = fill_offsets(rows, bits, offsets)
    places = np.empty(total, np.int32)
    values = np.empty(total, np.int64)
    place = 0
    present = 0
    for entry in range(len(rows)):
        first = start_of(bits[entry])
        for item in range(first, first + length_of(bits[entry])):
            if item_kind[item] != K_NULL:
                places[present] = place
                values[present] = item_bits[item]
                present += 1
            place += 1
    return offsets, places[:present], values[:present]
