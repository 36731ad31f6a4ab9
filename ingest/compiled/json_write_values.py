"""Owns one value of an Arrow column as JSON in kernels: where it lies, how long it can get, its text.

A column is a row of int64, COLUMN_BYTES long: addresses with the array's offset already in them, so that its first
value is at row 0.
"""

from __future__ import annotations

from typing import Final

from core.kernels import kernel
from ingest.compiled.json_write_numbers import write_float, write_signed, write_unsigned
from ingest.compiled.json_write_texts import write_base64, write_json, write_string, write_time
from ingest.compiled.kinds import K_BIN, K_DECIMAL, K_FLOAT, K_INT, K_JSON, K_LIST, K_STR, K_TIME, K_UINT
from ingest.compiled.vectors import load8, load64, shift_right, store8, store64

# Fields of a column, as bytes from its first.
KIND: Final = 0
VALID: Final = 8  # address of the validity bitmap, 0 = all rows are valid
VALID_BIT: Final = 16  # where row 0 is in it
DATA: Final = 24  # address of the values, of the bytes of texts, of a list's items
OFFSETS: Final = 32  # address of the offsets of texts; for booleans the bit of row 0
PLACES: Final = 40  # address of a list's offsets; of texts that of their indices into a dictionary, 0 = none, or MEMBER
ITEM_VALID: Final = 48  # VALID and VALID_BIT of a list's items
ITEM_VALID_BIT: Final = 56
COLUMN_BYTES: Final = 64

MEMBER: Final = -1  # JSON text of a member of `_rest`: OFFSETS is the address of its start and end in this row

_LIST_KINDS: Final = 5
_STRING_LIST: Final = K_LIST + K_STR
_SCALAR_BYTES_MAX: Final = 32  # a time far outside the calendar; a float takes up to 24
_NULL: Final = 0x6C6C756E  # 'null', the first character lowest
_TRUE: Final = 0x65757274
_FALSE: Final = 0x65736C6166


@kernel
def bit_at(bitmap: int, index: int) -> int:
    """Bit `index` of a bitmap, 0 or 1."""
    return load8(bitmap, index >> 3) >> (index & 7) & 1


@kernel
def _load32(base: int, index: int) -> int:
    """The 4 bytes at `index`, little-endian, as 0 to 2^32 - 1."""
    return (
        load8(base, index) | load8(base, index + 1) << 8 | load8(base, index + 2) << 16 | load8(base, index + 3) << 24
    )


@kernel
def span_at(offsets: int, index: int) -> tuple[int, int]:
    """(start, length) of element `index` by its int32 offsets."""
    bounds = load64(offsets, 4 * index)
    start = bounds & 0xFFFFFFFF
    return start, shift_right(bounds, 32) - start


@kernel
def text_span(column: int, row: int) -> tuple[int, int]:
    """(start, length) behind DATA of the text in `row`."""
    places = load64(column, PLACES)
    if places == MEMBER:
        row = 0
    elif places:
        row = _load32(places, 4 * row)
    return span_at(load64(column, OFFSETS), row)


@kernel
def value_bytes_max(column: int, row: int) -> int:
    """The most bytes that write_value writes for `row`, without the up to 32 behind them."""
    kind = load64(column, KIND)
    if kind == K_STR:
        return 6 * text_span(column, row)[1] + 2
    if K_DECIMAL <= kind <= K_JSON:
        return text_span(column, row)[1]
    if kind == K_BIN:
        return (text_span(column, row)[1] + 2) // 3 * 4 + 2
    if K_LIST <= kind < K_LIST + _LIST_KINDS:
        first, count = span_at(load64(column, PLACES), row)
        size = (_SCALAR_BYTES_MAX + 1) * count + 2
        if kind == _STRING_LIST and count:
            start = span_at(load64(column, OFFSETS), first)[0]
            last, length = span_at(load64(column, OFFSETS), first + count - 1)
            size += 6 * (last + length - start)
        return size
    return _SCALAR_BYTES_MAX


@kernel
def write_value(target: int, out: int, column: int, row: int) -> int:
    """Write the value in `row`, which is not null; returns the end."""
    kind = load64(column, KIND)
    data = load64(column, DATA)
    if kind == K_TIME:
        return write_time(target, out, load64(data, 8 * row))
    if K_DECIMAL <= kind <= K_JSON:
        start, length = text_span(column, row)
        return write_json(target, out, data, start, length)
    if kind == K_BIN:
        start, length = text_span(column, row)
        return write_base64(target, out, data, start, length)
    is_list = kind >= K_LIST
    places = load64(column, PLACES)
    first, count = row, 1
    if is_list:
        kind -= K_LIST
        first, count = span_at(places, row)
        store8(target, out, 0x5B)
        out += 1
    elif places:
        first = _load32(places, 4 * row)
    out = _write_items(target, out, column, kind, first, first + count)
    if is_list:
        store8(target, out, 0x5D)
        out += 1
    return out


@kernel
def _write_items(target: int, out: int, column: int, kind: int, first: int, end: int) -> int:
    """Write elements of kind K_STR, K_INT, K_FLOAT, K_UINT or K_BOOL, with commas; one alone is a value by itself."""
    data, offsets = load64(column, DATA), load64(column, OFFSETS)
    valid, first_bit = load64(column, ITEM_VALID), load64(column, ITEM_VALID_BIT)
    for item in range(first, end):
        if item > first:
            store8(target, out, 0x2C)
            out += 1
        if valid and not bit_at(valid, first_bit + item):
            store64(target, out, _NULL)
            out += 4
        elif kind == K_STR:
            start, length = span_at(offsets, item)
            out = write_string(target, out, data, start, length)
        elif kind == K_INT:
            out = write_signed(target, out, load64(data, 8 * item))
        elif kind == K_FLOAT:
            out = write_float(target, out, load64(data, 8 * item))
        elif kind == K_UINT:
            out = write_unsigned(target, out, load64(data, 8 * item))
        elif bit_at(data, offsets + item):
            store64(target, out, _TRUE)
            out += 4
        else:
            store64(target, out, _FALSE)
            out += 5
    return out
