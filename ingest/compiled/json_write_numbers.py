"""Owns numbers as text in kernels: whole numbers eight digits at a time, floats as Python's repr writes them.

Floats follow R. Giulietti, "The Schubfach way to render doubles" (2020): the shortest digits that read back as the
same float, of these the nearest, by three products with 128 bits of a power of ten.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel
from ingest.compiled.vectors import (
    below_unsigned,
    copy32,
    leading_zeros,
    multiply_high,
    shift_right,
    store8,
    store64,
    trailing_zeros,
)

_POWER_MIN: Final = -292
_POWER_MAX: Final = 324

_FRACTION_BITS: Final = 52
_EXPONENT_BIAS: Final = 1075  # of the fraction read as a whole number
_FIXED_POINT_MIN: Final = -3  # 0.0001 is written so, 1e-05 is not
_FIXED_POINT_MAX: Final = 16  # 1e+16 is not written out

_ZEROS: Final = 0x3030303030303030
_TEN_8: Final = 10**8
_ZERO: Final = 0x30
_POINT: Final = 0x2E
_MINUS: Final = 0x2D
_NAN: Final = 0x224E614E22  # '"NaN"', the first character lowest
_INFINITY: Final = 0x7974696E69666E49  # 'Infinity'


def _powers_of_ten() -> tuple[np.ndarray, np.ndarray]:
    """The upper and lower 64 bits of 10^k, normalized to 128 bits and rounded up, as int64 patterns."""
    mantissas = []
    for power in range(_POWER_MIN, _POWER_MAX + 1):
        five = 5 ** abs(power)
        bits = five.bit_length()
        if power < 0:
            mantissas.append((1 << (127 + bits)) // five + 1)
        elif bits <= 128:
            mantissas.append(five << (128 - bits))
        else:
            mantissas.append(-(-five >> (bits - 128)))
    upper = np.array([mantissa >> 64 for mantissa in mantissas], np.uint64)
    lower = np.array([mantissa & ((1 << 64) - 1) for mantissa in mantissas], np.uint64)
    return upper.view(np.int64), lower.view(np.int64)


_TENS_UPPER, _TENS_LOWER = _powers_of_ten()


@kernel
def eight_digits(value: int) -> int:
    """The 8 decimal digits of `value` (0 to 10^8 - 1) as bytes of 0 to 9, the first digit in the lowest byte."""
    upper = value // 10_000
    halves = upper | (value - upper * 10_000) << 32
    hundreds = ((halves * 10_486) >> 20) & 0x7F0000007F
    pairs = hundreds | (halves - 100 * hundreds) << 16
    tens = ((pairs * 103) >> 10) & 0x000F000F000F000F
    return tens | (pairs - 10 * tens) << 8


@kernel
def write_unsigned(target: int, out: int, value: int) -> int:
    """Write `value`, read as unsigned, in up to 20 digits (and up to 7 bytes behind them); returns the end."""
    if 0 <= value < _TEN_8:
        return _write_small(target, out, value)
    upper = shift_right(value, 8) // 390_625  # 10^8 is 2^8 times that
    if upper < _TEN_8:
        out = _write_small(target, out, upper)
    else:
        top = upper // _TEN_8
        out = _write_small(target, out, top)
        store64(target, out, eight_digits(upper - top * _TEN_8) | _ZEROS)
        out += 8
    store64(target, out, eight_digits(value - upper * _TEN_8) | _ZEROS)
    return out + 8


@kernel
def write_signed(target: int, out: int, value: int) -> int:
    """Write `value` in decimal (and up to 7 bytes behind it); returns the end."""
    if value < 0:
        store8(target, out, _MINUS)
        return write_unsigned(target, out + 1, -value)  # -2^63 stays itself, and is 2^63 when read as unsigned
    return write_unsigned(target, out, value)


@kernel
def _write_small(target: int, out: int, value: int) -> int:
    digits = eight_digits(value)
    zeros = min(trailing_zeros(digits) >> 3, 7)
    store64(target, out, shift_right(digits | _ZEROS, 8 * zeros))
    return out + 8 - zeros


@kernel
def write_float(target: int, out: int, bits: int) -> int:
    """Write the float64 of a bit pattern as repr does (and up to 32 bytes behind it); returns the end.

    What JSON has no number for is written as "NaN", "Infinity" and "-Infinity", with the quotes.
    """
    exponent = shift_right(bits, _FRACTION_BITS) & 0x7FF
    fraction = bits & ((1 << _FRACTION_BITS) - 1)
    if exponent == 0x7FF:
        return _write_non_finite(target, out, bits, fraction)
    if bits < 0:
        store8(target, out, _MINUS)
        out += 1
    if exponent == 0 and fraction == 0:
        store8(target, out, _ZERO)
        store8(target, out + 1, _POINT)
        store8(target, out + 2, _ZERO)
        return out + 3
    digits, power = shortest_digits(fraction, exponent)
    return _write_decimal(target, out, digits, power)


@kernel
def _write_non_finite(target: int, out: int, bits: int, fraction: int) -> int:
    if fraction:
        store64(target, out, _NAN)
        return out + 5
    store8(target, out, 0x22)
    out += 1
    if bits < 0:
        store8(target, out, _MINUS)
        out += 1
    store64(target, out, _INFINITY)
    store8(target, out + 8, 0x22)
    return out + 9


@kernel
def shortest_digits(fraction: int, exponent: int) -> tuple[int, int]:
    """(digits, power) with digits * 10^power the shortest for the positive float64 of these fields.

    `digits` is below 10^17 and may end in zeros.
    """
    whole, two = fraction, 1 - _EXPONENT_BIAS
    if exponent:
        whole, two = fraction | 1 << _FRACTION_BITS, exponent - _EXPONENT_BIAS
        if -_FRACTION_BITS <= two <= 0 and whole & ((1 << -two) - 1) == 0:
            return whole >> -two, 0
    # Next to a power of two the neighbour below is only half as far away.
    uneven = 1 if fraction == 0 and exponent > 1 else 0
    odd = whole & 1
    power = (two * 1_262_611 - 524_031 * uneven) >> 22  # floor(log10(2^two)), or of 3/4 of it
    shift = two + ((-power * 1_741_647) >> 19) + 1
    upper, lower = _TENS_UPPER[-power - _POWER_MIN], _TENS_LOWER[-power - _POWER_MIN]
    # Four times the value and the ends of the interval that rounds to it, in units of 10^power.
    low = _scaled(upper, lower, (4 * whole - 2 + uneven) << shift) + odd
    middle = _scaled(upper, lower, (4 * whole) << shift)
    high = _scaled(upper, lower, (4 * whole + 2) << shift) - odd
    digits = middle >> 2
    if digits >= 10:
        tens = digits // 10
        below_fits = low <= 40 * tens
        above_fits = 40 * tens + 40 <= high
        if below_fits != above_fits:
            return tens + (1 if above_fits else 0), power + 1
    below_fits = low <= 4 * digits
    above_fits = 4 * digits + 4 <= high
    if below_fits != above_fits:
        return digits + (1 if above_fits else 0), power
    half = 4 * digits + 2
    nearer_above = middle > half or (middle == half and digits & 1 == 1)
    return digits + (1 if nearer_above else 0), power


@kernel
def _scaled(upper: int, lower: int, value: int) -> int:
    """The upper 64 of the 192 bits of the product, its last bit set when the rest is not (nearly) zero."""
    low = upper * value
    carried = low + multiply_high(lower, value)
    high = multiply_high(upper, value) + (1 if below_unsigned(carried, low) else 0)
    return high | (1 if shift_right(carried, 1) else 0)


@kernel
def _write_decimal(target: int, out: int, digits: int, power: int) -> int:
    """Write digits * 10^power (digits below 10^17) as repr does; returns the end."""
    top = digits // (_TEN_8 * _TEN_8)
    middle = eight_digits(digits // _TEN_8 - top * _TEN_8)
    last = eight_digits(digits % _TEN_8)
    if top:
        length = 17
    elif middle:
        length = 16 - (trailing_zeros(middle) >> 3)
    else:
        length = 8 - (trailing_zeros(last) >> 3)
    if last:
        significant = length - (leading_zeros(last) >> 3)
    elif middle:
        significant = length - 8 - (leading_zeros(middle) >> 3)
    else:
        significant = 1
    point = length + power  # how many digits stand before the point
    if _FIXED_POINT_MIN <= point <= 0:
        store64(target, out, _ZEROS)
        store8(target, out + 1, _POINT)
        _put_digits(target, out + 2 - point, top, middle, last, length)
        return out + 2 - point + significant
    if 0 < point <= _FIXED_POINT_MAX:
        _put_digits(target, out, top, middle, last, length)
        if significant > point:
            copy32(target, out + point + 1, target, out + point)
            store8(target, out + point, _POINT)
            return out + significant + 1
        for place in range(length, point):
            store8(target, out + place, _ZERO)
        store8(target, out + point, _POINT)
        store8(target, out + point + 1, _ZERO)
        return out + point + 2
    _put_digits(target, out + 1, top, middle, last, length)
    copy32(target, out, target, out + 1)
    if significant > 1:
        copy32(target, out + 2, target, out + 1)
        store8(target, out + 1, _POINT)
        significant += 1
    return _write_exponent(target, out + significant, point - 1)


@kernel
def _put_digits(target: int, out: int, top: int, middle: int, last: int, length: int) -> None:
    """Write the last `length` of the 17 digits, and up to 7 bytes behind them."""
    if length > 16:
        store8(target, out, top + _ZERO)
        out += 1
    if length > 8:
        skipped = max(16 - length, 0)
        store64(target, out, shift_right(middle | _ZEROS, 8 * skipped))
        store64(target, out + 8 - skipped, last | _ZEROS)
    else:
        store64(target, out, shift_right(last | _ZEROS, 8 * (8 - length)))


@kernel
def _write_exponent(target: int, out: int, exponent: int) -> int:
    """Write 'e', the sign and at least two digits."""
    store8(target, out, 0x65)
    store8(target, out + 1, _MINUS if exponent < 0 else 0x2B)
    size = abs(exponent)
    if size < 10:
        store8(target, out + 2, _ZERO)
        return _write_small(target, out + 3, size)
    return _write_small(target, out + 2, size)
