"""Owns what a shard's process does in its spare time: a thread compacts and collects garbage. Decides nothing.

With compactor actors it leaves the merging to them, and gives out the jobs.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from core.clock import Clock
from core.errors import Unavailable
from core.limits import COMPACTION_LOOK_S, COMPACTION_MERGE_S_MAX, COMPACTION_POLL_S, DELETE_STEP_S
from storage.compaction import Job, carry_out
from storage.compaction_jobs import CompactionJobs
from storage.compaction_pace import Pace, Stopped
from storage.compaction_plan import CompactionRules
from storage.deletes import Delete
from storage.deployment import ShardConfig, open_objects, segment_files
from storage.erasure import Eraser, Matches
from storage.replacement import Replacement
from storage.retention import Expired
from storage.shard_host import ShardHost


class SpareTime:
    """Compaction and erasing in one shard's process."""

    def __init__(self, config: ShardConfig, host: ShardHost, clock: Clock) -> None:
        self._config, self._host, self._clock = config, host, clock
        self._objects = open_objects(config)
        self._files = segment_files(config)
        self._jobs = CompactionJobs(CompactionRules(), self._objects, clock)
        self._merges_itself = config.compaction and config.compactors == 0
        self._stopping = threading.Event()
        self._pace = Pace(clock, self._stopping.wait)
        self._erase_pace = Pace(clock, self._stopping.wait)
        self._collect_at_s = 0.0
        self._thread = threading.Thread(target=self._loop, name="compact", daemon=True)

    def start(self) -> None:
        """Begin: with compaction off, what deletes and retention replaced has to go all the same."""
        self._thread.start()

    def stop(self) -> None:
        """Give up what runs."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def used(self) -> None:
        """Somebody asked the shard for something, right now."""
        self._pace.used()
        self._erase_pace.used()

    def erase(self, delete: Delete, matches: Matches) -> tuple[int, int]:
        """Go on with a delete; of the segments that it concerns, how many are done and how many are left.

        Raises Unavailable while the shard does not serve, and as Eraser.erase.
        """
        with self._erasing() as eraser:
            eraser.erase(delete.concerned(eraser.shard.manifest.segments), delete.id, matches, DELETE_STEP_S)
            segments = eraser.shard.manifest.segments
        left = len(delete.concerned(segments))
        return len(delete.reached(segments)) - left, left

    def expire(self, names: Expired, matches: Matches | None) -> None:
        """Remove what retention does not keep, as far as it is still there; raises as erase()."""
        with self._erasing() as eraser:
            eraser.expire(names, matches, DELETE_STEP_S)

    @contextmanager
    def _erasing(self) -> Iterator[Eraser]:
        shard = self._host.serving
        if shard is None:
            raise Unavailable("the shard does not serve: try again")
        self._erase_pace.resume()
        try:
            yield Eraser(shard, self._objects, self._files.path, self._clock, self._erase_pace.pause)
        except Stopped as error:
            raise Unavailable("the shard is about to end: try again") from error

    def take(self, lease_s: float) -> Job | None:
        """See CompactionJobs.take; None while the shard does not serve."""
        shard = self._host.serving
        return None if shard is None or self._stopping.is_set() else self._jobs.take(shard, lease_s)

    def renew(self, name: str) -> bool:
        """See CompactionJobs.renew."""
        return self._jobs.renew(name)

    def finish(self, replacement: Replacement) -> bool:
        """See CompactionJobs.finish; False while the shard does not serve."""
        shard = self._host.serving
        return shard is not None and self._jobs.finish(shard, replacement)

    def give_up(self, job: Job, reason: str) -> None:
        """See CompactionJobs.give_up."""
        self._jobs.give_up(job, reason)

    def status(self) -> dict[str, Any]:
        """See CompactionJobs.status."""
        shard = self._host.serving
        return {} if shard is None else self._jobs.status(shard.manifest)

    def _loop(self) -> None:
        while not self._stopping.wait(COMPACTION_POLL_S):
            self._collect()
            while self._merges_itself and (job := self.take(COMPACTION_MERGE_S_MAX)) is not None:
                self._merge(job)

    def _merge(self, job: Job) -> None:
        self._pace.resume()
        try:
            self.finish(carry_out(job, self._objects, self._files.path, self._pace.pause))
        except Stopped:
            return
        except Exception as error:
            # Counted and shown in status(); others are merged meanwhile. A thread that ended here would merge no more.
            self.give_up(job, f"{type(error).__name__}: {error}")

    def _collect(self) -> None:
        shard, now_s = self._host.serving, self._clock.steady_s()
        if shard is not None and now_s >= self._collect_at_s:
            self._collect_at_s = now_s + COMPACTION_LOOK_S
            self._jobs.collect_garbage(shard, self._config.garbage_grace_s)
