"""Owns the demo's live source: a thread that sends the new lines of Ray's log files as events, through one producer."""

from __future__ import annotations

import threading

from core.errors import MalamuteError
from malamute.client import Client
from malamute.producer import Producer
from malamute.tail import Tail

EVERY_S = 0.5


class LogFeed:
    """Follows log files into a stream until it is stopped."""

    def __init__(self, client: Client, tail: Tail, stream: str) -> None:
        self._tail = tail
        self._producer: Producer = client.producer("ray-log-files", stream=stream)
        self._stopping = threading.Event()
        self._failure: MalamuteError | None = None
        self._thread = threading.Thread(target=self._follow, name="log feed", daemon=True)
        self._thread.start()

    @property
    def events(self) -> int:
        """Lines acknowledged so far."""
        return self._producer.receipt.accepted

    def stop(self) -> int:
        """Send the last lines, wait for their acknowledgement, return how many there were in all."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self._producer.close()
        return self.events

    def _follow(self) -> None:
        try:
            while not self._stopping.wait(EVERY_S):
                self._send(at_end=False)
            self._send(at_end=True)
        except MalamuteError as error:
            self._failure = error

    def _send(self, at_end: bool) -> None:
        lines = self._tail.lines(at_end=at_end)
        if lines:
            self._producer.send_batch(lines)
