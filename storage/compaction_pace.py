"""Owns how fast merges go beside other work: at full speed while nobody asks for anything, else a share of the time.

It paces one thread, which calls `pause` between steps of some milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable

from core.clock import Clock
from core.limits import COMPACTION_BUSY_S, COMPACTION_BUSY_SHARE


class Stopped(Exception):
    """The process is about to end: give the merge up."""


class Pace:
    """`wait` sleeps so many seconds and returns whether to stop, as threading.Event.wait does."""

    def __init__(self, clock: Clock, wait: Callable[[float], bool]) -> None:
        self._clock = clock
        self._wait = wait
        self._used_s = -COMPACTION_BUSY_S
        self._resumed_s = clock.steady_s()

    def used(self) -> None:
        """Somebody asked for something, right now."""
        self._used_s = self._clock.steady_s()

    def resume(self) -> None:
        """Work begins."""
        self._resumed_s = self._clock.steady_s()

    def pause(self) -> None:
        """Sleep as long as the last step was to cost others; raises Stopped."""
        now_s = self._clock.steady_s()
        worked_s = now_s - self._resumed_s
        busy = now_s - self._used_s < COMPACTION_BUSY_S
        if self._wait(worked_s * (1 / COMPACTION_BUSY_SHARE - 1) if busy else 0):
            raise Stopped
        self.resume()
