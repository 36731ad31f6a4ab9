"""Owns the answers that a coordinator keeps: of the same question over the same snapshot. Thread-safe.

Correct because a snapshot's identity says which events are in it (query.holdings), and only answers that depend on
nothing else are put here.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

import pyarrow as pa

from core.limits import RESULT_CACHED_BYTES_MAX


class HasTable(Protocol):
    """An answer with rows."""

    @property
    def table(self) -> pa.Table: ...


_Answer = TypeVar("_Answer", bound=HasTable)
_ENTRY_BYTES = 2_048  # beyond the rows


class ResultCache(Generic[_Answer]):
    """Answers by question and snapshot, least recently used first out."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, tuple[_Answer, int]] = OrderedDict()  # with its size
        self._bytes = 0
        self.hits = 0
        self.misses = 0

    def holds(self, key: Hashable) -> bool:
        """Whether an answer is kept under `key`."""
        with self._lock:
            return key in self._answers

    def get(self, key: Hashable) -> _Answer | None:
        """The answer kept under `key`."""
        with self._lock:
            kept = self._answers.get(key)
            if kept is None:
                self.misses += 1
                return None
            self.hits += 1
            self._answers.move_to_end(key)
            return kept[0]

    def put(self, key: Hashable, answer: _Answer) -> None:
        """Keep `answer`, unless its rows are too many."""
        # The key holds the text of the question, which may be longer than its answer.
        size = answer.table.nbytes + len(repr(key)) + _ENTRY_BYTES
        if size > min(RESULT_CACHED_BYTES_MAX, self._bytes_max):
            return
        with self._lock:
            if key in self._answers:
                return
            self._answers[key] = (answer, size)
            self._bytes += size
            while self._bytes > self._bytes_max:
                _, (_, oldest) = self._answers.popitem(last=False)
                self._bytes -= oldest

    def status(self) -> dict[str, int]:
        """Numbers for people: hits and misses since the start, entries and bytes now."""
        with self._lock:
            return {"hits": self.hits, "misses": self.misses, "entries": len(self._answers), "bytes": self._bytes}
