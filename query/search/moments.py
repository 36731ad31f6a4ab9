"""Owns times as people write them in a search: a date, a time, or how long before now. Never looks at data."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlglot import exp

from query.dialect import DIALECT

_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?P<minute>[T ]\d\d:\d\d(?P<second>:\d\d(?P<fraction>\.\d{1,9})?)?(Z|[+-]\d\d(:?\d\d)?)?)?",
    re.IGNORECASE,
)
_NOW: Final = re.compile(r"now(?:(?P<sign>[+-])(?P<duration>\d+[smhdw]))?")
_DURATION: Final = re.compile(r"(\d{1,12})([smhdw])")
_UNITS: Final = {
    "s": ("SECOND", timedelta(seconds=1)),
    "m": ("MINUTE", timedelta(minutes=1)),
    "h": ("HOUR", timedelta(hours=1)),
    "d": ("DAY", timedelta(days=1)),
    "w": ("DAY", timedelta(days=7)),
}
_LONGEST: Final = timedelta(days=36_525)  # further back the engine's times may end


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as SQL; `until` is the end of the day, minute or second that was written, None for an exact time."""

    sql: exp.Expr
    until: exp.Expr | None = None
    is_day: bool = False


def moment(text: str) -> Moment | None:
    """The time that `text` says, in UTC where it names no other zone; None when it is no time."""
    if found := _NOW.fullmatch(text):
        now = exp.Anonymous(this="now")
        if not found["duration"]:
            return Moment(now)
        length = interval(found["duration"])
        if length is None:
            return None
        return Moment((exp.Sub if found["sign"] == "-" else exp.Add)(this=now, expression=length))
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    # Finer digits than microseconds are cut, as the engine does.
    written = re.sub(r"(\.\d{6})\d+", r"\1", text.upper())
    try:
        start = datetime.fromisoformat(written)
        start = start.astimezone(UTC) if start.tzinfo else start.replace(tzinfo=UTC)
        length_ = timedelta(seconds=1) if found["second"] else timedelta(minutes=1)
        end = start + (length_ if found["minute"] else timedelta(days=1))
    except (ValueError, OverflowError):
        return None
    return Moment(_literal(start), None if found["fraction"] else _literal(end), not found["minute"])


def interval(text: str) -> exp.Interval | None:
    """The length of time that `text` says: a number with one of s, m, h, d, w; None when it says none of use."""
    found = _DURATION.fullmatch(text)
    if found is None:
        return None
    unit, length = _UNITS[found[2]]
    count = int(found[1])
    if count > _LONGEST // length:
        return None
    count *= 7 if found[2] == "w" else 1
    return exp.Interval(this=exp.Literal.string(str(count)), unit=exp.Var(this=unit))


def _literal(time: datetime) -> exp.Expr:
    text = time.astimezone(UTC).replace(tzinfo=None).isoformat(" ") + "+00"
    return exp.cast(exp.Literal.string(text), "TIMESTAMPTZ", dialect=DIALECT)
