"""One seeded life after another of a shard with a dedup key, against the model: crashes after any operation.

Used by tests/unit/test_dedup_crash.py with a few seeds and by tests/torture/dedup.py with many.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from core.append import LOCAL, MEMORY
from core.clock import ManualClock
from storage.keys import ids_prefix
from storage.shard import Shard
from tests.support.dedup import (
    SECOND_US,
    WINDOW_US,
    Model,
    Sent,
    append_events,
    numbered,
    open_dedup,
    stored_events,
)
from tests.support.shards import STREAM, TENANT, objects_on
from tests.support.simfs import SimFileSystem

IDS = 12  # so few that many come again


@dataclass
class Counted:
    """What a campaign went through."""

    states: int = 0
    batches: int = 0
    duplicates: int = 0
    late: int = 0
    retries: int = 0
    flushes: int = 0


@dataclass
class Campaign:
    """One shard through several lives. `before` and `after` are what a crash right now may leave."""

    seed: int
    share: float = 0.1  # of the operations after which crashes are tried
    rng: random.Random = field(init=False)
    clock: ManualClock = field(default_factory=ManualClock)
    fs: SimFileSystem = field(default_factory=SimFileSystem)
    counted: Counted = field(default_factory=Counted)
    before: Model = field(default_factory=Model)
    after: Model = field(default_factory=Model)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.number = numbered()

    def run(self, lives: int, steps: int) -> Counted:
        for _ in range(lives):
            self.fs.after_operation = self._observe
            self._life(steps)
            self.fs.after_operation = None
            self.fs = next(iter(self.fs.crash_states(self.rng, 1))) if self.rng.random() < 0.5 else self.fs.killed()
            self._check(self.fs.killed())
        return self.counted

    def _life(self, steps: int) -> None:
        shard = open_dedup(self.fs, self.clock)
        producer = f"p{self.rng.randrange(2)}"
        epoch, sequence = shard.open_producer(TENANT, STREAM, producer).epoch, 0
        last: tuple[list[Sent], tuple[int, int]] | None = None
        for _ in range(steps):
            action = self.rng.random()
            if action < 0.2:
                self.counted.flushes += shard.flush() > 0
                self._check_no_orphans(shard)
            elif action < 0.35 and last is not None:
                events, counts = last
                ack = append_events(shard, producer, epoch, sequence - 1, events)
                assert ack.duplicate and (ack.duplicate_ids, ack.late) == counts
                self.counted.retries += 1
            elif action < 0.5:
                self.clock.advance(self.rng.choice((1, 9, 10, 30)))
            else:
                events = self._events()
                last = events, self._append(shard, producer, epoch, sequence, events)
                sequence += 1
        shard.abandon()

    def _append(self, shard: Shard, producer: str, epoch: int, sequence: int, events: list[Sent]) -> tuple[int, int]:
        self.after = self.before.copy()
        counts = self.after.append(events, self.clock.now_us())
        ack = append_events(shard, producer, epoch, sequence, events)
        assert (ack.duplicate, ack.duplicate_ids, ack.late) == (False, *counts)
        self.before = self.after
        self.counted.batches += 1
        self.counted.duplicates += counts[0]
        self.counted.late += counts[1]
        return counts

    def _events(self) -> list[Sent]:
        now_us = self.clock.now_us()
        found = []
        for _ in range(self.rng.randrange(1, 6)):
            back = self.rng.choice((0, 0, 1, 5, 20, 70, 79, 80, 81, 90, 200, -1, -500))
            id_ = None if self.rng.random() < 0.1 else f"id{self.rng.randrange(IDS)}"
            found.append(Sent(id_, now_us - back * SECOND_US, self.number()))
        return found

    def _observe(self, operation: str, path: str) -> None:
        if self.rng.random() < self.share:
            for state in self.fs.crash_states(self.rng, 2):
                self._check(state.killed())
                self.counted.states += 1

    def _check(self, state: SimFileSystem) -> None:
        """Recover `state` and compare what is stored, and what it takes for duplicates, with the model."""
        shard = open_dedup(state, self.clock)
        stored = [(event.n, event.late) for event in stored_events(shard, objects_on(state))]
        model = self.after if stored == self.after.stored else self.before
        assert stored == model.stored
        self._check_no_orphans(shard, state)
        if self.rng.random() < 0.5:
            shard.flush()
        probe = model.copy()
        epoch = shard.open_producer(TENANT, STREAM, "probe").epoch
        now_us = self.clock.now_us()
        for sequence, back in enumerate((0, WINDOW_US // 2 // SECOND_US)):
            events = [Sent(f"id{i}", now_us - back * SECOND_US, -1 - i) for i in range(IDS)]
            counts = probe.append(events, now_us)
            ack = append_events(shard, "probe", epoch, sequence, events, self.rng.choice((LOCAL, MEMORY)))
            assert (ack.duplicate_ids, ack.late) == counts
        shard.abandon()

    def _check_no_orphans(self, shard: Shard, fs: SimFileSystem | None = None) -> None:
        """The runs on storage are those that the manifest names, and all of them live."""
        keys = {info.key for info in objects_on(fs or self.fs).list(ids_prefix(0))}
        named = {run.name for ids in shard._manifest.id_runs.values() for run in ids.runs}
        assert keys == named
