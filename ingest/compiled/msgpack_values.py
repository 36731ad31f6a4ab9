"""Owns reading one msgpack value in kernels: what stands at a position, and where it ends. Decides on no column.

Source: the msgpack specification (2.0). Extension -1 is its timestamp; NUMBER_EXT and INSTANT_EXT are Malamute's own,
for Python values that msgpack has no type for.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.kinds import (
    K_BIN,
    K_BOOL,
    K_DECIMAL,
    K_ERROR,
    K_FLOAT,
    K_INT,
    K_NULL,
    K_STR,
    K_TIME,
    K_UINT,
)
from ingest.compiled.tape import (
    pack,
)
from ingest.compiled.texts import BAD_STRING, utf8_end
from ingest.compiled.vectors import (
    address_of,
    bits_of,
    float32_of,
    load8,
    load64,
    mask_non_ascii,
    shift_right,
    swap_bytes,
    trailing_zeros,
)

NUMBER_EXT: Final = 1  # a number beyond 64 bits, as its text
INSTANT_EXT: Final = 2  # UTC microseconds, int64 big-endian

# What stands at a position, beside the kinds of a value.
P_ARRAY: Final = 20
P_MAP: Final = 21


@kernel
def _big_endian(src: int, pos: int, size: int) -> int:
    """The unsigned number in `size` (1 to 8) bytes at `pos`, as a bit pattern."""
    return shift_right(swap_bytes(load64(src, pos)), 64 - 8 * size)


@kernel
def _signed(value: int, size: int) -> int:
    shift = 64 - 8 * size
    return (value << shift) >> shift


@kernel
def read_value(src: int, pos: int, end: int) -> tuple[int, int, int]:
    """(kind, bits, position behind it) of the value at `pos`; K_ERROR when it is cut off or of no known type.

    Bits of text and binary are where it stands; of P_ARRAY and P_MAP the number of elements, which begin behind it.
    """
    head = load8(src, pos)
    pos += 1
    if head <= 0x7F:
        return K_INT, head, pos
    if head >= 0xE0:
        return K_INT, head - 0x100, pos
    if 0xA0 <= head <= 0xBF:
        return _text(src, K_STR, pos, head & 0x1F, end)
    if head <= 0x8F:
        return P_MAP, head & 0xF, pos
    if head <= 0x9F:
        return P_ARRAY, head & 0xF, pos
    if head == 0xC0:
        return K_NULL, 0, pos
    if head == 0xC2 or head == 0xC3:
        return K_BOOL, head & 1, pos
    if 0xCC <= head <= 0xD3:
        size = 1 << (head & 3)
        value = _big_endian(src, pos, size)
        if head >= 0xD0:
            return K_INT, _signed(value, size), pos + size
        return (K_UINT if value < 0 else K_INT), value, pos + size
    if head == 0xCB:
        return K_FLOAT, _big_endian(src, pos, 8), pos + 8
    if head == 0xCA:
        return K_FLOAT, bits_of(float32_of(_big_endian(src, pos, 4))), pos + 4
    if 0xD9 <= head <= 0xDB:
        size = 1 << (head - 0xD9)
        return _text(src, K_STR, pos + size, _big_endian(src, pos, size), end)
    if 0xC4 <= head <= 0xC6:
        size = 1 << (head - 0xC4)
        return _text(src, K_BIN, pos + size, _big_endian(src, pos, size), end)
    if 0xDC <= head <= 0xDF:
        size = 2 if head & 1 == 0 else 4
        return (P_ARRAY if head <= 0xDD else P_MAP), _big_endian(src, pos, size), pos + size
    if 0xD4 <= head <= 0xD8:
        return _extension(src, pos, 1 << (head - 0xD4), end)
    if 0xC7 <= head <= 0xC9:
        size = 1 << (head - 0xC7)
        return _extension(src, pos + size, _big_endian(src, pos, size), end)
    return K_ERROR, 0, pos


@kernel
def _text(src: int, kind: int, start: int, length: int, end: int) -> tuple[int, int, int]:
    if length > end - start or (kind == K_STR and not _is_utf8(src, start, length)):
        return K_ERROR, 0, start
    return kind, pack(start, length), start + length


@kernel
def _is_utf8(src: int, start: int, length: int) -> bool:
    pos, end = start, start + length
    while pos < end:
        mask = mask_non_ascii(src, pos)
        if mask == 0:
            pos += 32
            continue
        pos += trailing_zeros(mask)
        while pos < end and load8(src, pos) >= 0x80:
            pos = utf8_end(src, pos)
            if pos == BAD_STRING or pos > end:
                return False
    return True


@kernel
def _extension(src: int, pos: int, length: int, end: int) -> tuple[int, int, int]:
    """An extension whose type byte is at `pos`."""
    code = load8(src, pos)
    pos += 1
    behind = pos + length
    if length > end - pos:
        return K_ERROR, 0, pos
    if code == NUMBER_EXT and _is_number(src, pos, behind):
        return K_DECIMAL, pack(pos, length), behind
    if code == INSTANT_EXT and length == 8:
        return K_TIME, _big_endian(src, pos, 8), behind
    if code != 0xFF:
        return K_ERROR, 0, pos
    if length == 4:
        return K_TIME, _big_endian(src, pos, 4) * 1_000_000, behind
    if length == 8:
        packed = _big_endian(src, pos, 8)
        nanoseconds = shift_right(packed, 34)
        if nanoseconds > 999_999_999:
            return K_ERROR, 0, pos
        return K_TIME, (packed & 0x3FFFFFFFF) * 1_000_000 + nanoseconds // 1000, behind
    if length == 12:
        nanoseconds, seconds = _big_endian(src, pos, 4), _big_endian(src, pos + 4, 8)
        if nanoseconds > 999_999_999 or not -9_000_000_000_000 <= seconds <= 9_000_000_000_000:
            return K_ERROR, 0, pos
        return K_TIME, seconds * 1_000_000 + nanoseconds // 1000, behind
    return K_ERROR, 0, pos


@kernel
def _is_number(src: int, pos: int, end: int) -> bool:
    """Whether the text is a JSON number."""
    if pos < end and load8(src, pos) == 45:
        pos += 1
    first = pos
    pos = _digits_end(src, pos, end)
    if pos == first or (pos - first > 1 and load8(src, first) == 48):
        return False
    if pos < end and load8(src, pos) == 46:
        first = pos + 1
        pos = _digits_end(src, first, end)
        if pos == first:
            return False
    if pos < end and load8(src, pos) | 32 == 101:
        first = pos + 1
        if first < end and (load8(src, first) == 43 or load8(src, first) == 45):
            first += 1
        pos = _digits_end(src, first, end)
        if pos == first:
            return False
    return pos == end


@kernel
def _digits_end(src: int, pos: int, end: int) -> int:
    while pos < end and 48 <= load8(src, pos) <= 57:
        pos += 1
    return pos


@kernel
def skip_value(src: np.ndarray, start: int, end: int) -> int:
    """End of the whole value at `start`; K_ERROR when it is cut off or of no known type. Text is not checked here."""
    at = address_of(src)
    pos = start
    left = 1
    while left:
        if pos >= end:
            return K_ERROR
        head = load8(at, pos)
        size = 0
        if 0xA0 <= head <= 0xBF:
            size = head & 0x1F
            pos += 1
        elif 0xD9 <= head <= 0xDB:
            width = 1 << (head - 0xD9)
            size = _big_endian(at, pos + 1, width)
            pos += 1 + width
        elif head == 0xC1:
            return K_ERROR
        elif 0xC7 <= head <= 0xC9 or 0xD4 <= head <= 0xD8:
            width = 1 << (head - 0xC7) if head <= 0xC9 else 0
            size = (_big_endian(at, pos + 1, width) if width else 1 << (head - 0xD4)) + 1
            pos += 1 + width
        else:
            kind, count, pos = read_value(at, pos, end)
            if kind == K_ERROR:
                return K_ERROR
            if kind == P_ARRAY:
                left += count
            elif kind == P_MAP:
                left += 2 * count
        if size > end - pos or left > end - start + 1:
            return K_ERROR
        pos += size
        left -= 1
    return pos if pos <= end else K_ERROR
