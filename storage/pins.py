"""Owns the snapshots that running queries hold on one shard, and lets go of forgotten ones. Thread-safe."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from core.clock import Clock
from core.errors import Unavailable
from storage.snapshot import StreamSnapshot

Snapshots = Mapping[str, StreamSnapshot]  # by stream


class Pins:
    """Snapshots by query id; each is let go of `seconds_max` after it was pinned, whatever its coordinator does."""

    def __init__(self, clock: Clock, seconds_max: float) -> None:
        self._clock = clock
        self._seconds_max = seconds_max
        self._lock = threading.Lock()
        self._pins: dict[str, tuple[float, Snapshots]] = {}

    def pin(self, query_id: str, snapshots: Snapshots) -> None:
        """Hold `snapshots` for the query."""
        self.expire()
        with self._lock:
            self._pins[query_id] = (self._clock.steady_s(), snapshots)

    def expire(self) -> None:
        """Let go of what was pinned too long ago."""
        now_s = self._clock.steady_s()
        with self._lock:
            for forgotten in [q for q, (at_s, _) in self._pins.items() if now_s - at_s > self._seconds_max]:
                del self._pins[forgotten]

    def take(self, query_id: str) -> Snapshots:
        """The snapshots of the query, no longer held; raises Unavailable when this process does not know it."""
        with self._lock:
            pinned = self._pins.pop(query_id, None)
        if pinned is None:
            raise Unavailable(f"the snapshot of query {query_id} is gone, the shard was restarted: run the query again")
        return pinned[1]

    def release(self, query_id: str) -> None:
        """Let go of the query's snapshots, if any."""
        with self._lock:
            self._pins.pop(query_id, None)

    def __len__(self) -> int:
        return len(self._pins)
