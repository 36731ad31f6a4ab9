"""Event times in kernels beside ingest.event_time, which says what is right."""

import math
from random import Random

import numpy as np
import pytest
from numba import njit

from ingest.compiled.times import ASK, READ, time_of_decimal, time_of_float, time_of_integer, time_of_text
from ingest.compiled.vectors import PADDING, address_of
from ingest.event_time import parse_time
from ingest.shred import ShredSettings
from tests.fuzz.targets import ndjson_difference

_DATES = """2024-02-29 2023-02-29 1900-02-29 2000-02-29 0001-01-01 0000-01-01 9999-12-31 1969-12-31 2024-00-10
    2024-13-01 2024-04-31 2024-01-00 2024-01-32 2024-1-01 20240101 ٢٠٢٤-01-01"""
_CLOCKS = """T00:00:00 t23:59:59 T23:59:60 T24:00:00 T12:60:00 T12:00:61 T12:00 _12:00:00 T1:00:00 T12-00-00
    T12:00:0x T"""
_ZONES = "Z z +00:00 -23:59 +0530 +05 +24:00 +05:60 +5 +05:3 Zx +"
_NUMBERS = """0 -0 +5 1700000000 1700000000.5 1700000000123 1700000000123456 1700000000123456789 1e9 1.7E9 99999999999
    100000000000 99999999999.9999999 99999999999999 100000000000000 99999999999999999 100000000000000000 -99999999999
    -1.5 -0.0000001 -100000000000.9 5. .5 1.2.3 1_000 9223372036854775807 -9223372036854775808 9223372036854775808 1e999
    1e1000 253402300799 253402300799.999999 253402300800 -62135596800 -62135596800.000001 - + NaN inf"""
_LITERALS = "1700000000.123456 1700000000.10 1.7e9 -0.5 1e400 null true [] [1] {}"

DATES = _DATES.split()
CLOCKS = ["", " 12:34:56", *_CLOCKS.split()]
FRACTIONS = ["", ".5", ",5", ".123456", ".1234569", ".000000999", ".", ".x", ".-5", "." + "9" * 40]
ZONES = ["", " ", " Z", "  Z", " -08:00", *_ZONES.split()]
NUMBERS = ["", " 1", "1 ", "1" * 64, "1" * 65, "0" * 63 + "1", *_NUMBERS.split()]
FLOATS = [0.0, -0.0, 1e11, 1e14, 1e17, 1e21, 2.0**52, 2.0**52 - 1, 2.0**53, 5e-324, math.nan, math.inf, -math.inf]

Arrays = tuple[np.ndarray, np.ndarray]
Answer = int | str | None


@njit
def times_of_texts(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray, floats: bool) -> Arrays:
    found, times = np.empty_like(starts), np.empty_like(starts)
    for index in range(len(starts)):
        if floats:
            found[index], times[index] = time_of_decimal(address_of(src), starts[index], lengths[index], True)
        else:
            found[index], times[index] = time_of_text(address_of(src), starts[index], lengths[index])
    return found, times


@njit
def times_of_integers(numbers: np.ndarray) -> Arrays:
    found, times = np.empty_like(numbers), np.empty_like(numbers)
    for index in range(len(numbers)):
        found[index], times[index] = time_of_integer(numbers[index])
    return found, times


@njit
def times_of_floats(numbers: np.ndarray) -> Arrays:
    found, times = np.empty(len(numbers), np.int64), np.empty(len(numbers), np.int64)
    for index in range(len(numbers)):
        found[index], times[index] = time_of_float(numbers[index])
    return found, times


def read(texts: list[str], floats: bool = False) -> list[Answer]:
    """The time of each text; "ask" where it is left to Python. A digit stands behind each, which must not be read."""
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(text) for text in encoded])
    starts = np.cumsum(lengths + 1) - lengths - 1
    data = np.frombuffer(b"".join(text + b"7" for text in encoded) + bytes(PADDING), np.uint8).copy()
    return answers(*times_of_texts(data, starts, lengths, floats))


def answers(found: np.ndarray, times: np.ndarray) -> list[Answer]:
    pairs = zip(found.tolist(), times.tolist(), strict=True)
    return ["ask" if how == ASK else time_us if how == READ else None for how, time_us in pairs]


def check(values: list[object], found: list[Answer], asked_max: float) -> None:
    """Every answer is parse_time's; at most the share `asked_max` was left to Python."""
    wrong = [
        (value, time, parse_time(value))
        for value, time in zip(values, found, strict=True)
        if time != "ask" and time != parse_time(value)
    ]
    assert wrong[:5] == []
    assert found.count("ask") <= asked_max * len(found)


def test_every_form_of_text() -> None:
    texts = [date + clock for date in DATES for clock in CLOCKS]
    texts += [f"{date}T01:02:03{fraction}{zone}" for date in DATES for fraction in FRACTIONS for zone in ZONES]
    check(texts, read(texts), 0)


def test_every_day_of_some_years() -> None:
    texts = [
        f"{year:04}-{month:02}-{day:02}T23:59:59.999999-23:59"
        for year in (1, 4, 100, 400, 1600, 1899, 1900, 1969, 1970, 2000, 2023, 2024, 2100, 9998, 9999)
        for month in range(14)
        for day in range(33)
    ]
    check(texts, read(texts), 0)


def test_damaged_texts() -> None:
    rng = Random(1)
    texts = []
    for _ in range(40_000):
        text = list(rng.choice(("2024-02-29T12:34:56.789+05:30", "2024-02-29 12:34:56Z", "1700000000.5", "2024-02-29")))
        for _ in range(rng.randint(1, 3)):
            text[rng.randrange(len(text))] = rng.choice("0123456789-+:.,TtZz eE\0x/é")
        texts.append("".join(text))
    check(texts, read(texts), 0.05)


def test_numbers_as_text() -> None:
    rng = Random(2)
    texts = NUMBERS + [
        f"{rng.choice(('', '-', '+'))}{rng.randrange(10 ** rng.randint(1, 20))}{rng.choice(('', '.', '.5', '.25'))}"
        f"{rng.choice(('', str(rng.randrange(10**6))))}"
        for _ in range(40_000)
    ]
    check(texts, read(texts), 0.5)


def test_floats() -> None:
    rng = np.random.default_rng(3)
    values = (10 ** rng.uniform(-8, 23, 60_000) * rng.choice([1, -1], 60_000)).tolist()
    places = [0, 1, 3, 6, 7] * 6000
    values += [round(value, digits) for value, digits in zip(values[:30_000], places, strict=True)]
    values += [1.7e9 + step / 1000 for step in range(5000)]
    values += FLOATS
    check(values, answers(*times_of_floats(np.array(values))), 0.8)
    sensible = [value for value in values if 1e8 < abs(value) < 4e12 and round(value, 3) == value]
    assert len(sensible) > 5000
    check(sensible, answers(*times_of_floats(np.array(sensible))), 0)
    literals = [repr(value) for value in values if np.isfinite(value)]
    check([float(literal) for literal in literals], read(literals, floats=True), 0.8)


def test_integers() -> None:
    rng = Random(4)
    values = [rng.randrange(-(10**size), 10**size) for size in range(1, 19) for _ in range(2000)]
    edges = [0, 10**11, 10**14, 10**17, 2**63 - 1, 253402300800, 253402300800000, 62135596800, 62135596800000]
    near = (edge * sign + step for edge in edges for sign in (1, -1) for step in range(-2, 3))
    values += [value for value in near if -(2**63) <= value < 2**63]
    check(values, answers(*times_of_integers(np.array(values))), 0)


def test_the_smallest_integer_as_event_time_was_read_as_1970() -> None:
    """Its absolute value is not positive in 64 bits."""
    assert answers(*times_of_integers(np.array([-(2**63)]))) == [-(2**63) // 1000]
    assert ndjson_difference(b'{"timestamp":-9223372036854775808}', ShredSettings()) is None


@pytest.mark.parametrize("name", ["timestamp", "@timestamp", "a.t"])
def test_in_events(name: str) -> None:
    """As they stand in JSON: text, numbers and everything else, where each is hard, unreadable or read."""
    texts = [date + "T12:00:00.5" + zone for date in DATES for zone in ZONES] + NUMBERS
    literals = [number for number in NUMBERS if number.lstrip("-").isdigit() and not number.startswith("0" * 2)]
    literals += [*_LITERALS.split(), '{"x":1}']
    values = [f'"{text}"' for text in texts] + literals
    nested = [f'{{"a":{{"t":{value}}},"x":1}}' for value in values]
    flat = [f'{{"b":[1],"{name}":{value},"n":null}}' for value in values]
    both = [f'{{"@timestamp":5,"timestamp":{value}}}' for value in values]
    for how in (ShredSettings(), ShredSettings(timestamp=name), ShredSettings(timestamp="a.t", max_paths=0)):
        for lines in (nested, flat, both):
            assert ndjson_difference("\n".join(lines).encode(), how) is None
