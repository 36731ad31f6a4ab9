"""`malamute verify` of a store that is compacted: before, afterwards and meanwhile."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from core.clock import ManualClock
from storage.shard import Shard
from storage.verify import verify_storage
from storage.verify_report import Report
from tests.support.compacted import GRACE_S, Compaction
from tests.support.shards import STREAM, TENANT, append
from tests.support.verify_store import SmallStore, begin, place_of


class Running:
    """A shard on a directory that goes on while it is verified."""

    def __init__(self, root: Path) -> None:
        self.store = SmallStore(root)
        self.clock = ManualClock()
        self.shard: Shard = begin(self.store.objects, str(self.store.wal), self.clock)
        self.compaction = Compaction(self.shard, self.store.objects, self.clock)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = 0

    def flush(self) -> None:
        append(self.shard, "p", self.epoch, self.sequence, range(self.sequence * 3, self.sequence * 3 + 3))
        self.sequence += 1
        self.shard.flush()

    def verify(self, during: Callable[[], None] = lambda: None) -> Report:
        """Verify while `during` is called after each segment."""
        place = place_of(self.store.objects, str(self.store.root / "wal"))
        return verify_storage(place, deep=True, on_progress=lambda progress: during())


def sound(report: Report) -> None:
    assert [str(finding) for finding in report.findings] == []


def test_a_compacted_store_is_sound(tmp_path: Path) -> None:
    running = Running(tmp_path)
    for _ in range(11):
        running.flush()
    running.compaction.run()
    sound(running.verify())
    running.clock.advance(GRACE_S)
    running.shard.collect_garbage(GRACE_S)
    running.flush()
    sound(running.verify())
    running.shard.abandon()
    sound(running.store.verify())


@pytest.mark.parametrize("seed", range(4))
def test_a_store_is_sound_while_it_is_compacted(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    running = Running(tmp_path)
    for _ in range(9):
        running.flush()

    def go_on() -> None:
        for _ in range(rng.randint(0, 3)):
            rng.choice([running.flush, running.compaction.step])()
        if rng.random() < 0.3:
            running.clock.advance(GRACE_S)
            running.shard.collect_garbage(GRACE_S)

    sound(running.verify(go_on))
    running.shard.abandon()
