"""Owns which merges of a shard are given out, and what became of them: leases in memory, so that no two do the same.

A lease is a hint: what counts is that a replacement is refused when an input is gone or the shard has another owner. It
ends when the merge is proposed or given up, when it is not renewed, or after a time; what is proposed later is refused,
because its inputs may be another's by then, or its files deleted.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from core.clock import Clock
from core.errors import MalamuteError, Unavailable
from core.ids import ShardId
from core.limits import COMPACTION_LEASE_S, COMPACTION_LOOK_S, COMPACTION_MERGE_S_MAX, COMPACTION_RETRY_S
from storage.compaction import Job, discard
from storage.compaction_plan import CompactionRules, Merge, Planner, WindowKey, by_window
from storage.keys import number_beside, origin_of
from storage.manifest import Manifest
from storage.objects import ObjectStore
from storage.replacement import Replacement
from storage.shard import Shard
from storage.snapshot import Segment

_US: Final = 1_000_000


@dataclass(slots=True)
class _Counters:
    merges: int = 0
    rows: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    files_in: int = 0
    files_out: int = 0
    seconds: float = 0.0
    refused: int = 0
    failed: int = 0
    garbage: int = 0
    last_error: str = ""


@dataclass(slots=True)
class _Lease:
    job: Job
    until_s: float
    began_s: float


@dataclass(slots=True)
class _Plan:
    """What was planned: for which version of the manifest, and when it is to be planned anew all the same."""

    version: int = -1
    until_s: float = 0.0
    merges: list[Merge] = field(default_factory=list)


class CompactionJobs:
    """The merges of one shard, whoever carries them out. Thread-safe."""

    def __init__(self, rules: CompactionRules, objects: ObjectStore, clock: Clock) -> None:
        self._rules = rules
        self._objects = objects
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}  # by the names of the jobs
        self._given_up: dict[str, float] = {}  # name of an input → when to try again
        self._quiet: dict[WindowKey, tuple[frozenset[str], float]] = {}
        self._planner = Planner(rules)
        self._planned = _Plan()
        self._counters = _Counters()

    def take(self, shard: Shard, lease_s: float = COMPACTION_MERGE_S_MAX) -> Job | None:
        """The next merge of `shard`, leased to the caller for `lease_s`; None when there is none.

        What cannot be planned, as the catalog does not answer, is planned again after a while.
        """
        with self._lock:
            manifest, now_s = shard.manifest, self._clock.steady_s()
            self._expire(manifest, now_s)
            try:
                merges = self._plan(shard, manifest, now_s)
            except MalamuteError as error:
                self._planned = _Plan(manifest.version, now_s + COMPACTION_LOOK_S)
                self._counters.failed += 1
                self._counters.last_error = f"plan: {type(error).__name__}: {error}"
                return None
            if not merges:
                return None
            job = _job(shard, manifest.epoch, merges.pop(0))
            self._leases[job.name] = _Lease(job, now_s + lease_s, now_s)
            return job

    def renew(self, name: str) -> bool:
        """Go on with the lease on a job, from now on for COMPACTION_LEASE_S; False when it has ended."""
        with self._lock:
            lease, now_s = self._leases.get(name), self._clock.steady_s()
            if lease is None:
                return False
            lease.until_s = min(now_s + COMPACTION_LEASE_S, lease.began_s + COMPACTION_MERGE_S_MAX)
            return now_s < lease.until_s

    def finish(self, shard: Shard, replacement: Replacement) -> bool:
        """Propose what a job came to; returns whether it was published. What was not is deleted.

        Raises what Shard.replace raises. But for Unavailable it may be published or not then, and nothing is deleted.
        """
        with self._lock:
            lease = self._leases.get(replacement.job)
        outputs = [segment.name for segment in replacement.outputs]
        try:
            refusal = "its lease has ended" if lease is None else shard.replace(replacement)
        except Unavailable:
            discard(self._objects, outputs)
            raise
        finally:
            with self._lock:  # only now: nobody is to be given the same inputs meanwhile
                self._leases.pop(replacement.job, None)
        counters = self._counters
        if refusal is not None or lease is None:
            discard(self._objects, outputs)
            with self._lock:
                counters.refused += 1
                counters.last_error = f"refused: {refusal}"
            return False
        with self._lock:
            counters.merges += 1
            counters.rows += lease.job.merge.rows
            counters.bytes_in += sum(segment.bytes for segment in lease.job.merge.inputs)
            counters.bytes_out += sum(segment.bytes for segment in replacement.outputs)
            counters.files_in += len(replacement.inputs)
            counters.files_out += len(replacement.outputs)
            counters.seconds += self._clock.steady_s() - lease.began_s
        return True

    def give_up(self, job: Job, reason: str) -> None:
        """A job failed: its inputs are left alone for a while."""
        with self._lock:
            self._leases.pop(job.name, None)
            again_s = self._clock.steady_s() + COMPACTION_RETRY_S
            self._given_up.update((segment.name, again_s) for segment in job.merge.inputs)
            self._planned = _Plan()
            self._counters.failed += 1
            self._counters.last_error = reason

    def collect_garbage(self, shard: Shard, grace_s: float) -> None:
        """Delete what was replaced and is not needed any more; what cannot be deleted now is tried again."""
        try:
            deleted = shard.collect_garbage(grace_s)
        except MalamuteError as error:
            with self._lock:
                self._counters.failed += 1
                self._counters.last_error = f"garbage: {type(error).__name__}: {error}"
        else:
            with self._lock:
                self._counters.garbage += deleted

    def status(self, manifest: Manifest) -> dict[str, Any]:
        """What was done since the shard's process began, and what waits."""
        with self._lock:
            counters = self._counters
            return {
                "compactions": counters.merges,
                "compacted_rows": counters.rows,
                "compacted_bytes_in": counters.bytes_in,
                "compacted_bytes_out": counters.bytes_out,
                "compacted_files_in": counters.files_in,
                "compacted_files_out": counters.files_out,
                "compaction_s": round(counters.seconds, 3),
                "compactions_refused": counters.refused,
                "compactions_failed": counters.failed,
                "compactions_running": len(self._leases),
                "compactions_waiting": len(self._planned.merges),
                "last_compaction_error": counters.last_error,
                "garbage_deleted": counters.garbage,
                "garbage_waiting": len(manifest.removed),
                "segments_by_level": _by_level(manifest.segments),
            }

    def _expire(self, manifest: Manifest, now_s: float) -> None:
        leases = self._leases.items()
        ended = [name for name, lease in leases if lease.until_s <= now_s or lease.job.epoch != manifest.epoch]
        for name in ended:
            del self._leases[name]
        self._given_up = {name: until_s for name, until_s in self._given_up.items() if until_s > now_s}
        if ended:
            self._planned = _Plan()

    def _plan(self, shard: Shard, manifest: Manifest, now_s: float) -> list[Merge]:
        planned = self._planned
        if planned.version == manifest.version and (planned.merges or now_s < planned.until_s):
            return planned.merges
        merges: list[Merge] = []
        if manifest.sealed <= manifest.served:
            windows = by_window(manifest.segments, self._rules)
            self._note_quiet(windows, now_s)
            leased = {segment.name for lease in self._leases.values() for segment in lease.job.merge.inputs}
            busy = leased | self._given_up.keys()
            now_us = self._clock.now_us()

            def is_cold(key: WindowKey) -> bool:
                cold_s = self._rules.cold_s
                return key.window.end_us + cold_s * _US <= now_us and now_s - self._quiet[key][1] >= cold_s

            merges = self._planner.plan(windows, lambda *of: shard.stream_settings(*of).sort_key, is_cold, busy)
        self._planned = _Plan(manifest.version, now_s + COMPACTION_LOOK_S, merges)
        return merges

    def _note_quiet(self, windows: Mapping[WindowKey, Sequence[Segment]], now_s: float) -> None:
        """Since when nothing was flushed into each window."""
        quiet: dict[WindowKey, tuple[frozenset[str], float]] = {}
        for key, found in windows.items():
            flushed = frozenset(segment.name for segment in found if segment.level == 0)
            known, since_s = self._quiet.get(key, (frozenset(), now_s))
            quiet[key] = (flushed, since_s if flushed <= known else now_s)
        self._quiet = quiet


def _job(shard: Shard, epoch: int, merge: Merge) -> Job:
    first, own = merge.inputs[0], shard.options.shard
    origin = origin_of(first.name)
    of = own if origin is None else ShardId(origin)
    numbers = tuple(number_beside(shard.new_number(), own, of) for _ in range(merge.pieces))
    return Job(of, epoch, merge, shard.stream_settings(first.tenant, first.stream), numbers)


def _by_level(segments: Sequence[Segment]) -> dict[int, int]:
    levels: dict[int, int] = {}
    for segment in segments:
        levels[segment.level] = levels.get(segment.level, 0) + 1
    return dict(sorted(levels.items()))
