"""Owns a shard's life inside one process: open, serve, open again after a failure, close. No Ray.

Opening may fail (disk full, object store away, the old process still holds the lock): it is tried again whenever
somebody needs the shard. While a poisoned shard cannot be opened again it still answers queries from what it holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from core.append import Ack, AppendRequest, ProducerOpened
from core.clock import Clock
from core.errors import Fenced, MalamuteError, ShardFenced, Unavailable, WalMissing
from core.placement import FIRST, Placement
from storage.shard import Shard
from storage.snapshot import StreamSnapshot

WAITS_FOR_DISK: Final = "waiting for its disk"
REOPEN_INTERVAL_S = 1.0  # between two attempts to open


class ShardHost:
    """One shard and the way to open it. Thread-safe."""

    def __init__(self, open_shard: Callable[[], Shard], clock: Clock) -> None:
        self._open_shard = open_shard
        self._clock = clock
        self._lock = threading.Lock()
        self._shard: Shard | None = None
        self._failure: MalamuteError | None = None
        self._retry_at_s = 0.0
        self._opened = 0
        self._tried_again = False  # since the shard failed
        self._fenced: str | None = None
        self._closed = False
        self._seen_state: str | None = None
        self._since_us = clock.now_us()

    def open(self) -> None:
        """Recover the shard unless it serves. Raises why it cannot, and does not try more often than it makes sense."""
        self._writable()

    def append(self, request: AppendRequest) -> Ack:
        """See Shard.append. Raises ShardFenced when the shard has a newer owner."""
        shard = self._writable()
        with self._told_of_fence(shard):
            return shard.append(request)

    def open_producer(self, tenant: str, stream: str, producer_id: str, placement: int = FIRST) -> ProducerOpened:
        """See Shard.open_producer."""
        shard = self._writable()
        with self._told_of_fence(shard):
            return shard.open_producer(tenant, stream, producer_id, placement)

    def seal(self, placement: int) -> None:
        """See Shard.seal."""
        shard = self._writable()
        with self._told_of_fence(shard):
            shard.seal(placement)

    def adopt(self, before: Placement, after: Placement) -> None:
        """See Shard.adopt."""
        shard = self._writable()
        with self._told_of_fence(shard):
            shard.adopt(before, after)

    def snapshots(self, tenant: str, streams: Sequence[str]) -> dict[str, StreamSnapshot]:
        """See Shard.snapshots. An owner that knows it was replaced shows nothing: Unavailable."""
        return self._readable().snapshots(tenant, streams)

    def flush(self) -> int:
        """See Shard.flush. A shard that finds itself fenced accepts nothing more."""
        if self._fenced is not None:
            raise ShardFenced(self._fenced)
        try:
            return self._readable().flush()
        except Fenced as error:
            self._fenced = str(error)
            raise ShardFenced(self._fenced) from error

    @property
    def serving(self) -> Shard | None:
        """The shard, while it is open and not known to be fenced or poisoned."""
        shard = self._shard
        return shard if shard and self._fenced is None and not self._closed and shard.poisoned is None else None

    def flush_due(self) -> bool:
        """Whether flush() has something to do now."""
        shard = self._shard
        return shard is not None and self._fenced is None and not self._closed and shard.flush_due()

    def streams(self) -> dict[tuple[str, str], int]:
        """See Shard.streams."""
        return self._readable().streams()

    @property
    def state(self) -> str:
        """See status. Waits for nothing, not even for a shard that is being opened."""
        return self._state(self._shard)

    def status(self) -> dict[str, object]:
        """See Shard.status, with the `reason` of the state and since when it lasts.

        `state` is serving, recovering, waiting for its disk, read-only, fenced or closed.
        """
        shard, failure = self._shard, self._failure
        reason = self._fenced or (shard.poisoned if shard else None) or (str(failure) if failure else None)
        numbers = shard.status() if shard else {}
        state = self._state(shard)
        if state != self._seen_state:
            self._seen_state, self._since_us = state, self._clock.now_us()
        return {**numbers, "state": state, "reason": reason, "since_us": self._since_us, "opened": self._opened}

    def close(self) -> None:
        """Flush, seal, let go. Nothing is served afterwards."""
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._shard is not None:
                    self._shard.close()

    @contextmanager
    def _told_of_fence(self, shard: Shard) -> Iterator[None]:
        """Never open again a shard that a newer owner has; a producer that is fenced leaves the shard as it is."""
        try:
            yield
        except Fenced as error:
            self._fenced = self._fenced or shard.fenced
            if self._fenced is not None:
                raise ShardFenced(self._fenced) from error
            raise

    def _state(self, shard: Shard | None) -> str:
        if self._closed:
            return "closed"
        if self._fenced is not None:
            return "fenced"
        if isinstance(self._failure, WalMissing):
            return WAITS_FOR_DISK
        if shard is None:
            return "recovering"
        return "serving" if shard.poisoned is None else "read-only"

    def _readable(self) -> Shard:
        if self._fenced is not None:
            raise Unavailable(f"{self._fenced}; ask again: its new owner answers")
        return self._shard or self._writable()

    def _writable(self) -> Shard:
        if self._fenced is not None:
            raise ShardFenced(self._fenced)
        with self._lock:
            if self._closed:
                raise Unavailable("the shard is closed: open it again")
            if self._shard is None or self._shard.poisoned is not None:
                self._shard = self._recovered()
            return self._shard

    def _recovered(self) -> Shard:
        if self._failure is not None and self._clock.steady_s() < self._retry_at_s:
            raise self._failure
        failed = self._shard
        if failed is not None:
            failed.abandon()
        try:
            # Whoever took over while this one failed keeps the shard. Once this one has tried to open it again, a
            # newer epoch may be its own.
            if failed is not None and not self._tried_again and (epoch := failed.replaced_by()) is not None:
                raise Fenced(f"shard {failed.options.shard} is owned by epoch {epoch} now: its new owner serves it")
            self._tried_again = True
            shard = self._open_shard()
        except Fenced as error:
            self._fenced = str(error)  # somebody took over while this one opened: it is not ours to take back
            raise ShardFenced(self._fenced) from error
        except MalamuteError as error:
            self._failure = error
            self._retry_at_s = self._clock.steady_s() + REOPEN_INTERVAL_S
            raise
        self._failure = None
        self._tried_again = False
        self._opened += 1
        return shard
