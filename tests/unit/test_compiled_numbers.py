"""The number kernel beside Python's int() and float(), on hundreds of thousands of literals at once."""

import math
from collections.abc import Iterable
from decimal import Decimal, getcontext
from random import Random

import numpy as np
from numba import njit

from ingest.compiled.kinds import K_DECIMAL, K_ERROR, K_FLOAT, K_HARD_FLOAT, K_INT, K_UINT
from ingest.compiled.numbers import scan_number
from ingest.compiled.vectors import PADDING, address_of

getcontext().prec = 800  # a float64 has up to 767 significant digits


@njit
def scan_all(src: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    kinds, bits, ends = np.empty_like(starts), np.empty_like(starts), np.empty_like(starts)
    for index in range(len(starts)):
        kinds[index], bits[index], ends[index] = scan_number(address_of(src), starts[index])
    return kinds, bits, ends


def scanned(literals: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(kind, bits) of each literal; checks that each was read to its end."""
    text = ",".join(literals).encode() + bytes(PADDING)
    sizes = np.array([len(literal) + 1 for literal in literals])
    behind = np.cumsum(sizes)
    kinds, bits, ends = scan_all(np.frombuffer(text, np.uint8).copy(), behind - sizes)
    assert np.array_equal(ends[kinds != K_ERROR], (behind - 1)[kinds != K_ERROR])
    return kinds, bits


def check_floats(literals: Iterable[str]) -> float:
    """Compares every float that was decided with Python's; returns the share of those that were not."""
    texts = list(literals)
    kinds, bits = scanned(texts)
    assert set(np.unique(kinds)) <= {K_FLOAT, K_HARD_FLOAT}
    decided = kinds == K_FLOAT
    expected = np.array([float(text) for text in texts]).view(np.int64)
    wrong = np.flatnonzero(decided & (bits != expected))
    assert [texts[index] for index in wrong[:5]] == []
    return 1 - float(decided.mean())


def test_floats_of_random_bits() -> None:
    """The shortest text of any float, and 17 and 19 digits of it, with and without an exponent."""
    rng = np.random.default_rng(1)
    values = rng.integers(0, 2**64, 60_000, dtype=np.uint64).view(np.float64)
    values = values[np.isfinite(values) & (np.abs(values) > 1e-307)].tolist()
    hard = check_floats(text for value in values for text in (repr(value), f"{value:.16e}", f"{value:.18E}"))
    assert hard < 0.001
    near = (rng.random(20_000) * 10.0 ** rng.integers(-6, 16, 20_000)).tolist()
    assert check_floats(f"{value:.3f}" for value in near) == 0
    assert check_floats(f"-{value:.9f}" for value in near if value < 1e9) == 0


def test_floats_of_random_digits() -> None:
    rng = Random(2)
    texts = []
    for _ in range(100_000):
        digits = str(rng.randrange(1, 10 ** rng.randint(1, 19)))
        point = rng.randint(1, len(digits))
        fraction = "." + digits[point:] if point < len(digits) else ".0"
        texts.append(f"{rng.choice(('', '-'))}{digits[:point]}{fraction}e{rng.randint(-360, 330)}")
    too_small_or_large = sum(abs(float(text)) < 2.3e-308 or math.isinf(float(text)) for text in texts)
    assert check_floats(texts) < too_small_or_large / len(texts) + 0.01


def test_floats_halfway_between_two() -> None:
    """The 17 to 19 digits around the exact middle of two neighbours, where rounding is decided by the last bits."""
    rng = np.random.default_rng(3)
    exponents = rng.integers(-300, 300, 4000)
    texts = []
    for value in (rng.random(4000) * 10.0**exponents).tolist():
        middle = (Decimal(value) + Decimal(math.nextafter(value, math.inf))) / 2
        _, digits, exponent = middle.as_tuple()
        for count in (17, 18, 19):
            head = int("".join(map(str, digits[:count])))
            tail = int(exponent) + len(digits) - count
            texts += [f"{head + step}e{tail}" for step in (-1, 0, 1)]
    assert check_floats(texts) < 0.01


def test_floats_exactly_halfway_go_to_the_even_one() -> None:
    whole = [2**53 + odd for odd in (1, 3, 5, 2**20 + 1)] + [2**54 + 2, 2**54 + 6]
    texts = [f"{number + step}.0" for number in whole for step in (-1, 0, 1)]
    texts += [f"{number}e{exponent}" for number in [*whole, 2**60 + 128, 2**63 + 1024] for exponent in range(-4, 24)]
    assert check_floats(texts) == 0


_LITERALS = """0.0 0e0 0e400 0.000e-400 1e-400 5e-324 2.4703282292062327e-324 2.4703282292062328e-324 8.5e-323
    2.2250738585072011e-308 2.2250738585072012e-308 2.2250738585072014e-308 1.7976931348623157e308
    1.7976931348623158e308 1.7976931348623159e308 1e308 1e309 9007199254740993.0 9007199254740992.9999999999 1e22 1e23
    9e22 9.999999999999999e22 123456789012345678e-5 0.1 0.30000000000000004 1e0000000001 1e-0000000001
    12345678901234567890.5 0.00000000000000000001 18446744073709551615.0 18446744073709551616e0
    99999999999999999999e1"""


def test_floats_that_were_wrong_elsewhere() -> None:
    literals = [*_LITERALS.split(), "0." + "0" * 300 + "1", "1" + "0" * 300 + ".0"]
    assert check_floats([sign + literal for literal in literals for sign in ("", "-")]) < 0.5
    assert check_floats(["0.0", "0e400", "1e-400", "1e308", "1e23", "9007199254740993.0", "0.30000000000000004"]) == 0


def test_whole_numbers() -> None:
    rng = Random(4)
    numbers = [rng.randrange(10**size) for size in range(1, 32) for _ in range(1500)]
    edges = [0, 10**18, 10**19, 2 * 10**19, 2**31, 2**32, 2**63, 2**64, 2**65]
    numbers += [edge + step for edge in edges for step in range(-3, 4) if edge + step >= 0]
    numbers += [-number for number in numbers]
    kinds, bits = scanned([str(number) for number in numbers])
    for number, kind, pattern in zip(numbers, kinds.tolist(), bits.tolist(), strict=True):
        if -(2**63) <= number < 2**63:
            assert (kind, pattern) == (K_INT, number)
        elif 0 <= number < 2**64:
            assert (kind, pattern + 2**64) == (K_UINT, number)
        else:
            assert kind == K_DECIMAL


def test_what_is_no_number() -> None:
    bad = ["-", "01", "-01", "00", "1.", "-1.", "1.e5", "1e", "1e+", "1e-", "1.5e", "-.5", "--1", "0.", "-0.e1"]
    kinds, _ = scanned(bad)
    assert kinds.tolist() == [K_ERROR] * len(bad)
