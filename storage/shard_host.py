"""Owns a shard's life inside one process: open, serve, open again after a poisoned WAL, close. No Ray.

While a poisoned shard cannot be opened again (its disk is full, say) it still answers queries from what it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from core.append import Ack, AppendRequest, ProducerOpened
from core.clock import Clock
from core.errors import Fenced, MalamuteError, Unavailable
from storage.shard import Shard
from storage.snapshot import StreamSnapshot

REOPEN_INTERVAL_S = 1.0  # between two attempts to open a poisoned shard again


class ShardHost:
    """One shard and the way to open it again. Thread-safe."""

    def __init__(self, open_shard: Callable[[], Shard], clock: Clock) -> None:
        self._open_shard = open_shard
        self._clock = clock
        self._lock = threading.Lock()
        self._retry_at_s = 0.0
        self._reopened = 0
        self._fenced: str | None = None
        self._closed = False
        self._shard = open_shard()

    def append(self, request: AppendRequest) -> Ack:
        """See Shard.append."""
        return self._writable().append(request)

    def open_producer(self, tenant: str, stream: str, producer_id: str) -> ProducerOpened:
        """See Shard.open_producer."""
        return self._writable().open_producer(tenant, stream, producer_id)

    def snapshot(self, tenant: str, stream: str) -> StreamSnapshot:
        """See Shard.snapshot."""
        return self._shard.snapshot(tenant, stream)

    def flush(self) -> int:
        """See Shard.flush. A shard that finds itself fenced accepts nothing more."""
        try:
            return self._shard.flush()
        except Fenced as error:
            self._fenced = str(error)
            raise

    def flush_due(self) -> bool:
        """Whether flush() has something to do now."""
        return self._fenced is None and not self._closed and self._shard.flush_due()

    def streams(self) -> dict[tuple[str, str], int]:
        """See Shard.streams."""
        return self._shard.streams()

    def status(self) -> dict[str, object]:
        """See Shard.status."""
        return {**self._shard.status(), "reopened": self._reopened, "fenced": self._fenced}

    def close(self) -> None:
        """Flush, seal, let go. Nothing is served afterwards."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._shard.close()

    def _writable(self) -> Shard:
        if self._fenced is not None:
            raise Fenced(self._fenced)
        if self._closed:
            raise Unavailable(f"shard {self._shard.options.shard} is closed: open it again")
        if self._shard.poisoned is None:
            return self._shard
        with self._lock:
            reason = self._shard.poisoned
            if reason is None:
                return self._shard
            if self._clock.steady_s() < self._retry_at_s:
                raise Unavailable(f"shard {self._shard.options.shard} waits to recover from: {reason}; send again")
            self._retry_at_s = self._clock.steady_s() + REOPEN_INTERVAL_S
            self._shard.abandon()
            try:
                self._shard = self._open_shard()
            except (MalamuteError, OSError) as error:
                raise Unavailable(f"shard {self._shard.options.shard} cannot recover yet: {error}") from error
            self._reopened += 1
            return self._shard
