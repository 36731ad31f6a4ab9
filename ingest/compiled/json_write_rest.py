"""Owns finding the members of `_rest` objects in kernels: where each key and value stands. Never reads a value.

The objects are what ingest.assemble and storage write. What is no JSON object is found out; whether a value that is
neither string, array nor object is a JSON value is not looked at.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.json_write_values import bit_at, span_at
from ingest.compiled.vectors import load8, load64, store64

MEMBER_BYTES_MIN: Final = 5  # '"":1,'

_BAD: Final = -1
_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_COMMA: Final = 0x2C
_COLON: Final = 0x3A
_OPEN: Final = 0x7B
_CLOSE: Final = 0x7D
_OPEN_LIST: Final = 0x5B
_CLOSE_LIST: Final = 0x5D
_BRACKET_MASK: Final = 0xDF  # takes the difference between [ and {, ] and } away
_SPACE: Final = 0x20
_START_BITS: Final = 32
_LENGTH_MASK: Final = (1 << _START_BITS) - 1


@kernel
def find_members(
    data: int, offsets: int, valid: int, valid_bit: int, keys: np.ndarray, values: np.ndarray, row_ends: np.ndarray
) -> int:
    """Find all members of the objects of a string column, row by row.

    Key (with its escapes, without quotes) and value of a member are start << 32 | length in `data`; a row's members end
    at row_ends[row]. Returns the row that is not an object, -1 when there is none.
    """
    count = 0
    for row in range(len(row_ends)):
        if valid == 0 or bit_at(valid, valid_bit + row):
            start, length = span_at(offsets, row)
            count = _find(data, start, start + length, keys, values, count)
            if count < 0:
                return row
        row_ends[row] = count
    return -1


@kernel
def _find(data: int, pos: int, end: int, keys: np.ndarray, values: np.ndarray, count: int) -> int:
    """Append the members of the object in `data` from `pos` to `end`; returns the count, _BAD when it is none."""
    pos = _token(data, pos, end)
    if _char(data, pos, end) != _OPEN:
        return _BAD
    pos = _token(data, pos + 1, end)
    if _char(data, pos, end) == _CLOSE:
        return count if _token(data, pos + 1, end) == end else _BAD
    while True:
        if _char(data, pos, end) != _QUOTE:
            return _BAD
        key_end = _string_end(data, pos, end)
        if key_end < 0:
            return _BAD
        colon = _token(data, key_end, end)
        if _char(data, colon, end) != _COLON:
            return _BAD
        value = _token(data, colon + 1, end)
        value_end = _value_end(data, value, end)
        if value_end <= value:
            return _BAD
        keys[count] = (pos + 1) << _START_BITS | (key_end - pos - 2)
        values[count] = value << _START_BITS | (value_end - value)
        count += 1
        pos = _token(data, value_end, end)
        char = _char(data, pos, end)
        pos = _token(data, pos + 1, end)
        if char == _CLOSE:
            return count if pos == end else _BAD
        if char != _COMMA:
            return _BAD


@kernel
def _char(data: int, pos: int, end: int) -> int:
    """The byte at `pos`, 0 behind the end."""
    return load8(data, pos) if 0 <= pos < end else 0


@kernel
def _token(data: int, pos: int, end: int) -> int:
    """Position of the first byte from `pos` on that is not white space, `end` when there is none."""
    while pos < end and load8(data, pos) <= _SPACE:
        pos += 1
    return pos


@kernel
def _string_end(data: int, pos: int, end: int) -> int:
    """Position behind the closing quote of the string whose opening one is at `pos`, _BAD when there is none."""
    pos += 1
    while pos < end:
        char = load8(data, pos)
        if char == _QUOTE:
            return pos + 1
        pos += 2 if char == _BACKSLASH else 1
    return _BAD


@kernel
def _value_end(data: int, pos: int, end: int) -> int:
    """Position behind the value at `pos`, _BAD when it has no end."""
    depth = 0
    while pos < end:
        char = load8(data, pos)
        if char == _QUOTE:
            pos = _string_end(data, pos, end)
            if pos < 0 or depth == 0:
                return pos
            continue
        if char & _BRACKET_MASK == _OPEN_LIST:
            depth += 1
        elif char & _BRACKET_MASK == _CLOSE_LIST:
            if depth == 0:
                return pos
            depth -= 1
            if depth == 0:
                return pos + 1
        elif depth == 0 and (char == _COMMA or char <= _SPACE):
            return pos
        pos += 1
    return _BAD


@kernel
def mark_members(first_row: int, rows: int, row_ends: int, slots: int, present: int, words: int) -> None:
    """Set the bit of each member's slot in the rows `first_row` … of `present`; all arrays by address."""
    member = load64(row_ends, 8 * first_row - 8) if first_row else 0
    for row in range(rows):
        end = load64(row_ends, 8 * (first_row + row))
        while member < end:
            slot = load64(slots, 8 * member)
            word = 8 * (row * words + (slot >> 6))
            store64(present, word, load64(present, word) | 1 << (slot & 63))
            member += 1


@kernel
def place_members(row: int, row_ends: int, slots: int, values: int, spans: int) -> None:
    """Put start and end of each value of `row` to `spans` (two int32 per slot); the last one of a path counts."""
    member = load64(row_ends, 8 * row - 8) if row else 0
    while member < load64(row_ends, 8 * row):
        value = load64(values, 8 * member)
        start = value >> _START_BITS
        end = start + (value & _LENGTH_MASK)
        store64(spans, 8 * load64(slots, 8 * member), start | end << 32)
        member += 1
