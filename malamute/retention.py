"""Owns how a caller says for how long events are kept, and what is said of it."""

from __future__ import annotations

from datetime import timedelta

from cluster.units import parse_size
from core.errors import InvalidSettings
from query.written_times import length_us
from storage.retention import Retention, check_retention


def retention_as_given(age: str | timedelta | None, bytes_max: str | int | None) -> Retention:
    """The retention that such values mean; raises InvalidRequest (InvalidSettings)."""
    if isinstance(age, timedelta):
        age_us: int | None = age // timedelta(microseconds=1)
    else:
        age_us = None if age is None else length_us(age, "age")
    try:
        size = None if bytes_max is None else parse_size(bytes_max)
    except ValueError as error:
        raise InvalidSettings(f"bytes {bytes_max!r} is no size: {error}") from error
    return check_retention(Retention(age_us, size))
