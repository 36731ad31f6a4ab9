"""Owns the named producer: batching in the background, back-pressure, resuming from a position."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any

import pyarrow as pa

from core.batch import check_batch
from core.errors import InvalidRequest, Unavailable
from core.limits import BATCH_ROWS_TARGET, LINGER_S_DEFAULT, PRODUCER_QUEUE_BATCHES_MAX
from ingest.routing import ProducerSender
from ingest.shredded import Shredded
from malamute.receipt import Receipt

Shred = Callable[[Any], list[Shredded]]


class Producer:
    """Writes one ordered sequence of batches under a stable id, each exactly once. Made by Client.producer.

    send() and send_batch() return at once until PRODUCER_QUEUE_BATCHES_MAX batches wait; then they block. flush()
    returns when everything sent so far is acknowledged. An error of the background work is raised by the next call
    and ends the producer: open it again and go on from position(). Use it from one thread.
    """

    def __init__(self, sender: ProducerSender, shred: Shred, receipt: Receipt) -> None:
        self._sender = sender
        self._shred = shred
        self.receipt = receipt
        self._buffer: list[Mapping[str, Any]] = []
        self._lock = threading.Lock()  # guards _buffer and its order in _work
        self._work: queue.Queue[tuple[Any, bytes | None]] = queue.Queue(PRODUCER_QUEUE_BATCHES_MAX)
        self._failure: Exception | None = None
        self._closed = threading.Event()
        sender.open()
        self._worker = threading.Thread(target=self._run, name=f"producer {sender.producer_id}", daemon=True)
        self._ticker = threading.Thread(target=self._tick, name=f"linger {sender.producer_id}", daemon=True)
        self._worker.start()
        self._ticker.start()

    def send(self, event: Mapping[str, Any]) -> None:
        """Queue one event; it is sent with others when the batch is full or has waited long enough."""
        self._check()
        with self._lock:
            self._buffer.append(event)
            full = len(self._buffer) >= BATCH_ROWS_TARGET
        if full:
            self._enqueue_buffer()

    def send_batch(self, events: Any, position: bytes | None = None) -> None:
        """Queue one batch (what Client.write takes, but no path). `position` is stored in the same commit.

        A batch with a position is appended whole or not at all, so it must fit into one append. In a stream with a
        dedup key it may lie on several shards: the position is stored with the last part, when the others are stored.
        """
        self._check()
        self._enqueue_buffer()
        self._work.put((events, position))

    def position(self) -> bytes | None:
        """The position of the last acknowledged batch that had one, also of an earlier process."""
        return self._sender.position

    def flush(self) -> Receipt:
        """Wait until everything sent so far is acknowledged; returns the producer's running receipt."""
        self._check()
        self._enqueue_buffer()
        self._work.join()
        self._check()
        return self.receipt

    def close(self) -> None:
        """Flush and end the background work."""
        if self._closed.is_set():
            return
        try:
            self.flush()
        finally:
            self._closed.set()
            self._work.put((None, None))
            self._worker.join()
            self._ticker.join()

    def __enter__(self) -> Producer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None or self._failure is None:
            self.close()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed.is_set():
            raise Unavailable(f"producer {self._sender.producer_id!r} is closed: open it again")

    def _enqueue_buffer(self) -> None:
        # The lock is held while waiting for room, so that two threads cannot change the order of batches.
        with self._lock:
            events, self._buffer = self._buffer, []
            if events:
                self._work.put((events, None))

    def _tick(self) -> None:
        while not self._closed.wait(LINGER_S_DEFAULT):
            if self._failure is None and self._work.empty():
                self._enqueue_buffer()

    def _run(self) -> None:
        while True:
            try:
                events, position = self._work.get(timeout=LINGER_S_DEFAULT)
            except queue.Empty:
                self._attempt(self._sender.drain)
                continue
            try:
                if events is None:
                    return
                self._attempt(partial(self._send, events, position))
                if self._work.empty():
                    self._attempt(self._sender.drain)
            finally:
                self._work.task_done()

    def _attempt(self, step: Callable[[], None]) -> None:
        if self._failure is None:
            try:
                step()
            except Exception as error:
                # Nobody waits in this thread: the next call on the producer raises it.
                self._failure = error

    def _send(self, events: Any, position: bytes | None) -> None:
        pieces = self._shred(events)
        batches: list[pa.RecordBatch] = [check_batch(piece.batch) for piece in pieces if piece.batch is not None]
        if position is not None and len(batches) != 1:
            raise InvalidRequest(
                f"a batch with a position makes {len(batches)} appends: send at most one append's worth"
            )
        for batch in batches:
            self._sender.send(batch, position)
