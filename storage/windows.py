"""Owns windows: which slice of event time an event belongs to, and how wide slices are. Pure.

Widths form a ladder, each a multiple of the one before: one day, 30 days, 360 days, everything (or the same
multiples of the stream's own width). Windows of one width begin at multiples of it since 1970-01-01 UTC, so a wider
window contains narrower ones whole. Flush takes the finest width with which it writes a bounded number of files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from core.errors import InvalidSettings

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US
AUTO: Final = "auto"

_STEPS: Final = (1, 30, 360)
_TIME_MIN_US: Final = -(2**63)
_TIME_END_US: Final = 2**63
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Width = int | None  # microseconds; None is one window for everything


@dataclass(frozen=True, slots=True)
class Window:
    """The event times from start_us up to and without end_us (UTC microseconds)."""

    start_us: int
    end_us: int

    @property
    def label(self) -> str:
        """The start for people, as part of an object key: 2026-03-01, 2026-03-01T05, all."""
        if self.start_us == _TIME_MIN_US:
            return "all"
        try:
            start = _EPOCH + timedelta(microseconds=self.start_us)
        except OverflowError:
            return f"{self.start_us}us"
        day = start.date().isoformat()
        return f"{day}T{start.hour:02d}" if self.start_us % DAY_US else day


def ladder(window: str | int) -> tuple[Width, ...]:
    """The widths that a stream's setting allows, finest first: "auto" or microseconds (a multiple of an hour)."""
    if window == AUTO:
        base = DAY_US
    elif isinstance(window, int) and 0 < window <= 3_600 * DAY_US and window % HOUR_US == 0:
        base = window
    else:
        raise InvalidSettings(
            f"window {window!r} is not allowed: use 'auto' or a multiple of {HOUR_US} microseconds up to 3,600 days"
        )
    return (*(base * step for step in _STEPS), None)


def window_at(index: int, width: Width) -> Window:
    """The window number `index` of `width`, counted from 1970-01-01 (negative before it)."""
    if width is None:
        return Window(_TIME_MIN_US, _TIME_END_US)
    # The first and last windows are cut to what a timestamp can hold.
    return Window(max(index * width, _TIME_MIN_US), min((index + 1) * width, _TIME_END_US))


def window_of(timestamp_us: int, width: Width) -> Window:
    """The window of one event time."""
    return window_at(0 if width is None else timestamp_us // width, width)


def window_indexes(timestamps_us: Any, width: Width) -> Any:
    """The window number of each event time: numpy int64 in, numpy int64 out."""
    if width is None:
        return np.zeros(len(timestamps_us), np.int64)
    return np.floor_divide(timestamps_us, width)


def choose_width(timestamps_us: list[Any], widths: tuple[Width, ...], windows_max: int) -> Width:
    """The finest of `widths` that splits the event times (numpy int64 arrays) into at most `windows_max` windows."""
    filled = [times for times in timestamps_us if len(times)]
    if not filled:
        return widths[0]
    first = min(int(times.min()) for times in filled)
    last = max(int(times.max()) for times in filled)
    for width in widths:
        if width is None or last // width - first // width < windows_max:
            return width
        windows: set[int] = set()
        for times in filled:
            windows.update(np.unique(np.floor_divide(times, width)).tolist())
            if len(windows) > windows_max:
                break
        else:
            return width
    return widths[-1]


def wider_windows(
    indexes: Iterable[int], width: Width, widths: tuple[Width, ...], windows_max: int
) -> dict[int, Window]:
    """For each of the windows `indexes` of `width` the one that it lies in, of the finest of `widths` that is wider and
    makes at most `windows_max` of them."""
    windows: dict[int, Window] = {}
    for wide in widths[widths.index(width) + 1 :]:
        windows = {index: window_of(window_at(index, width).start_us, wide) for index in indexes}
        if len(set(windows.values())) <= windows_max:
            break
    return windows
