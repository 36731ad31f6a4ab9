"""Owns how often a process sends a request a second time: a token bucket. Never sleeps.

Each operation pauses between its attempts; a hundred that fail together would still hit a server that is down, or just
coming back, a hundred times. The bucket bounds what all of them send together. First attempts need no token.
"""

from __future__ import annotations

import threading

from core.clock import Clock
from core.limits import OBJECT_RETRIES_BURST, OBJECT_RETRIES_PER_S


class RetryTokens:
    """`burst` tokens at once and `per_s` a second. Thread-safe."""

    def __init__(self, clock: Clock, per_s: float = OBJECT_RETRIES_PER_S, burst: int = OBJECT_RETRIES_BURST) -> None:
        self._clock = clock
        self._per_s = per_s
        self._burst = burst
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._filled_s = clock.steady_s()

    def take(self) -> float:
        """Take a token; returns how many seconds later it may be used. Those who come later wait longer."""
        with self._lock:
            self._fill()
            self._tokens -= 1
            return max(0.0, -self._tokens / self._per_s)

    def give_back(self) -> None:
        """Return a token that was not used."""
        with self._lock:
            self._tokens += 1

    def take_now(self) -> bool:
        """Take a token if there is one that may be used at once."""
        with self._lock:
            self._fill()
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True

    def _fill(self) -> None:
        now_s = self._clock.steady_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._filled_s) * self._per_s)
        self._filled_s = now_s
