"""What counts as an event time, to the microsecond."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.event_time import TIME_US_MAX, TIME_US_MIN, instant_us, parse_time, rfc3339
from ingest.values import Instant, Number

SECOND = 1_000_000
T = 1_704_164_645 * SECOND  # 2024-01-02T03:04:05Z


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("2024-01-02T03:04:05Z", T),
        ("2024-01-02t03:04:05z", T),
        ("2024-01-02 03:04:05", T),
        ("2024-01-02T03:04:05", T),
        ("2024-01-02T03:04:05.1Z", T + 100_000),
        ("2024-01-02 03:04:05,123", T + 123_000),
        ("2024-01-02T03:04:05.123456789Z", T + 123_456),
        ("2024-01-02T03:04:05.9999999999999Z", T + 999_999),
        ("2024-01-02T03:04:05+01:00", T - 3600 * SECOND),
        ("2024-01-02T03:04:05-0530", T + (5 * 3600 + 1800) * SECOND),
        ("2024-01-02T03:04:05 +02", T - 7200 * SECOND),
        ("2024-01-02T03:04:05-00:00", T),
        ("2016-12-31T23:59:60Z", 1_483_228_800 * SECOND),
        ("2024-02-29", 1_709_164_800 * SECOND),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("0001-01-01T00:00:00Z", TIME_US_MIN),
        ("9999-12-31T23:59:59.999999Z", TIME_US_MAX),
        ("1704164645", T),
        ("1704164645.1234567", T + 123_456),
        ("1704164644.99999999999999999999999999999999", T - 1),
        ("1.704164645e9", T),
        ("-1", -SECOND),
        (Number("1704164645123456789.5"), T + 123_456),
    ],
)
def test_text(text: str, time_us: int) -> None:
    assert parse_time(text) == time_us


@pytest.mark.parametrize(
    ("number", "time_us"),
    [
        (0, 0),
        (1_704_164_645, T),
        (1_704_164_645_123, T + 123_000),
        (1_704_164_645_123_456, T + 123_456),
        (1_704_164_645_123_456_789, T + 123_456),
        (-1_704_164_645_123_456_789, -T - 123_457),
        (1_704_164_645.123456, T + 123_456),
        (1_704_164_645_123.5, T + 123_500),
        (99_999_999_999, 99_999_999_999 * SECOND),
        (100_000_000_000, 100_000_000_000_000),
        (Instant(5), 5),
    ],
)
def test_numbers(number: float, time_us: int) -> None:
    assert parse_time(number) == time_us


@pytest.mark.parametrize(
    "value",
    [
        "",
        "now",
        "2024-13-01",
        "2023-02-29",
        "0000-01-01",
        "2024-01-02T24:00:00Z",
        "2024-01-02T03:60:00Z",
        "2024-01-02T03:04:61Z",
        "2024-01-02T03:04Z",
        "2024-01-02T03:04:05.Z",
        "2024-01-02T03:04:05+24:00",
        "2024-01-02T03:04:05Zx",
        "2024-01-02T03:04:05Z\n",
        "٢٠٢٤-01-02",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "1e999",
        "1e99999999999",
        "1" * 65,
        "9" * 30,
        float("nan"),
        float("inf"),
        1e300,
        10**40,
        TIME_US_MAX * 1000 + 1000,
        Instant(TIME_US_MAX + 1),
        True,
        None,
        b"2024-01-02",
        ("int[]", [1]),
    ],
)
def test_unreadable(value: object) -> None:
    assert parse_time(value) is None


@settings(deadline=None, derandomize=True)
@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_every_datetime_reads_back(moment: datetime.datetime) -> None:
    time_us = instant_us(moment)
    if TIME_US_MIN <= time_us <= TIME_US_MAX:
        assert parse_time(rfc3339(time_us)) == time_us
        if moment.utcoffset() is None or moment.utcoffset().seconds % 60 == 0:  # text has no offset of seconds
            assert parse_time(moment.isoformat()) == time_us


@settings(deadline=None, derandomize=True)
@given(st.integers(0, 10**11 - 1), st.integers(0, 10**12 - 1))
def test_numeric_text_is_cut_exactly(seconds: int, picoseconds: int) -> None:
    text = f"{seconds}.{picoseconds:012d}"
    assert parse_time(text) == int(Decimal(seconds) * SECOND) + picoseconds // 10**6
