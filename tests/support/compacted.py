"""A shard that is compacted in tests: its jobs carried out at once, in memory or on any file system."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from core.batch import OFFSET
from core.clock import Clock, ManualClock
from core.limits import COMPACTION_LOOK_S
from storage.catalog import CatalogStore
from storage.compaction import Job, carry_out
from storage.compaction_jobs import CompactionJobs
from storage.compaction_plan import CompactionRules
from storage.keys import index_key, segments_prefix
from storage.named_snapshots import NamedSnapshots
from storage.objects import ObjectStore
from storage.replacement import Replacement
from storage.shard import Shard
from storage.snapshot import StreamSnapshot
from tests.support.shards import (
    STREAM,
    TENANT,
    append,
    check_exactly_once,
    objects_on,
    open_on,
    read_segment,
    stored_rows,
)
from tests.support.simfs import SimFileSystem

# A handful of rows are a segment, so that a test with a few appends meets tiers and levels.
RULES = CompactionRules(rows_target=8, bytes_target=10**9, inputs_max=3, level_factor=2, levels_max=3, cold_s=60.0)
GRACE_S = 100.0


class Compaction:
    """The jobs of one shard, and how to carry them out over `objects`."""

    def __init__(self, shard: Shard, objects: ObjectStore, clock: Clock, rules: CompactionRules = RULES) -> None:
        self.shard, self.objects = shard, objects
        self.jobs = CompactionJobs(rules, objects, clock)

    def merged(self, job: Job, pause: Callable[[], None] = lambda: None) -> Replacement:
        return carry_out(job, self.objects, lambda segment: pa.py_buffer(self.objects.get(segment.name)), pause)

    def step(self) -> bool:
        """Take, carry out and publish one merge; False when none is due."""
        job = self.jobs.take(self.shard)
        return job is not None and self.jobs.finish(self.shard, self.merged(job))

    def run(self) -> int:
        """Merge until nothing is due; how many merges."""
        merges = 0
        while self.step():
            merges += 1
        return merges

    @property
    def look_s(self) -> float:
        """When a shard in which nothing changed is planned anew."""
        return COMPACTION_LOOK_S + 1


class Walk:
    """A shard through random steps: events, flushes, merges that take their time, crashes, readers, named snapshots.

    Readers read the files of their snapshot at any moment of the longest query; everything that is not needed is gone
    at the end.
    """

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.fs = SimFileSystem()
        self.clock = ManualClock()
        self.objects: ObjectStore = objects_on(self.fs)
        self.counts: Counter[str] = Counter()
        self.acknowledged = 0
        self.readers: list[tuple[float, StreamSnapshot]] = []
        self.jobs: list[tuple[Compaction, Job, Replacement | None]] = []
        self.snapshots = NamedSnapshots(self.objects, self.clock, CatalogStore(self.objects, self.clock, 1))
        self.held: dict[str, set[str]] = {}
        self.open()

    def open(self) -> None:
        self.shard = open_on(self.fs, clock=self.clock, objects=self.objects)
        self.compaction = Compaction(self.shard, self.objects, self.clock)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = 0

    def run(self, steps: int) -> Counter[str]:
        actions = {
            self.write: 3, self.flush: 12, self.take: 8, self.carry_out: 8, self.finish: 8, self.begin_query: 6,
            self.read: 6, self.collect: 6, self.wait: 2, self.crash: 1, self.hold: 1, self.let_go: 1,
        }  # fmt: skip
        for _ in range(steps):
            (action,) = self.rng.choices(list(actions), list(actions.values()))
            action()
        self.end()
        return self.counts

    def write(self) -> None:
        rows = self.rng.randint(1, 4)
        numbers = range(self.acknowledged, self.acknowledged + rows)
        append(self.shard, "p", self.epoch, self.sequence, numbers)
        self.sequence += 1
        self.acknowledged += rows

    def flush(self) -> None:
        self.write()
        self.shard.flush()

    def take(self) -> None:
        job = self.compaction.jobs.take(self.shard)
        if job is not None:
            self.jobs.append((self.compaction, job, None))

    def carry_out(self) -> None:
        for at, (compaction, job, done) in enumerate(self.jobs):
            if done is None:
                self.jobs[at] = (compaction, job, compaction.merged(job))
                return

    def finish(self) -> None:
        done = [entry for entry in self.jobs if entry[2] is not None]
        if done:
            entry = self.rng.choice(done)
            self.jobs.remove(entry)
            compaction, _, replacement = entry
            assert replacement is not None
            # An owner that was replaced may still propose: to the shard that is open now.
            published = compaction.jobs.finish(self.shard, replacement)
            self.counts["replacements" if published else "refused"] += 1

    def begin_query(self) -> None:
        self.readers.append((self.clock.steady_s() + GRACE_S, self.shard.snapshot(TENANT, STREAM)))

    def read(self) -> None:
        if self.readers:
            until_s, snapshot = self.readers.pop(self.rng.randrange(len(self.readers)))
            if self.clock.steady_s() < until_s:
                check_rows(snapshot, self.objects)
                self.counts["reads"] += 1

    def collect(self) -> None:
        self.counts["garbage"] += self.shard.collect_garbage(GRACE_S)

    def wait(self) -> None:
        self.clock.advance(self.rng.choice([1.0, GRACE_S / 3, GRACE_S]))

    def crash(self) -> None:
        self.shard.abandon()
        self.jobs = [entry for entry in self.jobs if entry[2] is not None]
        self.open()
        self.counts["crashes"] += 1

    def hold(self) -> None:
        self.counts["snapshots"] += 1
        name = f"s{self.counts['snapshots']}"
        self.snapshots.take(TENANT, name, None, [self.shard.options.shard], self.shard.flush)
        self.held[name] = {segment.name for segment in self.shard.manifest.segments}

    def let_go(self) -> None:
        if self.held:
            name = self.rng.choice(list(self.held))
            self.snapshots.drop(TENANT, name)
            del self.held[name]

    def end(self) -> None:
        """Nothing held is gone; when nothing is held any more, nothing is left but what is live."""
        self.jobs.clear()
        self.shard.abandon()  # what a merge left that was never proposed goes when the shard opens
        self.open()
        for name in list(self.held):
            assert self.held[name] <= self.files()
            self.snapshots.drop(TENANT, name)
        self.clock.advance(GRACE_S)
        self.collect()
        live = {segment.name for segment in self.shard.manifest.segments}
        assert self.files() == live | set(map(index_key, live))
        rows = stored_rows(self.shard, self.objects)
        check_exactly_once(rows, set(range(self.acknowledged)), set(range(self.acknowledged)))
        self.counts["events"] = self.acknowledged

    def files(self) -> set[str]:
        return {info.key for info in self.objects.list(segments_prefix(0))}


def check_rows(snapshot: StreamSnapshot, objects: ObjectStore) -> None:
    """Every event below the snapshot's visible offset is in it once."""
    parts = [*(read_segment(objects, segment.name) for segment in snapshot.segments), *snapshot.memtable]
    offsets = sorted(offset for part in parts for offset in part.column(OFFSET).to_pylist())
    assert offsets == list(range(snapshot.visible_offset))
