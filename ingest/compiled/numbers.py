"""Owns numbers in kernels: digits eight at a time, whole numbers, and floats rounded to the last bit.

Floats follow D. Lemire, "Number Parsing at a Gigabyte per Second" (2021): an exact product of doubles where both are
small, else 128 bits of the power of five. The few it cannot decide (more than 19 digits, subnormals) are K_HARD_FLOAT.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.kinds import K_DECIMAL, K_ERROR, K_FLOAT, K_HARD_FLOAT, K_INT, K_UINT
from ingest.compiled.vectors import (
    below_unsigned,
    bits_of,
    float_of_unsigned,
    leading_zeros,
    load8,
    load64,
    multiply_high,
    shift_right,
    trailing_zeros,
)

_EXPONENT_MIN: Final = -342
_EXPONENT_MAX: Final = 308


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _powers_of_five() -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower 64 bits of 5^q, normalized to 128 bits (rounded up for q < 0), as int64 patterns."""
    upper, lower = [], []
    for exponent in range(_EXPONENT_MIN, _EXPONENT_MAX + 1):
        power = 5 ** abs(exponent)
        bits = power.bit_length()
        if exponent >= 0:
            mantissa = power << (128 - bits) if bits <= 128 else power >> (bits - 128)
        elif exponent >= -27:
            mantissa = (1 << (bits + 127)) // power + 1
        else:
            mantissa = (1 << (2 * bits + 128)) // power + 1
            mantissa >>= mantissa.bit_length() - 128
        upper.append(_signed(mantissa >> 64))
        lower.append(_signed(mantissa & ((1 << 64) - 1)))
    return np.array(upper, np.int64), np.array(lower, np.int64)


_FIVES_UPPER, _FIVES_LOWER = _powers_of_five()
_TENS: Final = np.array([float(10**power) for power in range(23)])  # exact as doubles
_TENS_INT: Final = np.array([10**power for power in range(19)], np.int64)

_TEN_TO_19: Final = _signed(10**19)
_ZEROS: Final = 0x3030303030303030
_NOT_DIGIT: Final = 0x7676767676767676
_HIGH_BITS: Final = _signed(0x8080808080808080)


@kernel
def count_digits(word: int) -> int:
    """How many of the 8 characters of `word` are digits before the first that is none."""
    digits = word ^ _ZEROS
    others = ((digits + _NOT_DIGIT) | digits) & _HIGH_BITS
    return trailing_zeros(others) >> 3


@kernel
def read_digits(word: int, count: int) -> int:
    """The value of the first `count` (1 to 8) characters of `word`, which are digits."""
    digits = (word ^ _ZEROS) << (64 - 8 * count)
    digits = (digits * 10 + shift_right(digits, 8)) & 0x00FF00FF00FF00FF
    digits = (digits * 100 + shift_right(digits, 16)) & 0x0000FFFF0000FFFF
    return (digits * 10000 + shift_right(digits, 32)) & 0xFFFFFFFF


@kernel
def scan_digits(src: int, pos: int, value: int) -> tuple[int, int]:
    """(value followed by the digits at `pos`, end of the digits); the value wraps beyond 64 bits."""
    while True:
        word = load64(src, pos)
        count = count_digits(word)
        if count:
            value = value * _TENS_INT[count] + read_digits(word, count)
            pos += count
        if count < 8:
            return value, pos


@kernel
def scan_number(src: int, start: int) -> tuple[int, int, int]:
    """(kind, bits, end) of the JSON number at `start`; bits mean nothing for K_DECIMAL and K_HARD_FLOAT."""
    pos = start
    negative = load8(src, pos) == 45
    if negative:
        pos += 1
    digits_start = pos
    value, pos = scan_digits(src, pos, 0)
    digits = pos - digits_start
    if digits == 0 or (digits > 1 and load8(src, digits_start) == 48):
        return K_ERROR, 0, pos
    char = load8(src, pos)
    if char != 46 and char | 32 != 101:
        if digits <= 18:
            return K_INT, -value if negative else value, pos
        return _long_integer(src, digits_start, digits, value, negative, pos)
    exponent = 0
    significant = digits if load8(src, digits_start) != 48 else 0
    if char == 46:
        fraction_start = pos + 1
        value, pos = scan_digits(src, fraction_start, value)
        if pos == fraction_start:
            return K_ERROR, 0, pos
        exponent = fraction_start - pos
        digits += pos - fraction_start
        significant = digits
        if digits > 19 and load8(src, digits_start) == 48:
            zeros = fraction_start
            while load8(src, zeros) == 48:
                zeros += 1
            significant = pos - zeros
        char = load8(src, pos)
    if char | 32 == 101:
        pos += 1
        char = load8(src, pos)
        minus = char == 45
        if minus or char == 43:
            pos += 1
        exponent_start = pos
        written, pos = scan_digits(src, pos, 0)
        if pos == exponent_start:
            return K_ERROR, 0, pos
        if pos - exponent_start > 6:
            return K_HARD_FLOAT, 0, pos
        exponent += -written if minus else written
    if significant > 19:
        return K_HARD_FLOAT, 0, pos
    kind, bits = nearest_float(value, exponent)
    return kind, bits | (-1 << 63) if negative else bits, pos


@kernel
def _long_integer(src: int, start: int, digits: int, value: int, negative: bool, pos: int) -> tuple[int, int, int]:
    """A whole number of 19 digits or more; `value` is it modulo 2^64."""
    if digits > 20 or (digits == 20 and load8(src, start) > 49):
        return K_DECIMAL, 0, pos
    if digits == 20 and below_unsigned(value, _TEN_TO_19):
        return K_DECIMAL, 0, pos  # the value went round
    if value >= 0:
        return K_INT, -value if negative else value, pos
    if not negative:
        return K_UINT, value, pos
    if value == -1 << 63:
        return K_INT, value, pos
    return K_DECIMAL, 0, pos


@kernel
def nearest_float(value: int, exponent: int) -> tuple[int, int]:
    """(K_FLOAT, bits) of value * 10^exponent, `value` read as unsigned; or (K_HARD_FLOAT, 0)."""
    if 0 <= value <= 1 << 53 and -22 <= exponent <= 22:
        if exponent < 0:
            return K_FLOAT, bits_of(float_of_unsigned(value) / _TENS[-exponent])
        return K_FLOAT, bits_of(float_of_unsigned(value) * _TENS[exponent])
    if value == 0 or exponent < _EXPONENT_MIN:
        return K_FLOAT, 0
    if exponent > _EXPONENT_MAX:
        return K_HARD_FLOAT, 0
    shift = leading_zeros(value)
    value <<= shift
    index = exponent - _EXPONENT_MIN
    upper = multiply_high(value, _FIVES_UPPER[index])
    lower = value * _FIVES_UPPER[index]
    if upper & 0x1FF == 0x1FF:
        more = multiply_high(value, _FIVES_LOWER[index])
        lower += more
        if below_unsigned(lower, more):
            upper += 1
    if lower == -1 and not -27 <= exponent <= 55:
        return K_HARD_FLOAT, 0
    top = shift_right(upper, 63)
    mantissa = shift_right(upper, top + 9)
    power = (((152170 + 65536) * exponent) >> 16) + 63 + top - shift + 1023
    if power <= 0:
        return K_HARD_FLOAT, 0
    if 0 <= lower <= 1 and -4 <= exponent <= 23 and mantissa & 3 == 1 and mantissa << (top + 9) == upper:
        mantissa &= ~1  # exactly between two floats: to the even one
    mantissa = (mantissa + (mantissa & 1)) >> 1
    if mantissa >= 2 << 52:
        mantissa = 1 << 52
        power += 1
    if power >= 0x7FF:
        return K_HARD_FLOAT, 0  # infinite: Python says so too, and keeps the text
    return K_FLOAT, (mantissa & ~(1 << 52)) | (power << 52)
