"""Owns the reading of event times: RFC 3339 text, dates and epoch numbers to UTC microseconds. Never guesses a zone.

Fractions beyond microseconds are cut off (towards the earlier time). An epoch number's unit follows from its size:
below 1e11 seconds, below 1e14 milliseconds, below 1e17 microseconds, else nanoseconds; so milliseconds are told from
seconds only after March 1973.
"""

from __future__ import annotations

import datetime
import functools
import math
import re
from decimal import ROUND_FLOOR, Context, Decimal
from typing import Any, Final

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
_EPOCH_ORDINAL: Final = datetime.date(1970, 1, 1).toordinal()
TIME_US_MIN: Final = (1 - _EPOCH_ORDINAL) * DAY_US  # 0001-01-01T00:00:00
TIME_US_MAX: Final = (datetime.date.max.toordinal() + 1 - _EPOCH_ORDINAL) * DAY_US - 1  # 9999-12-31T23:59:59.999999

SECONDS_BELOW: Final = 10**11
MILLISECONDS_BELOW: Final = 10**14
MICROSECONDS_BELOW: Final = 10**17

NUMERIC_TEXT_MAX: Final = 64  # characters of an epoch number; the longest sensible one has 30

_EXACT: Final = Context(prec=2 * NUMERIC_TEXT_MAX)
_UTC_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_MICROSECOND: Final = datetime.timedelta(microseconds=1)
_TEXT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)"
    r"(?:[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d+))?(?: ?([Zz]|[+-]\d\d(?::?\d\d)?))?)?",
    re.ASCII,
)
_NUMBER: Final = re.compile(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d{1,3})?", re.ASCII)


def parse_time(value: Any) -> int | None:
    """UTC microseconds since 1970 of text, an epoch number or an Instant, or None when it is not readable as a time.

    Text: RFC 3339 with 'T', 't' or a space, any fraction ('.' or ','), 'Z', an offset or no zone (= UTC); a date alone
    (midnight); or an epoch number. Years 1 to 9999 only.
    """
    if isinstance(value, str):
        time_us = _from_text(value)
    elif isinstance(value, bool):
        return None
    elif isinstance(value, int):
        # An Instant is an int that already counts microseconds.
        time_us = _from_epoch(value) if type(value) is int else int(value)
    elif isinstance(value, float):
        # The shortest text of a float is what the source wrote; its binary expansion would lose the last microsecond.
        time_us = _from_decimal(repr(value)) if math.isfinite(value) else None
    else:
        return None
    return time_us if time_us is not None and TIME_US_MIN <= time_us <= TIME_US_MAX else None


def instant_us(value: datetime.datetime) -> int:
    """UTC microseconds since 1970 of a datetime; a naive one counts as UTC."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.UTC)
    return (value - _UTC_EPOCH) // _MICROSECOND


def rfc3339(time_us: int) -> str:
    """`time_us` as RFC 3339 in UTC with 0, 3 or 6 fraction digits; its own digits beyond the years 1 to 9999."""
    if not TIME_US_MIN <= time_us <= TIME_US_MAX:
        return str(int(time_us))
    moment = _UTC_EPOCH + datetime.timedelta(microseconds=time_us)
    precision = "seconds" if moment.microsecond == 0 else "auto" if moment.microsecond % 1000 else "milliseconds"
    return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


@functools.lru_cache(maxsize=1024)
def _day_us(date_text: str) -> int:
    """Microseconds from 1970 to midnight of YYYY-MM-DD; ValueError when there is no such day."""
    day = datetime.date(int(date_text[:4]), int(date_text[5:7]), int(date_text[8:10]))
    return (day.toordinal() - _EPOCH_ORDINAL) * DAY_US


def _from_text(text: str) -> int | None:
    match = _TEXT.fullmatch(text)
    if match is None:
        return _from_decimal(text) if len(text) <= NUMERIC_TEXT_MAX and _NUMBER.fullmatch(text) else None
    date_text, hours, minutes, seconds, fraction, zone = match.groups()
    try:
        time_us = _day_us(date_text)
    except ValueError:
        return None
    if hours is None:
        return time_us
    hour, minute, second = int(hours), int(minutes), int(seconds)
    if hour > 23 or minute > 59 or second > 60:  # 60 is a leap second, which becomes the next second
        return None
    time_us += (hour * 3600 + minute * 60 + second) * SECOND_US
    if fraction is not None:
        time_us += int(fraction[:6].ljust(6, "0"))
    if zone is None or zone in "Zz":
        return time_us
    zone_hours, zone_minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    if zone_hours > 23 or zone_minutes > 59:
        return None
    offset_us = (zone_hours * 60 + zone_minutes) * 60 * SECOND_US
    return time_us - offset_us if zone[0] == "+" else time_us + offset_us


def _from_epoch(number: int) -> int:
    size = abs(number)
    if size < SECONDS_BELOW:
        return number * SECOND_US
    if size < MILLISECONDS_BELOW:
        return number * 1000
    return number if size < MICROSECONDS_BELOW else number // 1000


def _from_decimal(text: str) -> int | None:
    number = Decimal(text)
    size = number.copy_abs()
    if size >= 10**21:  # beyond year 9999 in every unit; also keeps hostile exponents from being expanded
        return None
    if size < SECONDS_BELOW:
        number = number.scaleb(6, _EXACT)
    elif size < MILLISECONDS_BELOW:
        number = number.scaleb(3, _EXACT)
    elif size >= MICROSECONDS_BELOW:
        number = number.scaleb(-3, _EXACT)
    return int(number.to_integral_value(rounding=ROUND_FLOOR))
