"""Owns texts as JSON in kernels: strings with their escapes, JSON as it is, bytes as base64, times as RFC 3339.

Texts lie in buffers of others, without padding: 32 bytes are read at a time only where they are in one page of memory,
since a page that holds one byte of a text can be read to its end.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.json_write_numbers import eight_digits, write_signed
from ingest.compiled.vectors import (
    copy32,
    load8,
    mask_newline,
    mask_non_ascii,
    mask_string_end,
    shift_right,
    store8,
    store64,
    trailing_zeros,
    wide,
)
from ingest.event_time import DAY_US, SECOND_US, TIME_US_MAX, TIME_US_MIN

_PAGE_BYTES: Final = 4096  # the smallest there is; larger ones are multiples of it
_IN_PAGE: Final = _PAGE_BYTES - 1
_LAST_LOAD: Final = _PAGE_BYTES - 32

_QUOTE: Final = 0x22
_BACKSLASH: Final = 0x5C
_NEWLINE: Final = 0x0A
_SPACE: Final = 0x20
_ZEROS: Final = 0x3030303030303030
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_BASE64: Final = np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)


def _short_escapes() -> np.ndarray:
    table = np.zeros(256, np.uint8)
    for char, letter in zip(b'"\\\b\f\n\r\t', b'"\\bfnrt', strict=True):
        table[char] = letter
    return table


_SHORT_ESCAPES: Final = _short_escapes()


@kernel
def write_string(target: int, out: int, src: int, start: int, length: int) -> int:
    """Write a text as a JSON string, at most 6 * length + 2 bytes (and 32 behind them); returns the end."""
    store8(target, out, _QUOTE)
    out += 1
    pos, end = start, start + length
    while pos < end:
        if (src + pos) & _IN_PAGE <= _LAST_LOAD:
            copy32(target, out, src, pos)
            escaped = mask_string_end(src, pos) & ~mask_non_ascii(src, pos)
            plain = min(trailing_zeros(escaped), 32, end - pos)
            out += plain
            pos += plain
            if plain == 32 or pos == end:
                continue
        char = load8(src, pos)
        pos += 1
        if char >= _SPACE and char != _QUOTE and char != _BACKSLASH:
            store8(target, out, char)
            out += 1
        else:
            out = _write_escape(target, out, char)
    store8(target, out, _QUOTE)
    return out + 1


@kernel
def _write_escape(target: int, out: int, char: int) -> int:
    store8(target, out, _BACKSLASH)
    short = _SHORT_ESCAPES[char]
    if short:
        store8(target, out + 1, wide(short))
        return out + 2
    store8(target, out + 1, 0x75)
    store8(target, out + 2, 0x30)
    store8(target, out + 3, 0x30)
    store8(target, out + 4, wide(_HEX[char >> 4]))
    store8(target, out + 5, wide(_HEX[char & 15]))
    return out + 6


@kernel
def write_json(target: int, out: int, src: int, start: int, length: int) -> int:
    """Write JSON text (and up to 32 bytes behind it), each line end, which JSON only has between tokens, as a space."""
    pos, end = start, start + length
    while pos < end:
        if (src + pos) & _IN_PAGE <= _LAST_LOAD:
            copy32(target, out, src, pos)
            plain = min(trailing_zeros(mask_newline(src, pos)), 32, end - pos)
            out += plain
            pos += plain
            if plain == 32 or pos == end:
                continue
        char = load8(src, pos)
        store8(target, out, _SPACE if char == _NEWLINE else char)
        out += 1
        pos += 1
    return out


@kernel
def write_base64(target: int, out: int, src: int, start: int, length: int) -> int:
    """Write bytes as a JSON string in base64 with padding, 4 bytes for 3 begun ones and 2 quotes; returns the end."""
    store8(target, out, _QUOTE)
    out += 1
    for pos in range(start, start + length, 3):
        left = start + length - pos
        bits = load8(src, pos) << 16
        if left > 1:
            bits |= load8(src, pos + 1) << 8
        if left > 2:
            bits |= load8(src, pos + 2)
        store8(target, out, wide(_BASE64[bits >> 18]))
        store8(target, out + 1, wide(_BASE64[bits >> 12 & 63]))
        store8(target, out + 2, wide(_BASE64[bits >> 6 & 63]) if left > 1 else 0x3D)
        store8(target, out + 3, wide(_BASE64[bits & 63]) if left > 2 else 0x3D)
        out += 4
    store8(target, out, _QUOTE)
    return out + 1


@kernel
def write_time(target: int, out: int, time_us: int) -> int:
    """Write UTC microseconds as a JSON string, as ingest.event_time.rfc3339 does (and up to 7 bytes behind it)."""
    store8(target, out, _QUOTE)
    if TIME_US_MIN <= time_us <= TIME_US_MAX:
        out = _write_moment(target, out + 1, time_us)
    else:
        out = write_signed(target, out + 1, time_us)
    store8(target, out, _QUOTE)
    return out + 1


@kernel
def _write_moment(target: int, out: int, time_us: int) -> int:
    day = time_us // DAY_US
    of_day_us = time_us - day * DAY_US
    second = of_day_us // SECOND_US
    fraction_us = of_day_us - second * SECOND_US
    date = eight_digits(_calendar_date(day)) | _ZEROS
    minute = second // 60
    hour = minute // 60
    clock = eight_digits(hour * 10_000 + (minute - hour * 60) * 100 + second - minute * 60) | _ZEROS
    # "YYYY-MM-", "DDThh:mm", ":ss" from the digits YYYYMMDD and 00hhmmss.
    month = shift_right(date, 32)
    store64(target, out, date & 0xFFFFFFFF | 0x2D << 32 | (month & 0xFFFF) << 40 | 0x2D << 56)
    of_day = shift_right(clock, 16)
    start = shift_right(month, 16) | 0x54 << 16 | (of_day & 0xFFFF) << 24 | 0x3A << 40
    store64(target, out + 8, start | (shift_right(of_day, 16) & 0xFFFF) << 48)
    store64(target, out + 16, 0x3A | shift_right(of_day, 32) << 8 | 0x2E << 24)
    out += 19
    if fraction_us:
        digits = eight_digits(fraction_us) | _ZEROS
        store64(target, out + 1, shift_right(digits, 16))
        out += 7 if fraction_us % 1000 else 4
    store8(target, out, 0x5A)
    return out + 1


@kernel
def _calendar_date(day: int) -> int:
    """The date, as the number YYYYMMDD, that is `day` days after 1970-01-01; years 1 to 9999.

    Years begin in March here, so that a leap day is the last of its year; 400 of them have 146,097 days.
    """
    day += 719_468  # since 0000-03-01
    era = day // 146_097
    of_era = day - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153  # 0 is March
    of_month = of_year - (153 * month + 2) // 5 + 1
    year += 400 * era
    if month >= 10:
        return (year + 1) * 10_000 + (month - 9) * 100 + of_month
    return year * 10_000 + (month + 3) * 100 + of_month
