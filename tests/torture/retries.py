"""T17: after each thing that may happen to a shard, acknowledged batches are sent again: all are duplicates."""

from __future__ import annotations

import random
from collections.abc import Callable

from core.append import LOCAL, OBJECT, Ack
from core.clock import ManualClock
from storage.shard import Shard, ShardOptions
from tests.support.shards import (
    OPTIONS,
    STREAM,
    TENANT,
    append,
    check_exactly_once,
    objects_on,
    open_on,
    open_on_objects,
    random_id,
    stored_rows,
)
from tests.support.simfs import SimFileSystem

RETRIES = 200
PRODUCERS = 3
BATCHES = 4  # of each producer, before and again after
# Each batch is a WAL file of its own, for "rotation" and all that follows it.
ROTATING = ShardOptions(OPTIONS.shard, OPTIONS.memtable_bytes_target, OPTIONS.memtable_bytes_max, 60.0, 1)


class _Life:
    """A shard, and what it acknowledged."""

    def __init__(self, durability: str, options: ShardOptions) -> None:
        self.durability = durability
        self.options = options
        self.fs = SimFileSystem()
        self.shard = self._open()
        self.epochs = [self.shard.open_producer(TENANT, STREAM, f"p{n}").epoch for n in range(PRODUCERS)]
        self.acks: list[list[tuple[list[int], Ack]]] = [[] for _ in range(PRODUCERS)]
        self.sent = 0

    def _open(self) -> Shard:
        if self.durability == OBJECT:
            return open_on_objects(objects_on(self.fs), options=self.options)
        return open_on(self.fs, options=self.options, clock=ManualClock(), file_ids=random_id)

    def append_to_each(self, rng: random.Random) -> None:
        for number in range(PRODUCERS):
            for _ in range(BATCHES):
                rows = list(range(self.sent, self.sent + rng.randrange(1, 4)))
                self.sent += len(rows)
                sequence = len(self.acks[number])
                ack = append(self.shard, f"p{number}", self.epochs[number], sequence, rows, self.durability)
                assert not ack.duplicate
                self.acks[number].append((rows, ack))

    def send_again(self, rng: random.Random) -> None:
        number = rng.randrange(PRODUCERS)
        sequence = rng.randrange(len(self.acks[number]))
        rows, first = self.acks[number][sequence]
        again = append(self.shard, f"p{number}", self.epochs[number], sequence, rows, self.durability)
        assert again.duplicate, f"batch {sequence} of p{number} was stored again"
        if sequence == len(self.acks[number]) - 1:
            assert (again.first_offset, again.last_offset) == (first.first_offset, first.last_offset)

    def check(self) -> None:
        sent = set(range(self.sent))
        check_exactly_once(stored_rows(self.shard, objects_on(self.fs)), sent, sent)

    # --- what happens to it -----------------------------------------------------------------------------------------

    def nothing(self, rng: random.Random) -> None:
        """The retries come at once."""

    def flush(self, rng: random.Random) -> None:
        self.shard.flush()

    def restart(self, rng: random.Random) -> None:
        self.shard.close()
        self.shard = self._open()

    def kill(self, rng: random.Random) -> None:
        self.shard.abandon()
        self.fs = self.fs.killed()
        self.shard = self._open()

    def power_cut(self, rng: random.Random) -> None:
        self.shard.abandon()
        self.fs = rng.choice(list(self.fs.crash_states(rng, 8)))
        self.shard = self._open()

    def flush_and_kill(self, rng: random.Random) -> None:
        self.flush(rng)
        self.kill(rng)

    def replacement(self, rng: random.Random) -> None:
        """A newer owner takes the shard from one that is still there."""
        if self.durability == LOCAL:
            self.shard.abandon()  # the lock: on one disk the old owner is dead
        self.shard = self._open()


EVENTS: tuple[Callable[[_Life, random.Random], None], ...] = (
    _Life.nothing,
    _Life.flush,
    _Life.restart,
    _Life.kill,
    _Life.power_cut,
    _Life.flush_and_kill,
    _Life.replacement,
)


def after_each_event(seed: int) -> dict[str, int]:
    """A shard for each event, on disk and on objects, with WAL files of usual and of least size."""
    rng = random.Random(seed)
    kinds = ((LOCAL, OPTIONS), (LOCAL, ROTATING), (OBJECT, OPTIONS))
    for durability, options in kinds:
        for event in EVENTS:
            life = _Life(durability, options)
            life.append_to_each(rng)
            event(life, rng)
            for _ in range(RETRIES):
                life.send_again(rng)
            life.append_to_each(rng)
            life.check()
    return {"events": len(kinds) * len(EVENTS), "retries": len(kinds) * len(EVENTS) * RETRIES}
