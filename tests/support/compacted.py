"""A shard that is compacted in tests: its jobs carried out at once, in memory or on any file system."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pyarrow as pa

from core.clock import Clock
from core.limits import COMPACTION_LOOK_S
from storage.compaction import Job, carry_out
from storage.compaction_jobs import CompactionJobs
from storage.compaction_plan import CompactionRules
from storage.objects import ObjectStore
from storage.replacement import Replacement
from storage.shard import Shard

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


def of_epoch(job: Job, epoch: int) -> Job:
    return replace(job, epoch=epoch)
