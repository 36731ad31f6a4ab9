"""Owns JSON values that stay JSON text: arrays that are no plain list. Writes their canonical form to the arena.

Canonical is what ingest.values.canonical gives: compact, unescaped, numbers in Python's own words. A value that would
need more than leaving out white space (odd floats, \\u escapes, repeated keys) is said not to be plain: Python does it.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from core.limits import NESTING_DEPTH_MAX
from ingest.compiled.kinds import K_ERROR, K_FLOAT, K_HARD_FLOAT
from ingest.compiled.numbers import scan_number
from ingest.compiled.paths import copy_bytes
from ingest.compiled.texts import plain_end, scan_string
from ingest.compiled.vectors import load8, load64, multiply_high, store8

BAD_TEXT: Final = -1

_KEYS_COMPARED_MAX: Final = 256  # keys of the objects open at one time; more are left to Python
_TRUE: Final = int.from_bytes(b"true", "little")
_FALSE: Final = int.from_bytes(b"false\0\0\0", "little")
_NULL: Final = int.from_bytes(b"null", "little")


@kernel
def literal_end(src: int, pos: int) -> int:
    """End of the true, false or null at `pos`, BAD_TEXT when there is none."""
    word = load64(src, pos)
    if word & 0xFFFFFFFF == _TRUE or word & 0xFFFFFFFF == _NULL:
        return pos + 4
    if word & 0xFFFFFFFFFF == _FALSE:
        return pos + 5
    return BAD_TEXT


@kernel
def skip_space(src: int, pos: int, newline: int) -> int:
    r"""The position of the next character that is no white space; `newline` is \n where it counts as such, else 32."""
    while True:
        char = load8(src, pos)
        if char > 32 or (char != 32 and char != 9 and char != 13 and char != newline):
            return pos
        pos += 1


@kernel
def scan_json_text(src: int, start: int, level: int, newline: int, arena: int) -> tuple[int, int, bool]:
    """(end, arena, plain) of the array at `start`; BAD_TEXT as end when it is no JSON or nested too deeply.

    `level` is the array's own nesting level. When plain, its canonical text stands between the old and the new arena.
    """
    objects = np.empty(NESTING_DEPTH_MAX + 1, np.int64)  # per level: first key of the object there, -1 for an array
    keys = np.empty(_KEYS_COMPARED_MAX, np.int64)
    key_count = 0
    outermost = level
    plain = True
    pos, out = start, arena
    while True:
        # A value begins at `pos`.
        char = load8(src, pos)
        if char == 91 or char == 123:
            if level > NESTING_DEPTH_MAX:
                return BAD_TEXT, arena, False
            objects[level] = key_count if char == 123 else -1
            level += 1
            store8(src, out, char)
            out += 1
            pos = skip_space(src, pos + 1, newline)
            if load8(src, pos) != char + 2:
                if char == 91:
                    continue
                pos, out, key_count, good = _key(src, pos, newline, out, keys, objects[level - 1], key_count)
                if pos < 0:
                    return BAD_TEXT, arena, False
                plain = plain and good
                continue
        else:
            pos, out, good = _scalar(src, pos, out)
            if pos < 0:
                return BAD_TEXT, arena, False
            plain = plain and good
            pos = skip_space(src, pos, newline)
        # Behind a value, or at the end of an empty container.
        while True:
            char = load8(src, pos)
            first_key = objects[level - 1]
            store8(src, out, char)
            out += 1
            if char == 44:
                pos = skip_space(src, pos + 1, newline)
                if first_key >= 0:
                    pos, out, key_count, good = _key(src, pos, newline, out, keys, first_key, key_count)
                    if pos < 0:
                        return BAD_TEXT, arena, False
                    plain = plain and good
                break
            if char != (93 if first_key < 0 else 125):
                return BAD_TEXT, arena, False
            if first_key >= 0:
                key_count = first_key
            level -= 1
            pos += 1
            if level == outermost:
                return pos, out, plain
            pos = skip_space(src, pos, newline)


@kernel
def _key(
    src: int, pos: int, newline: int, out: int, keys: np.ndarray, first: int, count: int
) -> tuple[int, int, int, bool]:
    """(position of the value, out, number of keys, plain) of the key at `pos`; BAD_TEXT as position when it is none."""
    if load8(src, pos) != 34:
        return BAD_TEXT, out, count, False
    end, out, plain = _string(src, pos, out)
    if end < 0:
        return BAD_TEXT, out, count, False
    if count == len(keys):
        plain = False
    else:
        key = fingerprint(src, pos, end - pos)
        for other in range(first, count):
            if keys[other] == key:
                plain = False
        keys[count] = key
        count += 1
    pos = skip_space(src, end, newline)
    if load8(src, pos) != 58:
        return BAD_TEXT, out, count, False
    store8(src, out, 58)
    return skip_space(src, pos + 1, newline), out + 1, count, plain


@kernel
def fingerprint(src: int, start: int, length: int) -> int:
    """64 bits of a key; keys that collide only cost time."""
    state = length
    done = 0
    while length - done >= 8:
        state = multiply_high(state ^ load64(src, start + done), 0x2545F4914F6CDD1D) ^ (state << 7)
        done += 8
    while done < length:
        state = (state ^ load8(src, start + done)) * 0x100000001B3
        done += 1
    return state


@kernel
def _string(src: int, pos: int, out: int) -> tuple[int, int, bool]:
    """(end, out, plain) of the string at `pos`, written as it stands; BAD_TEXT as end when it is broken."""
    end = plain_end(src, pos + 1)
    plain = True
    while end >= 0 and load8(src, end) == 92:
        escape = load8(src, end + 1)
        # What json.dumps writes in the same way; a \\u it writes as the character, a slash without the backslash.
        same = escape == 34 or escape == 92 or escape == 98 or escape == 102
        if not (same or escape == 110 or escape == 114 or escape == 116):
            plain = False
        end = plain_end(src, end + 2)
    if end < 0 or load8(src, end) != 34:
        return BAD_TEXT, out, False
    if not plain:
        _, _, checked, _ = scan_string(src, pos + 1, out)
        if checked != end + 1:
            return BAD_TEXT, out, False
    copy_bytes(src, out, src, pos, end + 1 - pos)
    return end + 1, out + end + 1 - pos, plain


@kernel
def _scalar(src: int, pos: int, out: int) -> tuple[int, int, bool]:
    """(end, out, plain) of the scalar at `pos`; BAD_TEXT as end when there is none."""
    char = load8(src, pos)
    if char == 34:
        return _string(src, pos, out)
    plain = True
    if char == 45 or 48 <= char <= 57:
        kind, _, end = scan_number(src, pos)
        if kind == K_ERROR:
            return BAD_TEXT, out, False
        if kind == K_FLOAT or kind == K_HARD_FLOAT:
            plain = kind == K_FLOAT and _is_shortest(src, pos, end)
        elif end - pos == 2 and char == 45 and load8(src, pos + 1) == 48:
            plain = False  # -0 is 0
    else:
        end = literal_end(src, pos)
        if end < 0:
            return BAD_TEXT, out, False
    copy_bytes(src, out, src, pos, end - pos)
    return end, out + end - pos, plain


@kernel
def _is_shortest(src: int, start: int, end: int) -> bool:
    """Whether Python writes this float the same way; sure for up to 15 digits without an exponent."""
    if end - start > 16 or (load8(src, start) == 45 and end - start > 17):
        return False
    first = start + 1 if load8(src, start) == 45 else start
    point = first
    while load8(src, point) != 46:
        if point >= end or load8(src, point) | 32 == 101:
            return False
        point += 1
    for pos in range(point + 1, end):
        if load8(src, pos) | 32 == 101:
            return False
    if load8(src, first) == 48 and load8(src, point + 1) == 48 and end - point > 2:
        return False  # small: perhaps with an exponent
    return load8(src, end - 1) != 48 or end - point == 2
