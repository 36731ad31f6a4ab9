"""Owns writing rows as JSON objects in kernels: which values a row has, and the objects around them.

Sixty-four rows at a time, the validity of all columns becomes one bitmap per row, so that a row costs as much as it has
values, however many columns there are.
"""

from __future__ import annotations

from typing import Final

from core.kernels import kernel
from ingest.compiled.json_write_layout import (
    ABOVE,
    DEPTH,
    DOTTED_END,
    DOTTED_START,
    FIRST,
    KEY_BYTES_MAX,
    KEY_END,
    KEY_START,
    LAST,
    LEVEL_BYTES,
    LEVELS,
    MAY_BE_BLOCKED,
    MAY_BE_REPLACED,
    NODE,
    NODE_BYTES,
    PARENT,
    SLOT_BYTES,
    STAMP,
)
from ingest.compiled.json_write_rest import mark_members, place_members
from ingest.compiled.json_write_values import (
    COLUMN_BYTES,
    DATA,
    KIND,
    MEMBER,
    PLACES,
    VALID,
    VALID_BIT,
    text_span,
    value_bytes_max,
    write_value,
)
from ingest.compiled.kinds import K_JSON
from ingest.compiled.paths import copy_bytes
from ingest.compiled.vectors import load8, load64, shift_right, store8, store64, trailing_zeros, wide

BLOCK_ROWS: Final = 64
SPARE_BYTES: Final = 192  # what closes the objects of a row, and what is written behind a value

_FULL: Final = -1
_QUOTE: Final = 0x22
_COMMA: Final = 0x2C
_OPEN: Final = 0x7B
_CLOSE: Final = 0x7D
_NEWLINE: Final = 0x0A
_EMPTY_OBJECT: Final = 0x7D7B  # '{}', the first character lowest

# Fields of a task, as bytes from its first: addresses, and two counts.
SLOTS: Final = 0  # these four: see json_write_layout
NODES: Final = 8
LEVEL_TABLE: Final = 16
TEXTS: Final = 24
COLUMNS: Final = 32  # one per slot, see json_write_values
SLOT_COUNT: Final = 40
WORDS: Final = 48  # int64 of a row's bitmap, a bit for each slot
PRESENT: Final = 56  # the bitmaps of BLOCK_ROWS rows
MEMBER_ENDS: Final = 64  # these four: see json_write_rest; 0 when there are no members
MEMBER_SLOTS: Final = 72
MEMBER_VALUES: Final = 80
MEMBER_SPANS: Final = 88


@kernel
def write_rows(task: int, row: int, row_count: int, target: int, limit: int, out: int) -> tuple[int, int]:
    """Write rows from `row` on to `target`; returns the row to go on with when it is full, and the end of the text.

    `target` holds `limit` bytes and SPARE_BYTES behind them.
    """
    words, present, members = load64(task, WORDS), load64(task, PRESENT), load64(task, MEMBER_ENDS)
    while row < row_count:
        count = min(BLOCK_ROWS, row_count - row)
        for word in range(count * words):
            store64(present, 8 * word, 0)
        for slot in range(load64(task, SLOT_COUNT)):
            _mark(load64(task, COLUMNS) + slot * COLUMN_BYTES, row, count, present, slot, words)
        if members:
            mark_members(row, count, members, load64(task, MEMBER_SLOTS), present, words)
        for place in range(count):
            if members:
                slots, values = load64(task, MEMBER_SLOTS), load64(task, MEMBER_VALUES)
                place_members(row, members, slots, values, load64(task, MEMBER_SPANS))
            end = _write_row(target, out, limit, task, present + 8 * words * place, row)
            if end == _FULL:
                return row, out
            out = end
            row += 1
    return row, out


@kernel
def _mark(column: int, row: int, count: int, bitmaps: int, slot: int, words: int) -> None:
    """Set the bit of `slot` in the bitmaps of the rows that have a value in `column`."""
    if load64(column, PLACES) == MEMBER:
        return
    valid = load64(column, VALID)
    bits = -1
    if valid:
        first = load64(column, VALID_BIT) + row
        shift = first & 7
        bits = shift_right(load8(valid, first >> 3), shift)
        for byte in range(1, (shift + count + 7) >> 3):
            bits |= load8(valid, (first >> 3) + byte) << (8 * byte - shift)
    if count < BLOCK_ROWS:
        bits &= (1 << count) - 1
    at = 8 * (slot >> 6)
    bit = 1 << (slot & 63)
    while bits:
        word = at + 8 * words * trailing_zeros(bits)
        store64(bitmaps, word, load64(bitmaps, word) | bit)
        bits &= bits - 1


@kernel
def _write_row(target: int, out: int, limit: int, task: int, present: int, row: int) -> int:
    """Write one object and its line end; returns the end of it, or _FULL."""
    start = out
    node = wide(0)  # the innermost object that is open
    for word in range(load64(task, WORDS)):
        bits = load64(present, 8 * word)
        while bits:
            number = 64 * word + trailing_zeros(bits)
            bits &= bits - 1
            slot = load64(task, SLOTS) + number * SLOT_BYTES
            column = load64(task, COLUMNS) + number * COLUMN_BYTES
            if load64(slot, MAY_BE_REPLACED) and _is_replaced(task, present, number):
                continue
            if load64(slot, NODE) >= 0 and _gives_way(task, present, slot, column, row):
                continue
            if out + load64(slot, KEY_BYTES_MAX) + value_bytes_max(column, row) > limit:
                return _FULL
            out, node = _close_to(target, out, task, node, number)
            store8(target, out, _COMMA)
            out, node = _write_key(target, out + 1, task, node, slot, row)
            out = write_value(target, out, column, row)
    if out > limit:
        return _FULL
    if out == start:
        out += 1
    store8(target, start, _OPEN)  # in the place of the first comma
    while node:
        store8(target, out, _CLOSE)
        out += 1
        node = load64(load64(task, NODES) + node * NODE_BYTES, ABOVE)
    store8(target, out, _CLOSE)
    store8(target, out + 1, _NEWLINE)
    return out + 2


@kernel
def _has_value(present: int, number: int) -> bool:
    return shift_right(load64(present, 8 * (number >> 6)), number & 63) & 1 == 1


@kernel
def _is_replaced(task: int, present: int, number: int) -> bool:
    """Whether a later slot of the same path has a value in this row."""
    while load64(load64(task, SLOTS) + number * SLOT_BYTES, MAY_BE_REPLACED):
        number += 1
        if _has_value(present, number):
            return True
    return False


@kernel
def _gives_way(task: int, present: int, slot: int, column: int, row: int) -> bool:
    """Whether the value of a slot is the empty object, and values of other slots will make that object.

    Any other value is noted as being in the place of the object.
    """
    node = load64(task, NODES) + load64(slot, NODE) * NODE_BYTES
    if load64(column, KIND) == K_JSON:
        start, length = text_span(column, row)
        data = load64(column, DATA)
        if length == 2 and load8(data, start) | load8(data, start + 1) << 8 == _EMPTY_OBJECT:
            if load64(slot, MAY_BE_BLOCKED) and _is_blocked(task, slot, row):
                return False
            number = load64(node, FIRST)
            while number <= load64(node, LAST) and not _has_value(present, number):
                number += 1
            return number <= load64(node, LAST)
    store64(node, STAMP, row + 1)
    return False


@kernel
def _close_to(target: int, out: int, task: int, node: int, number: int) -> tuple[int, int]:
    """Close open objects up to the one that slot `number` is in or below; returns (end, that object)."""
    while node:
        entry = load64(task, NODES) + node * NODE_BYTES
        if load64(entry, FIRST) <= number <= load64(entry, LAST):
            break
        store8(target, out, _CLOSE)
        out += 1
        node = load64(entry, ABOVE)
    return out, node


@kernel
def _write_key(target: int, out: int, task: int, node: int, slot: int, row: int) -> tuple[int, int]:
    """Write the keys of a slot that are not open yet; returns (end, the innermost object that is open then).

    Where a value stands in the place of an object, the keys from there on are one with dots.
    """
    depth = load64(load64(task, NODES) + node * NODE_BYTES, DEPTH)
    level = load64(task, LEVEL_TABLE) + (load64(slot, LEVELS) + depth) * LEVEL_BYTES
    if load64(slot, MAY_BE_BLOCKED) and _is_blocked(task, slot, row):
        store8(target, out, _QUOTE)
        start = load64(level, DOTTED_START)
        length = load64(slot, DOTTED_END) - start
        out += 1
    else:
        start = load64(level, KEY_START)
        length = load64(slot, KEY_END) - start
        node = load64(slot, PARENT)
    copy_bytes(target, out, load64(task, TEXTS), start, length)
    return out + length, node


@kernel
def _is_blocked(task: int, slot: int, row: int) -> bool:
    """Whether a value of this row stands in the place of an object that the slot is in."""
    node = load64(slot, PARENT)
    while node:
        entry = load64(task, NODES) + node * NODE_BYTES
        if load64(entry, STAMP) == row + 1:
            return True
        node = load64(entry, ABOVE)
    return False
