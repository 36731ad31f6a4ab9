"""Owns JSON arrays in kernels: lists of one scalar kind become items, everything else JSON text."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from core.limits import NESTING_DEPTH_MAX
from ingest.compiled.json_text import literal_end, scan_json_text, skip_space
from ingest.compiled.kinds import (
    K_BOOL,
    K_DECIMAL,
    K_EMPTY_LIST,
    K_ERROR,
    K_FLOAT,
    K_HARD_FLOAT,
    K_INT,
    K_JSON,
    K_LIST,
    K_NULL,
    K_STR,
    K_UINT,
)
from ingest.compiled.numbers import scan_number
from ingest.compiled.tape import pack
from ingest.compiled.texts import scan_string
from ingest.compiled.vectors import load8

NESTED: Final = -2


@kernel
def scan_array(
    src: int,
    start: int,
    level: int,
    newline: int,
    arena: int,
    items: int,
    item_kind: np.ndarray,
    item_bits: np.ndarray,
) -> tuple[int, int, int, int, int, bool]:
    """(kind, bits, end, arena, items, plain) of the array at `start`, K_ERROR as kind for what the reference must see.

    `level` is the array's own nesting level. A K_JSON that is not plain has its own text as bits.
    """
    if level > NESTING_DEPTH_MAX:
        return K_ERROR, 0, start, arena, items, True
    kinds, end, list_arena, list_end = _scan_items(src, start, newline, arena, items, item_kind, item_bits)
    if end == K_ERROR:
        return K_ERROR, 0, start, arena, items, True
    if end != NESTED:
        count = list_end - items
        if count == 0:
            return K_EMPTY_LIST, 0, end, arena, items, True
        for kind in (K_BOOL, K_INT, K_UINT, K_FLOAT, K_STR):
            if kinds == 1 << kind:
                return K_LIST + kind, pack(items, count), end, list_arena, list_end, True
    end, text_arena, plain = scan_json_text(src, start, level, newline, arena)
    if end < 0:
        return K_ERROR, 0, start, arena, items, True
    if plain:
        return K_JSON, pack(arena, text_arena - arena), end, text_arena, items, True
    return K_JSON, pack(start, end - start), end, arena, items, False


@kernel
def _scan_items(
    src: int, start: int, newline: int, arena: int, items: int, item_kind: np.ndarray, item_bits: np.ndarray
) -> tuple[int, int, int, int]:
    """(set of kinds without null, end, arena, items); the end is NESTED or K_ERROR where this is no list of scalars."""
    kinds = 0
    pos = skip_space(src, start + 1, newline)
    if load8(src, pos) == 93:
        return 0, pos + 1, arena, items
    while True:
        char = load8(src, pos)
        if char == 34:
            kind = K_STR
            text, length, pos, arena = scan_string(src, pos + 1, arena)
            if pos < 0:
                return 0, K_ERROR, arena, items
            bits = pack(text, length)
        elif char == 45 or 48 <= char <= 57:
            kind, bits, pos = scan_number(src, pos)
            if kind == K_ERROR or kind == K_HARD_FLOAT:
                return 0, K_ERROR, arena, items
            if kind == K_DECIMAL:
                return 0, NESTED, arena, items
        elif char == 91 or char == 123:
            return 0, NESTED, arena, items
        else:
            kind = K_NULL if char == 110 else K_BOOL
            bits = 1 if char == 116 else 0
            pos = literal_end(src, pos)
            if pos < 0:
                return 0, K_ERROR, arena, items
        item_kind[items] = kind
        item_bits[items] = bits
        items += 1
        if kind != K_NULL:
            kinds |= 1 << kind
        pos = skip_space(src, pos, newline)
        char = load8(src, pos)
        if char == 93:
            return kinds, pos + 1, arena, items
        if char != 44:
            return 0, K_ERROR, arena, items
        pos = skip_space(src, pos + 1, newline)
