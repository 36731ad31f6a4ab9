"""Owns lengths of time and instants as callers of the client write them: "15m", ISO 8601 text, a datetime."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from core.errors import InvalidQuery

SECOND_US: Final = 1_000_000
_UNITS: Final = {
    "s": SECOND_US,
    "m": 60 * SECOND_US,
    "h": 3_600 * SECOND_US,
    "d": 86_400 * SECOND_US,
    "w": 604_800 * SECOND_US,
}
_LENGTH: Final = re.compile(r"(\d{1,9})([smhdw])")
_LENGTH_US_MAX: Final = 100 * 366 * _UNITS["d"]
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def length_us(text: Any, name: str) -> int:
    """Microseconds of a length of time such as 15m; `name` is what the caller calls it. Raises InvalidQuery."""
    found = _LENGTH.fullmatch(text) if isinstance(text, str) else None
    length = int(found[1]) * _UNITS[found[2]] if found is not None else 0
    if not 0 < length <= _LENGTH_US_MAX:
        raise InvalidQuery(f"{name} {text!r} is no length of time: write a number and one of s, m, h, d, w, as in 15m")
    return length


def instant_us(value: Any, name: str) -> int | None:
    """UTC microseconds of a datetime or ISO 8601 text, UTC where it names no zone; None for None. InvalidQuery."""
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value) if isinstance(value, str) else value
        if isinstance(instant, datetime):
            return microseconds(instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        pass
    raise InvalidQuery(f"{name} {value!r} is no time: pass a datetime or a text such as 2026-01-31T08:30:00Z")


def as_datetime(us: int) -> datetime:
    """The instant `us`, UTC microseconds."""
    return _EPOCH + timedelta(microseconds=us)


def microseconds(instant: datetime) -> int:
    """UTC microseconds of a datetime with a zone."""
    return (instant - _EPOCH) // timedelta(microseconds=1)
