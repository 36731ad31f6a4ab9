"""Owns the JSON text of msgpack values that stay JSON: arrays that are no plain list. Writes it to the arena.

The text is what ingest.values.canonical gives. Values whose text Python has to find (floats, binary, extensions,
repeated keys) are said not to be plain, and so are those for which the arena might not have the room.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.limits import NESTING_DEPTH_MAX
from ingest.compiled.jit import kernel
from ingest.compiled.json_text import fingerprint
from ingest.compiled.kinds import K_BOOL, K_ERROR, K_INT, K_NULL, K_STR
from ingest.compiled.msgpack_values import P_ARRAY, P_MAP, read_value
from ingest.compiled.paths import copy_bytes
from ingest.compiled.tape import length_of, start_of
from ingest.compiled.vectors import load8, mask_string_end, store8, store64, trailing_zeros, wide

TEXT_GROWTH_MAX: Final = (
    6  # bytes of text for each packed one: a control character is \\u0001, an array's false "false,"
)

_KEYS_COMPARED_MAX: Final = 256  # keys of the maps open at one time; more are left to Python
_INT64_MIN: Final = -(1 << 63)
_NULL: Final = int.from_bytes(b"null", "little")
_TRUE: Final = int.from_bytes(b"true", "little")
_FALSE: Final = int.from_bytes(b"false", "little")
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)


def _short_escapes() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for char, letter in zip(b'"\\\b\f\n\r\t', b'"\\bfnrt', strict=True):
        table[char] = letter
    return table


_SHORT_ESCAPES: Final = _short_escapes()


@kernel
def write_json_text(src: int, start: int, end: int, level: int, arena: int) -> tuple[int, int, bool]:
    """(end, arena, plain) of the array at `start`; K_ERROR as end for what the reference must see.

    `level` is the array's own nesting level. When plain, its text stands between the old and the new arena, which has
    TEXT_GROWTH_MAX times the packed bytes and PADDING to spare.
    """
    left = np.empty(NESTING_DEPTH_MAX + 2, np.int64)  # values to come per level, a key and its value are two
    first_key = np.empty(NESTING_DEPTH_MAX + 2, np.int64)  # of the map there, -1 for an array
    fresh = np.empty(NESTING_DEPTH_MAX + 2, np.bool_)  # nothing stands in it yet
    keys = np.empty(_KEYS_COMPARED_MAX, np.int64)
    key_count = 0
    outermost = level
    level -= 1
    plain = True
    pos, out = start, arena
    while True:
        if pos >= end:
            return K_ERROR, arena, False
        head = load8(src, pos)
        kind, bits, pos = read_value(src, pos, end)
        if kind == K_ERROR or pos > end:
            return K_ERROR, arena, False
        if level >= outermost:
            if first_key[level] >= 0 and left[level] & 1 == 0:
                if kind != K_STR:
                    return K_ERROR, arena, False
                if key_count == len(keys):
                    plain = False
                else:
                    keys[key_count] = fingerprint(src, start_of(bits), length_of(bits))
                    plain = plain and _is_new(keys, first_key[level], key_count)
                    key_count += 1
            out = _write_separator(src, out, first_key[level] >= 0 and left[level] & 1 == 1, fresh[level])
            fresh[level] = False
            left[level] -= 1
        if kind == P_ARRAY or kind == P_MAP:
            level += 1
            if level > NESTING_DEPTH_MAX or bits > end - pos:
                return K_ERROR, arena, False
            first_key[level] = key_count if kind == P_MAP else -1
            left[level] = 2 * bits if kind == P_MAP else bits
            fresh[level] = True
            store8(src, out, 123 if kind == P_MAP else 91)
            out += 1
        elif kind == K_STR:
            out = _write_string(src, start_of(bits), length_of(bits), out)
        elif kind == K_INT and bits != _INT64_MIN:
            out = _write_integer(src, bits, out)
        elif kind == K_NULL or kind == K_BOOL:
            out = _write_word(src, head, out)
        else:
            plain = False
        while level >= outermost and left[level] == 0:
            if first_key[level] >= 0:
                key_count = first_key[level]
            store8(src, out, 93 if first_key[level] < 0 else 125)
            out += 1
            level -= 1
        if level < outermost:
            return pos, (out if plain else arena), plain


@kernel
def _is_new(keys: np.ndarray, first: int, last: int) -> bool:
    for other in range(first, last):
        if keys[other] == keys[last]:
            return False
    return True


@kernel
def _write_separator(src: int, out: int, is_value: bool, is_first: bool) -> int:
    if is_value:
        store8(src, out, 58)
        return out + 1
    if is_first:
        return out
    store8(src, out, 44)
    return out + 1


@kernel
def _write_string(src: int, start: int, length: int, out: int) -> int:
    """A string as json.dumps(ensure_ascii=False) writes it."""
    store8(src, out, 34)
    out += 1
    pos, end = start, start + length
    while pos < end:
        run = min(_plain_run(src, pos), end - pos)
        copy_bytes(src, out, src, pos, run)
        out += run
        pos += run
        if pos < end:
            out = _write_char(src, load8(src, pos), out)
            pos += 1
    store8(src, out, 34)
    return out + 1


@kernel
def _plain_run(src: int, pos: int) -> int:
    """Bytes from `pos` on that are no quote, backslash or control character; at most what 32 bytes say."""
    mask = mask_string_end(src, pos)
    run = 32 if mask == 0 else trailing_zeros(mask)
    while load8(src, pos + run) >= 0x80:
        run += 1
    return run


@kernel
def _write_char(src: int, char: int, out: int) -> int:
    """A character of ASCII that may need an escape."""
    short = _SHORT_ESCAPES[char]
    if short:
        store8(src, out, 92)
        store8(src, out + 1, wide(short))
        return out + 2
    if char >= 0x20:
        store8(src, out, char)
        return out + 1
    store8(src, out, 92)
    store8(src, out + 1, 117)
    store8(src, out + 2, 48)
    store8(src, out + 3, 48)
    store8(src, out + 4, 48 + (char >> 4))
    store8(src, out + 5, wide(_HEX[char & 15]))
    return out + 6


@kernel
def _write_integer(src: int, value: int, out: int) -> int:
    """A whole number above -2^63."""
    if value < 0:
        store8(src, out, 45)
        out += 1
        value = -value
    size = 1
    rest = value // 10
    while rest:
        size += 1
        rest //= 10
    for place in range(size - 1, -1, -1):
        store8(src, out + place, 48 + value % 10)
        value //= 10
    return out + size


@kernel
def _write_word(src: int, head: int, out: int) -> int:
    """null, false or true, by the byte that stands for it."""
    word = _NULL if head == 0xC0 else _FALSE if head == 0xC2 else _TRUE
    store64(src, out, word)
    return out + (5 if head == 0xC2 else 4)
