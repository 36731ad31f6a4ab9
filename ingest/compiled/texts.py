"""Owns JSON strings in kernels: finding their end, checking UTF-8, undoing escapes. Never keeps a string."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.vectors import copy32, load8, mask_string_end, store8, trailing_zeros, wide

BAD_STRING: Final = -1

_QUOTE: Final = 34
_BACKSLASH: Final = 92


def _escapes() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for char, meaning in zip(b'"\\/bfnrt', b'"\\/\b\f\n\r\t', strict=True):
        table[char] = meaning
    return table


def _hex_digits() -> np.ndarray:
    table = np.full(256, -1, np.int8)
    for char in b"0123456789abcdefABCDEF":
        table[char] = int(chr(char), 16)
    return table


_ESCAPES: Final = _escapes()
_HEX: Final = _hex_digits()


@kernel
def utf8_end(src: int, pos: int) -> int:
    """End of the non-ASCII character at `pos`, BAD_STRING when it is not well-formed (RFC 3629)."""
    first = load8(src, pos)
    second = load8(src, pos + 1)
    if first < 0xC2 or second & 0xC0 != 0x80:
        return BAD_STRING
    if first < 0xE0:
        return pos + 2
    if load8(src, pos + 2) & 0xC0 != 0x80:
        return BAD_STRING
    if first < 0xF0:
        if (first == 0xE0 and second < 0xA0) or (first == 0xED and second > 0x9F):
            return BAD_STRING
        return pos + 3
    if first > 0xF4 or load8(src, pos + 3) & 0xC0 != 0x80:
        return BAD_STRING
    if (first == 0xF0 and second < 0x90) or (first == 0xF4 and second > 0x8F):
        return BAD_STRING
    return pos + 4


@kernel
def plain_end(src: int, pos: int) -> int:
    """Position of the first quote, backslash or control character from `pos` on; BAD_STRING at invalid UTF-8."""
    while True:
        mask = mask_string_end(src, pos)
        if mask == 0:
            pos += 32
            continue
        pos += trailing_zeros(mask)
        if load8(src, pos) < 0x80:
            return pos
        while load8(src, pos) >= 0x80:
            pos = utf8_end(src, pos)
            if pos < 0:
                return BAD_STRING


@kernel
def scan_string(src: int, start: int, arena: int) -> tuple[int, int, int, int]:
    """(start, length, end behind the quote, arena) of the string whose text begins at `start`, or BAD_STRING as end.

    A string with escapes is written without them to `src` at `arena`, which moves behind it (with PADDING to spare).
    """
    pos = plain_end(src, start)
    if pos < 0:
        return start, 0, BAD_STRING, arena
    if load8(src, pos) == _QUOTE:
        return start, pos - start, pos + 1, arena
    return _unescape(src, start, pos, arena)


@kernel
def _unescape(src: int, start: int, pos: int, arena: int) -> tuple[int, int, int, int]:
    out = arena
    copied = start
    while True:
        length = pos - copied
        done = 0
        while done < length:
            copy32(src, out + done, src, copied + done)
            done += 32
        out += length
        char = load8(src, pos)
        if char == _QUOTE:
            return arena, out - arena, pos + 1, out
        if char != _BACKSLASH:
            return start, 0, BAD_STRING, arena
        escape = load8(src, pos + 1)
        meaning = _ESCAPES[escape]
        if meaning:
            store8(src, out, wide(meaning))
            out += 1
            pos += 2
        else:
            code, pos = _code_point(src, pos)
            if code < 0:
                return start, 0, BAD_STRING, arena
            out = write_utf8(src, out, code)
        copied = pos
        pos = plain_end(src, pos)
        if pos < 0:
            return start, 0, BAD_STRING, arena


@kernel
def _code_point(src: int, pos: int) -> tuple[int, int]:
    r"""(code point, end) of the \uXXXX or surrogate pair at `pos`; -1 when it is broken or half of a pair."""
    code = _unit(src, pos)
    if code < 0xD800 or code > 0xDFFF:
        return code, pos + 6
    low = _unit(src, pos + 6)
    if code > 0xDBFF or low < 0xDC00 or low > 0xDFFF:
        return -1, pos
    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00), pos + 12


@kernel
def _unit(src: int, pos: int) -> int:
    r"""The value of the \uXXXX at `pos`, -1 when there is none."""
    if load8(src, pos) != _BACKSLASH or load8(src, pos + 1) != 117:
        return -1
    code = 0
    for place in range(2, 6):
        digit = _HEX[load8(src, pos + place)]
        if digit < 0:
            return -1
        code = code * 16 + digit
    return code


@kernel
def write_utf8(target: int, out: int, code: int) -> int:
    """Write the code point at `out`; returns the position behind it."""
    if code < 0x80:
        store8(target, out, code)
        return out + 1
    if code < 0x800:
        store8(target, out, 0xC0 | code >> 6)
        store8(target, out + 1, 0x80 | code & 0x3F)
        return out + 2
    if code < 0x10000:
        store8(target, out, 0xE0 | code >> 12)
        store8(target, out + 1, 0x80 | code >> 6 & 0x3F)
        store8(target, out + 2, 0x80 | code & 0x3F)
        return out + 3
    store8(target, out, 0xF0 | code >> 18)
    store8(target, out + 1, 0x80 | code >> 12 & 0x3F)
    store8(target, out + 2, 0x80 | code >> 6 & 0x3F)
    store8(target, out + 3, 0x80 | code & 0x3F)
    return out + 4
