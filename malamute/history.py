"""Owns the history of a test: what producers sent and were told, what readers saw, and whether it all fits. No Ray.

Every producer numbers its events from 0 on and sends them in order. What is stored at the end has to hold each
acknowledged event once, in order, at an offset of its own; every answer has to hold what was acknowledged before it was
asked for.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_EXAMPLES = 3  # of each kind of finding that are told


@dataclass(frozen=True, slots=True)
class Row:
    """One stored event: where it lies, whose it is and its number."""

    shard: int
    offset: int
    producer: str
    n: int


@dataclass(frozen=True, slots=True)
class Seen:
    """What one answer holds of one producer: events, different ones, and the largest number."""

    events: int
    distinct: int
    largest: int


@dataclass(slots=True)
class Findings:
    """What does not fit, by kind: lost, unseen, doubled, reordered, never sent, gaps. Empty is what is wanted."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, example: str) -> None:
        """One more of a kind."""
        self.counts[kind] += 1
        if len(self.examples[kind]) < _EXAMPLES:
            self.examples[kind].append(example)

    def __str__(self) -> str:
        return "; ".join(f"{self.counts[kind]} {kind}: {', '.join(told)}" for kind, told in self.examples.items())


class History:
    """The record of one test. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: Counter[str] = Counter()  # how many events of each producer: numbers 0 to that
        self._acknowledged: Counter[str] = Counter()
        self._reads = 0
        self._findings = Findings()

    @property
    def sent(self) -> int:
        """Events that were handed to producers."""
        return self._sent.total()

    @property
    def acknowledged(self) -> int:
        """Events whose acknowledgement arrived."""
        return self._acknowledged.total()

    @property
    def reads(self) -> int:
        """Answers that were looked at."""
        return self._reads

    def note_sent(self, producer: str, total: int) -> None:
        """The producer was handed its first `total` events; before any of them is on its way."""
        with self._lock:
            self._sent[producer] = total

    def note_acknowledged(self, producer: str, total: int) -> None:
        """The first `total` events of the producer are acknowledged."""
        with self._lock:
            self._acknowledged[producer] = total

    def before_read(self) -> Mapping[str, int]:
        """What an answer that is asked for from now on has to hold at least."""
        with self._lock:
            return dict(self._acknowledged)

    def note_read(self, least: Mapping[str, int], seen: Mapping[str, Seen]) -> None:
        """An answer that was asked for after `least` was acknowledged; it may hold more, but no gaps."""
        with self._lock:
            self._reads += 1
            for producer, events in least.items():
                found = seen.get(producer, Seen(0, 0, -1))
                if found.distinct < events:
                    self._findings.add("unseen", f"{found.distinct} of {events} of {producer} in read {self._reads}")
                if found.events != found.distinct:
                    self._findings.add("doubled", f"{producer} in read {self._reads}")
                if found.largest + 1 != found.distinct:
                    self._findings.add("reordered", f"{producer} up to {found.largest} in read {self._reads}")

    def check(self, rows: Iterable[Row], *, dense: bool) -> Findings:
        """What does not fit between the history and what is stored; `dense`: the rows are all that the shards have."""
        numbers: dict[str, Counter[int]] = defaultdict(Counter)
        last: dict[tuple[int, str], int] = {}
        offsets: dict[int, Counter[int]] = defaultdict(Counter)
        with self._lock:
            for row in sorted(rows, key=lambda row: (row.shard, row.offset)):
                numbers[row.producer][row.n] += 1
                offsets[row.shard][row.offset] += 1
                if row.n <= last.get((row.shard, row.producer), -1):
                    self._findings.add("reordered", f"{row}")
                last[row.shard, row.producer] = row.n
            for producer in self._sent.keys() | numbers.keys():
                self._check_producer(producer, numbers[producer])
            for shard, used in offsets.items():
                self._check_offsets(shard, used, dense)
            return self._findings

    def _check_producer(self, producer: str, numbers: Counter[int]) -> None:
        for n in range(self._acknowledged[producer]):
            if n not in numbers:
                self._findings.add("lost", f"{producer} {n}")
        for n, times in numbers.items():
            if times > 1:
                self._findings.add("doubled", f"{producer} {n}")
            if not 0 <= n < self._sent[producer]:
                self._findings.add("never sent", f"{producer} {n}")

    def _check_offsets(self, shard: int, used: Counter[int], dense: bool) -> None:
        for offset, times in used.items():
            if times > 1:
                self._findings.add("doubled", f"offset {offset} of shard {shard}")
        if dense and len(used) != max(used) + 1:
            self._findings.add("gaps", f"{len(used)} offsets up to {max(used)} in shard {shard}")
