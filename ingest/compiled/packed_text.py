"""Owns the JSON text of msgpack values that stay JSON: arrays that are no plain list. Writes it to the arena.

The text is what ingest.values.canonical gives. Values whose text Python has to find (binary, extensions, repeated
keys) are said not to be plain. Where the arena might not have the room, the array looks cut off.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from core.limits import NESTING_DEPTH_MAX
from ingest.compiled.json_text import fingerprint
from ingest.compiled.json_write_numbers import write_float, write_signed, write_unsigned
from ingest.compiled.json_write_texts import write_string
from ingest.compiled.kinds import K_BOOL, K_ERROR, K_FLOAT, K_INT, K_NULL, K_STR, K_UINT
from ingest.compiled.msgpack_values import P_ARRAY, P_MAP, read_value
from ingest.compiled.tape import length_of, start_of
from ingest.compiled.vectors import load8, store8, store64

# Bytes of text for each packed one: a control character becomes an escape of 6, an array's false is "false,".
TEXT_GROWTH_MAX: Final = 6

_KEYS_COMPARED_MAX: Final = 256  # keys of the maps open at one time; more are left to Python
_NULL: Final = int.from_bytes(b"null", "little")
_TRUE: Final = int.from_bytes(b"true", "little")
_FALSE: Final = int.from_bytes(b"false", "little")


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
        else:
            written = _write_scalar(src, head, kind, bits, out)
            plain = plain and written > 0
            out = max(out, written)
        while level >= outermost and left[level] == 0:
            if first_key[level] >= 0:
                key_count = first_key[level]
            store8(src, out, 93 if first_key[level] < 0 else 125)
            out += 1
            level -= 1
        if level < outermost:
            return pos, (out if plain else arena), plain


@kernel
def _write_scalar(src: int, head: int, kind: int, bits: int, out: int) -> int:
    """Write the value that begins with the byte `head`; returns the end, 0 where Python has to."""
    if kind == K_STR:
        return write_string(src, out, src, start_of(bits), length_of(bits))
    if kind == K_INT:
        return write_signed(src, out, bits)
    if kind == K_UINT:
        return write_unsigned(src, out, bits)
    if kind == K_FLOAT:
        return write_float(src, out, bits)
    if kind == K_NULL or kind == K_BOOL:
        return _write_word(src, head, out)
    return 0


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
def _write_word(src: int, head: int, out: int) -> int:
    """null, false or true, by the byte that stands for it."""
    word = _NULL if head == 0xC0 else _FALSE if head == 0xC2 else _TRUE
    store64(src, out, word)
    return out + (5 if head == 0xC2 else 4)
