"""Owns the clock of running queries: one thread that stops each whose time is over. Decides no times."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Final

# A thread can wait no longer than threading.TIMEOUT_MAX, and whoever allows an hour and more does not mind a look.
_WAIT_S_MAX: Final = 3_600.0


class Deadlines:
    """Calls that are due later, each once unless it is called off. Thread-safe.

    One thread for all: to start one for every query took 1.5 ms on a busy machine.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._open: set[int] = set()
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def add(self, seconds: float, call: Callable[[], None]) -> int:
        """Have `call` called after `seconds`; returns what call_off() takes."""
        with self._changed:
            number = next(self._numbers)
            at_s = time.monotonic() + seconds
            first = not self._due or at_s < self._due[0][0]
            heapq.heappush(self._due, (at_s, number, call))
            self._open.add(number)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif first:
                self._changed.notify()
            return number

    def call_off(self, number: int) -> None:
        """The call is not needed any more."""
        with self._changed:
            self._open.discard(number)
            # Queries mostly end long before their time: do not keep what thousands of them asked for.
            if len(self._due) > 64 and len(self._due) > 2 * len(self._open):
                self._due = [entry for entry in self._due if entry[1] in self._open]
                heapq.heapify(self._due)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._due or self._due[0][0] > time.monotonic():
                    left_s = self._due[0][0] - time.monotonic() if self._due else _WAIT_S_MAX
                    self._changed.wait(min(left_s, _WAIT_S_MAX))
                _, number, call = heapq.heappop(self._due)
                due = number in self._open
                self._open.discard(number)
            if due:
                call()
