"""Owns the second request for an answer that is late: whichever comes first is taken, the other is dropped.

Late is what took longer than 95 % of the latest answers. Of objects that never change it does not matter which request
is answered. Time is that until the first byte, so that the size of an object does not count.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from core.clock import Clock
from core.limits import HEDGE_READ_S_FIRST, HEDGE_READ_S_MIN, HEDGE_READ_SAMPLES
from storage.retry_tokens import RetryTokens

T = TypeVar("T")


class HedgedReads:
    """Sends reads, and sends them again when they are late. Thread-safe; its own thread waits for the answers."""

    def __init__(self, clock: Clock, tokens: RetryTokens, on_hedge: Callable[[], None]) -> None:
        self._clock = clock
        self._tokens = tokens
        self._on_hedge = on_hedge
        self._lock = threading.Lock()
        self._seconds: deque[float] = deque(maxlen=HEDGE_READ_SAMPLES)
        self._loop: asyncio.AbstractEventLoop | None = None

    def read(self, request: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The answer to `request`, which may be sent twice. Raises what the last of them raised."""
        return asyncio.run_coroutine_threadsafe(self._first_of(request), self._running_loop()).result()

    def late_after_s(self) -> float:
        """How long the answer to a read may take before it is sent again."""
        with self._lock:
            seconds = sorted(self._seconds)
        if len(seconds) < HEDGE_READ_SAMPLES // 4:
            return HEDGE_READ_S_FIRST
        return max(HEDGE_READ_S_MIN, seconds[len(seconds) * 95 // 100])

    async def _first_of(self, request: Callable[[], Coroutine[Any, Any, T]]) -> T:
        pending = {asyncio.ensure_future(self._timed(request))}
        done, pending = await asyncio.wait(pending, timeout=self.late_after_s())
        # A second request takes a token of the retries: a store that is slow as a whole is not asked twice as much.
        if pending and self._tokens.take_now():
            self._on_hedge()
            pending.add(asyncio.ensure_future(self._timed(request)))
        while True:
            answered = [task for task in done if task.exception() is None]
            if answered or not pending:
                for task in pending:
                    task.cancel()
                return (answered or [*done])[0].result()
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)

    async def _timed(self, request: Callable[[], Coroutine[Any, Any, T]]) -> T:
        started_s = self._clock.steady_s()
        answer = await request()
        with self._lock:
            self._seconds.append(self._clock.steady_s() - started_s)
        return answer

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="hedged reads", daemon=True).start()
            return self._loop
