"""Named snapshots against compaction and garbage collection: what a snapshot names stays, whatever comes when."""

from __future__ import annotations

import random

import pytest

from core.clock import ManualClock
from core.errors import Unavailable
from core.ids import ShardId
from core.limits import GARBAGE_GRACE_S, SNAPSHOT_TAKE_S_MAX
from storage.catalog import CatalogStore
from storage.keys import index_key, segments_prefix
from storage.local_objects import LocalObjectStore
from storage.named_snapshots import NamedSnapshots
from storage.snapshot_files import files_of, verified
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from tests.support.compacted import GRACE_S, Compaction
from tests.support.faultfs import FaultFileSystem
from tests.support.shards import ROOT, STREAM, TENANT, append, objects_on, open_on, read_segment
from tests.support.simfs import SimFileSystem


class Life:
    """A shard that is written to and compacted, and a way to take snapshots with something done before every step."""

    def __init__(self) -> None:
        self.fs, self.clock = SimFileSystem(), ManualClock()
        self.objects = objects_on(self.fs)
        open_storage(self.objects, 1)
        self.shard = open_on(self.fs, clock=self.clock, objects=self.objects)
        self.compaction = Compaction(self.shard, self.objects, self.clock)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = 0
        self.stepping = FaultFileSystem(self.fs)
        steps = (f"{number:016x}" for number in range(10**6, 10**9))
        objects = LocalObjectStore(ROOT, self.stepping, lambda: next(steps))
        self.catalog = CatalogStore(objects, self.clock, 1)
        self.catalog.ensure_stream(TENANT, StreamSettings(STREAM))
        self.snapshots = NamedSnapshots(objects, self.clock, self.catalog)

    @property
    def sent(self) -> int:
        return 3 * self.sequence

    def flush(self, times: int = 1) -> None:
        for _ in range(times):
            append(self.shard, "p", self.epoch, self.sequence, range(self.sent, self.sent + 3))
            self.sequence += 1
            self.shard.flush()

    def take(self) -> bool:
        try:
            self.snapshots.take(TENANT, "a", None, [ShardId(0)], self.shard.flush)
        except Unavailable:
            return False
        return True

    def numbers(self) -> list[int]:
        """What the snapshot holds, every file of it verified."""
        snapshot = self.snapshots.get(TENANT, "a")
        for file in files_of(snapshot):
            verified(file, self.objects.get(file.name), "the storage")
        segments = snapshot.segments
        return sorted(n for s in segments for n in read_segment(self.objects, s.name).column("n").to_pylist())

    def collect(self) -> None:
        """Merge what can be merged, and delete all that may be deleted."""
        self.clock.advance(86_400)
        self.compaction.run()
        self.clock.advance(GRACE_S)
        self.shard.collect_garbage(GRACE_S)

    def only_live_files(self) -> bool:
        segments = self.shard.manifest.segments
        live = {key for segment in segments for key in (segment.name, index_key(segment.name))}
        return {info.key for info in self.objects.list(segments_prefix(0))} == live


def test_the_grace_of_garbage_is_longer_than_taking_a_snapshot_may_take() -> None:
    assert GARBAGE_GRACE_S > SNAPSHOT_TAKE_S_MAX


def test_a_snapshot_keeps_what_was_merged_until_it_is_dropped() -> None:
    life = Life()
    life.flush(12)
    assert life.take()
    life.flush(2)
    life.collect()
    assert life.numbers() == list(range(36))
    assert not life.only_live_files()
    life.snapshots.drop(TENANT, "a")
    life.collect()
    assert life.only_live_files()
    assert not life.shard.manifest.removed


@pytest.mark.parametrize("seed", range(8))
def test_a_snapshot_that_is_taken_beside_merges_and_deletions_is_whole(seed) -> None:
    beside_deletions(seed)


def beside_deletions(seed: int) -> tuple[int, int]:
    """Take a snapshot with merges, deletions and time before its steps; whether it was taken (1), and deeds beside."""
    rng = random.Random(seed)
    life = Life()
    life.flush(rng.randrange(2, 10))
    sent, deeds, busy = life.sent, 0, False
    life.compaction.run()  # so that there is garbage of some age
    life.clock.advance(rng.uniform(0, GRACE_S))
    share, pauses = rng.choice([0.03, 0.1, 0.3]), rng.choice([[0.01, 0.1], [1, 5], [20], [GRACE_S]])

    def act(operation: str, path: str) -> None:
        nonlocal deeds, busy
        if busy or rng.random() > share:
            return
        busy = True
        for deed in rng.sample((life.flush, life.compaction.run), rng.randrange(3)):
            deed()
            life.clock.advance(rng.choice(pauses))
            deeds += 1
        deeds += life.shard.collect_garbage(GRACE_S)
        busy = False

    life.stepping.before = act
    taken = life.take()
    life.stepping.before = None
    assert bool(life.objects.list("snapshots/")) == taken
    if taken:
        held = life.numbers()
        assert held == list(range(len(held))) and len(held) >= sent
        life.flush()
        life.collect()
        assert life.numbers() == held
    return int(taken), deeds
