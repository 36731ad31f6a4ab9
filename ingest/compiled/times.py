"""Owns event times in kernels: RFC 3339 text and epoch numbers to UTC microseconds, as ingest.event_time reads them.

What would need more than 64 bits on the way (exponents, more than 18 digits) is left to Python: ASK.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.kinds import K_DECIMAL, K_FLOAT, K_INT, K_STR, K_TIME, K_UINT
from ingest.compiled.tape import length_of, start_of
from ingest.compiled.vectors import load8, wide
from ingest.event_time import (
    DAY_US,
    MICROSECONDS_BELOW,
    MILLISECONDS_BELOW,
    NUMERIC_TEXT_MAX,
    SECOND_US,
    SECONDS_BELOW,
    TIME_US_MAX,
    TIME_US_MIN,
)

READ: Final = 1
UNREADABLE: Final = 0
ASK: Final = -1

_TENS: Final = np.array([10**power for power in range(19)], np.int64)
_DAYS_BEFORE: Final = np.array([0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365], np.int64)
_EXACT_DIGITS_BELOW: Final = 1 << 52  # up to here a decimal is the shortest text of its float


@kernel
def time_of(src: int, kind: int, bits: int) -> tuple[int, int]:
    """(READ, UNREADABLE or ASK, UTC microseconds) of a value on the tape; of a float, `bits` say where its text is."""
    if kind == K_STR:
        return time_of_text(src, start_of(bits), length_of(bits))
    if kind == K_INT:
        return time_of_integer(bits)
    if kind == K_TIME:
        return _in_years(bits)
    if kind == K_FLOAT:
        return time_of_decimal(src, start_of(bits), length_of(bits), True)
    if kind == K_UINT or kind == K_DECIMAL:
        return ASK, 0
    return UNREADABLE, 0


@kernel
def time_of_integer(number: int) -> tuple[int, int]:
    """(READ or UNREADABLE, UTC microseconds) of an epoch number; its unit follows from its size."""
    if -SECONDS_BELOW < number < SECONDS_BELOW:
        number *= SECOND_US
    elif -MILLISECONDS_BELOW < number < MILLISECONDS_BELOW:
        number *= 1000
    elif not -MICROSECONDS_BELOW < number < MICROSECONDS_BELOW:
        number //= 1000
    return _in_years(number)


@kernel
def _in_years(time_us: int) -> tuple[int, int]:
    return (READ if TIME_US_MIN <= time_us <= TIME_US_MAX else UNREADABLE), time_us


@kernel
def time_of_float(number: float) -> tuple[int, int]:
    """(READ, UNREADABLE or ASK, UTC microseconds) of an epoch number as float64.

    Its time is that of its shortest text: the one with the fewest digits after the point that reads back as it. Of
    numbers below 2^52 / 10^digits there is only one with so many digits; the others are left to Python.
    """
    if not abs(number) < _EXACT_DIGITS_BELOW:
        return (ASK if abs(number) < 1e21 else UNREADABLE), 0
    scale = 1
    while scale <= SECOND_US:
        digits = wide(np.floor(number * scale + 0.5))
        if abs(digits) >= _EXACT_DIGITS_BELOW:
            break
        if np.float64(digits) / scale == number:
            return _time_of_fraction(digits, scale)
        scale *= 10
    return ASK, 0


@kernel
def _time_of_fraction(number: int, scale: int) -> tuple[int, int]:
    """The time of number / scale, `scale` a power of ten up to 10^6."""
    size = abs(number)
    if size < SECONDS_BELOW * scale:
        return _in_years(number * (SECOND_US // scale))
    # The number is below 2^52, so `scale` is at most 10^4 here.
    if size < MILLISECONDS_BELOW * scale:
        return _in_years(number * 1000 // scale)
    return _in_years(number // scale)


@kernel
def time_of_text(src: int, start: int, length: int) -> tuple[int, int]:
    """(READ, UNREADABLE or ASK, UTC microseconds) of the text; see ingest.event_time.parse_time."""
    if length >= 10 and load8(src, start + 4) == 45 and load8(src, start + 7) == 45:
        return _time_of_date(src, start, length)
    return time_of_decimal(src, start, length, False)


@kernel
def _time_of_date(src: int, start: int, length: int) -> tuple[int, int]:
    end = start + length
    year, month, day = _digits(src, start, 4), _digits(src, start + 5, 2), _digits(src, start + 8, 2)
    if year < 1 or not 1 <= month <= 12 or day < 1:
        return UNREADABLE, 0
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    month_days = _DAYS_BEFORE[month] - _DAYS_BEFORE[month - 1] + (1 if leap and month == 2 else 0)
    if day > month_days:
        return UNREADABLE, 0
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 - 719162  # since 1970
    days += _DAYS_BEFORE[month - 1] + (1 if leap and month > 2 else 0) + day - 1
    time_us = days * DAY_US
    if length == 10:
        return READ, time_us
    separator = load8(src, start + 10)
    if length < 19 or (separator | 32 != 116 and separator != 32):
        return UNREADABLE, 0
    if load8(src, start + 13) != 58 or load8(src, start + 16) != 58:
        return UNREADABLE, 0
    hour, minute, second = _digits(src, start + 11, 2), _digits(src, start + 14, 2), _digits(src, start + 17, 2)
    if not 0 <= hour <= 23 or not 0 <= minute <= 59 or not 0 <= second <= 60:
        return UNREADABLE, 0
    time_us += (hour * 3600 + minute * 60 + second) * SECOND_US
    pos = start + 19
    if pos < end and (load8(src, pos) == 46 or load8(src, pos) == 44):
        pos += 1
        scale = 100_000
        first = pos
        while pos < end:
            digit = load8(src, pos) - 48
            if not 0 <= digit <= 9:
                break
            time_us += digit * scale
            scale //= 10
            pos += 1
        if pos == first:
            return UNREADABLE, 0
    offset_us, readable = _zone(src, pos, end)
    if not readable:
        return UNREADABLE, 0
    return _in_years(time_us - offset_us)


@kernel
def _zone(src: int, pos: int, end: int) -> tuple[int, bool]:
    """(offset in microseconds, whether it is one) of what stands behind a time."""
    if pos == end:
        return 0, True
    if load8(src, pos) == 32:
        pos += 1
    if pos == end:
        return 0, False
    char = load8(src, pos)
    pos += 1
    if char | 32 == 122:
        return 0, pos == end
    if (char != 43 and char != 45) or end - pos < 2:
        return 0, False
    hours, minutes = _digits(src, pos, 2), 0
    pos += 2
    if pos < end:
        if load8(src, pos) == 58:
            pos += 1
        if end - pos != 2:
            return 0, False
        minutes = _digits(src, pos, 2)
    if not 0 <= hours <= 23 or not 0 <= minutes <= 59:
        return 0, False
    offset_us = (hours * 60 + minutes) * 60 * SECOND_US
    return (offset_us if char == 43 else -offset_us), True


@kernel
def _digits(src: int, pos: int, count: int) -> int:
    """The value of `count` digits, or a negative number when one is none."""
    value = 0
    for place in range(count):
        digit = load8(src, pos + place) - 48
        if not 0 <= digit <= 9:
            return -100_000
        value = value * 10 + digit
    return value


@kernel
def _scan_digits(src: int, pos: int, end: int, value: int) -> tuple[int, int]:
    """(value followed by the digits at `pos`, their end, at most `end`); the value wraps beyond 64 bits."""
    while pos < end:
        digit = load8(src, pos) - 48
        if not 0 <= digit <= 9:
            break
        value = value * 10 + digit
        pos += 1
    return value, pos


@kernel
def time_of_decimal(src: int, start: int, length: int, is_float: bool) -> tuple[int, int]:
    """(READ, UNREADABLE or ASK, UTC microseconds) of an epoch number as text.

    `is_float`: the text is a JSON float, whose time is that of the shortest text of its float64.
    """
    end = start + length
    if length == 0 or length > NUMERIC_TEXT_MAX:
        return (ASK if is_float else UNREADABLE), 0
    pos = start
    sign = load8(src, pos)
    if sign == 45 or sign == 43:
        pos += 1
    first = pos
    value, pos = _scan_digits(src, pos, end, 0)
    whole = pos - first
    if whole <= 0:
        return UNREADABLE, 0
    fraction = 0
    if pos < end and load8(src, pos) == 46:
        value, behind = _scan_digits(src, pos + 1, end, value)
        fraction = behind - pos - 1
        pos = behind
    if pos < end:
        # An exponent, or no number at all: Python knows.
        return (ASK if load8(src, pos) | 32 == 101 else UNREADABLE), 0
    if whole + fraction > 18 or (is_float and value >= _EXACT_DIGITS_BELOW):
        return ASK, 0
    if whole > 18 - fraction or fraction > 7:
        return ASK, 0
    number = -value if sign == 45 else value
    if value < SECONDS_BELOW * _TENS[fraction]:
        power = 6 - fraction
    elif value < MILLISECONDS_BELOW * _TENS[min(fraction, 4)] or fraction > 4:
        power = 3 - fraction
    elif value < MICROSECONDS_BELOW * _TENS[min(fraction, 1)] or fraction > 1:
        power = -fraction
    else:
        power = -3 - fraction
    if power >= 0:
        return _in_years(number * _TENS[power])
    return _in_years(number // _TENS[-power])  # towards the earlier time
