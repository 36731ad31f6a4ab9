"""Owns the notion of time. Everything that decides takes a Clock, so that tests can stop and turn it."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Wall clock and steady clock of a process."""

    def now_us(self) -> int:
        """Wall time, microseconds since 1970-01-01 UTC."""
        ...

    def steady_s(self) -> float:
        """Monotonic seconds, for ages and deadlines."""
        ...


class SystemClock:
    """The machine's clock; wall time never steps back within one process."""

    def __init__(self) -> None:
        self._last_us = 0

    def now_us(self) -> int:
        self._last_us = max(self._last_us, time.time_ns() // 1000)
        return self._last_us

    def steady_s(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told to."""

    def __init__(self, now_us: int = 1_700_000_000_000_000) -> None:
        self._now_us = now_us

    def now_us(self) -> int:
        return self._now_us

    def steady_s(self) -> float:
        return self._now_us / 1e6

    def advance(self, seconds: float) -> None:
        self._now_us += int(seconds * 1e6)
