"""Owns how a source writes: events and what was refused of them, with the position behind them, each exactly once.

What is refused is a stream of its own with a position of its own, and is there before the position of the events moves:
what is read again after a crash is then known to be there. Never reads a source.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar

import pyarrow as pa

from core.clock import Clock
from core.errors import Fenced, Overloaded, check
from core.limits import BATCH_ROWS_TARGET, SOURCE_PAUSE_S, SOURCE_REOPEN_S, SOURCE_RETRY_S
from ingest.routing import ProducerSender, producer_sender
from ingest.sender import RETRIED
from ingest.shred import ShredSettings, shred_dicts
from malamute.sources.store import SourceStore

Answer = TypeVar("Answer")


class Position(Protocol):
    """A place in a source; what lies before it is stored when it is."""

    def encode(self) -> bytes:
        """The position as it is stored beside a batch."""
        ...


class Refused(NamedTuple):
    """What the store is told of a record that is no event, and the position behind that record."""

    event: dict[str, Any]
    position: Position


class Patience:
    """Repeats what an unavailable or overloaded store did not take, for `seconds`, or until `stopping` is set.

    `on_wait` is told why it is repeated.
    """

    def __init__(
        self, stopping: threading.Event, on_wait: Callable[[str], None], clock: Clock, seconds: float = math.inf
    ) -> None:
        self._stopping = stopping
        self._on_wait = on_wait
        self._clock = clock
        self._seconds = seconds

    def settled(self, step: Callable[[], Answer]) -> Answer:
        """The answer to `step`, which may be called again after it failed; its last error when the patience ended."""
        deadline_s = self._clock.steady_s() + self._seconds
        while True:
            try:
                return step()
            except RETRIED as error:
                if self._stopping.is_set() or self._clock.steady_s() > deadline_s:
                    raise
                self._on_wait(str(error))
                self._stopping.wait(error.retry_after if isinstance(error, Overloaded) else SOURCE_PAUSE_S)


class SourceWriter:
    """Writes into `stream`, and what was refused into `<stream>_refused`, as the producer `source_id`. One thread."""

    def __init__(self, store: SourceStore, stream: str, source_id: str, patience: Patience, clock: Clock) -> None:
        self.source_id = source_id
        self._store = store
        self._patience = patience
        self._clock = clock
        self._refused_stream = refused_stream(stream)
        form = patience.settled(partial(store.stream, stream))
        self._events = self._sender(stream, form.dedup_key)
        self._refused: ProducerSender | None = None
        self._opened_s = 0.0

    def open(self) -> bytes | None:
        """Fence whoever wrote under this id until now; the position that was stored last, None when there is none."""
        self._patience.settled(self._events.open)
        self._opened_s = self._clock.steady_s()
        return self._events.position

    def refused_position(self) -> bytes | None:
        """The position behind the last that was refused and is stored."""
        return self._refusals().position

    def write(self, batch: pa.RecordBatch | None, refused: Sequence[Refused], position: Position) -> None:
        """Store what was refused, then send the events: both lie before `position`. Waits for the batch before.

        Raises Fenced when another writer opened this id, InvalidRequest when the store refuses the batch.
        """
        if refused:
            self._write_refused(refused, position)
        if batch is not None:
            self._patience.settled(partial(self._events.send, batch, position.encode()))

    def drain(self) -> None:
        """Wait until everything is stored."""
        self._patience.settled(self._events.drain)

    def keep(self) -> None:
        """Open again what was opened long ago: a shard forgets idle producers with their positions.

        Raises Fenced when the position is not the one that was left: this writer was paused, and another one has taken
        over.
        """
        if self._clock.steady_s() - self._opened_s < SOURCE_REOPEN_S:
            return
        self.drain()
        left = self._events.position
        if self.open() != left:
            raise Fenced(f"another writer has moved the position of {self.source_id!r}")
        if self._refused is not None:
            self._patience.settled(self._refused.open)

    def _write_refused(self, refused: Sequence[Refused], position: Position) -> None:
        sender = self._refusals()
        for start in range(0, len(refused), BATCH_ROWS_TARGET):
            part = refused[start : start + BATCH_ROWS_TARGET]
            piece = shred_dicts([one.event for one in part], ShredSettings(), ingest_time_us=self._clock.now_us())
            check(piece.batch is not None and not piece.rejected, "SRC-1", "what was refused is refused again")
            behind = position if part[-1] is refused[-1] else part[-1].position
            self._patience.settled(partial(sender.send, piece.batch, behind.encode()))
        self._patience.settled(sender.drain)

    def _refusals(self) -> ProducerSender:
        if self._refused is None:
            self._patience.settled(partial(self._store.stream, self._refused_stream))
            sender = self._sender(self._refused_stream, None)
            self._patience.settled(sender.open)
            self._refused = sender
        return self._refused

    def _sender(self, stream: str, dedup_key: str | None) -> ProducerSender:
        store = self._store
        return producer_sender(
            store.transport,
            store.transport.placement,
            store.tenant,
            stream,
            self.source_id,
            dedup_key,
            level=store.level,
            retry_seconds=SOURCE_RETRY_S,
        )


def refused_stream(stream: str) -> str:
    """The stream of what was refused of the events for `stream`."""
    return f"{stream}_refused"


def text_or_bytes(data: bytes | None) -> str | bytes | None:
    """`data` as text when it is UTF-8."""
    try:
        return None if data is None else data.decode()
    except UnicodeDecodeError:
        return data
