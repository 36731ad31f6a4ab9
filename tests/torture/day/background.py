"""Owns the day's background work, task by task, as a deployment's processes do it over Ray. Decides when of nothing.

What the product decides is asked of it; here is only who asks whom, and what the model is told.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from core.errors import NotFound, SnapshotExpired, Unavailable, UnknownOutcome
from core.ids import ShardId
from query.hidden import finding_expired
from storage.backup import back_up
from storage.compaction import Job, carry_out
from storage.deletes import HELD, RUNNING, Delete, due
from storage.manifest import ManifestStore
from storage.named_snapshots import snapshots_of_stream
from storage.replacement import Replacement
from storage.retention import Retention, expired
from storage.scrub import Scrubber, ScrubOptions
from storage.snapshot import Segment
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.shards import read_segment
from tests.torture.day.model import SECOND_US, Meets, Model, StreamKey
from tests.torture.day.store import GRACE_S, OPERATIONS_MAX, SETTINGS, Fuse, Killed, Process, Store, opener

MERGES_MAX: Final = 4  # of a shard in a minute

# What a process's death, or somebody else who was faster, may answer: it is done again later.
AGAIN: Final = (Unavailable, UnknownOutcome)


@dataclass
class GivenOut:
    """A merge that a compactor has: from which process, whose it is, and what came of it."""

    shard: int
    process: Process
    job: Job
    done: Replacement | None = None


class Background:
    """Everything that goes on beside writes and queries. Each task may be cut off by a death."""

    def __init__(self, store: Store, model: Model, rng: random.Random) -> None:
        self.store, self.model, self.rng = store, model, rng
        self.counts: Counter[str] = Counter()
        self.given_out: list[GivenOut] = []
        self.readers: list[tuple[float, list[str]]] = []
        self._flushed: set[int] = set()
        self._holds: dict[tuple[int, str, int], bool] = {}  # delete, key and time of a snapshot
        self.backups: dict[str, Model] = {}
        self.scrubber = Scrubber(store.place(), ScrubOptions(3_600.0, 1 << 40), store.clock, store.clock.advance)

    # --- a shard's own thread and compactors ----------------------------------------------------------------------

    def flush_due(self) -> None:
        """Flush what is old or large."""
        for shard in self.store.placements.serving:
            if self.store.processes[shard].shard.flush_due():
                with suppress(*AGAIN), self.store.mortal(shard) as process:
                    process.shard.flush()
                    self.counts["flushes"] += 1

    def merge(self) -> None:
        """Every shard merges in its spare time."""
        for shard in self.store.placements.serving:
            with suppress(*AGAIN), self.store.mortal(shard) as process:
                for _ in range(MERGES_MAX):
                    job = process.jobs.take(process.shard)
                    if job is None:
                        break
                    done = carry_out(job, process.objects, opener(process.objects), lambda: None)
                    self._propose(process, done)

    def give_out(self) -> None:
        """A compactor asks a shard for a merge."""
        shard = self.rng.choice(self.store.placements.serving)
        process = self.store.processes[shard]
        job = process.jobs.take(process.shard)
        if job is not None:
            self.given_out.append(GivenOut(shard, process, job))

    def carry_out(self) -> None:
        """A compactor does the merge that it has; it may die, and leaves what it wrote."""
        for given in [one for one in self.given_out if one.done is None]:
            fuse = Fuse(self.rng.randint(0, OPERATIONS_MAX) if self.rng.random() < self.store.deaths_share else None)
            objects = self.store.seen_by(fuse)
            try:
                given.done = carry_out(given.job, objects, opener(objects), lambda: None)
            except Killed:
                self.store.deaths["compactor"] += 1
                self.given_out.remove(given)
            except NotFound as error:  # what it was to merge is gone since, and its files
                given.process.jobs.give_up(given.job, str(error))
                self.given_out.remove(given)
                self.counts["merges too late"] += 1

    def propose(self) -> None:
        """A compactor proposes, maybe to a shard that was opened anew meanwhile, what it was given before."""
        done = [given for given in self.given_out if given.done is not None]
        if not done:
            return
        given = self.rng.choice(done)
        self.given_out.remove(given)
        process = self.store.processes.get(given.shard)
        if process is None or given.done is None:
            return
        with suppress(*AGAIN), self.store.mortal(given.shard):
            self._propose(process, given.done)

    def _propose(self, process: Process, done: Replacement) -> None:
        published = process.jobs.finish(process.shard, done)
        self.counts["merges" if published else "merges refused"] += 1

    def collect(self) -> None:
        """Every shard deletes what was replaced long enough ago."""
        for shard in self.store.placements.serving:
            with suppress(*AGAIN), self.store.mortal(shard) as process:
                self.counts["garbage"] += process.shard.collect_garbage(GRACE_S)

    # --- retention ------------------------------------------------------------------------------------------------

    def expire(self, retentions: dict[StreamKey, Retention]) -> None:
        """Have the shards remove what is too old or too much."""
        for key, retention in retentions.items():
            held = self.store.queries.segments_of(*key)
            before = {segment.name: segment for segments in held.values() for segment in segments}
            now_us = self.store.clock.now_us()
            found = expired(retention, before.values(), now_us)
            cut_us = retention.cut_us(now_us)
            numbers = self._numbers([before[name] for name in found.whole]) if retention.bytes_max else {}
            for shard, segments in held.items():
                if any(segment.name in found.whole | found.split for segment in segments):
                    with suppress(*AGAIN), self.store.mortal(shard) as process:
                        matches = cut_us and self.store.matches(process, finding_expired(key[1], cut_us))
                        self.store.eraser(process).expire(found, matches or None, 60.0)
            after = {s.name for segments in self.store.queries.segments_of(*key).values() for s in segments}
            self.counts["segments expired"] += len(found.whole - after)
            if retention.bytes_max is not None:
                check_oldest(found.whole, before, retention.bytes_max)
                for name in found.whole - after:
                    self.model.remove(key, numbers[name])

    def _numbers(self, segments: list[Segment]) -> dict[str, list[int]]:
        objects = self.store.objects
        return {one.name: read_segment(objects, one.name).column("n").to_pylist() for one in segments}

    # --- deletes --------------------------------------------------------------------------------------------------

    def delete(self, key: StreamKey, where: str, meets: Meets) -> None:
        """Begin a delete."""
        wanted = self.store.queries.delete_of(*key, where)
        doomed = self.model.delete(key, meets, self.store.clock.now_us())
        assert wanted.matched == doomed, f"{wanted.matched} events are said to meet {where}, not {doomed}"
        self.store.catalog.add_delete(wanted)
        self.counts["deletes"] += 1
        self.counts["events deleted"] += doomed

    def erase(self) -> None:
        """Go on with every delete that is under way."""
        for delete in due(self.store.catalog.deletes()):
            with suppress(*AGAIN):
                self._step(delete)

    def _step(self, delete: Delete) -> None:
        queries, clock = self.store.queries, self.store.clock
        if delete.state == RUNNING and self._erased(delete) and not queries.remaining(delete):
            rows, segments = self._counted(delete)
            with self.store.mortal_coordinator():
                delete = self.store.catalog.update_delete(
                    replace(
                        delete,
                        segments_rewritten=segments,
                        rows_removed=rows,
                        remaining=0,
                        rewritten_at_us=clock.now_us(),
                    )
                )
        if delete.state == HELD:
            self._let_go(delete)

    def _erased(self, delete: Delete) -> bool:
        if delete.id not in self._flushed:
            self.store.flush()
            self._flushed.add(delete.id)
        leaf, left = self.store.queries.leaf_of(delete), 0
        for shard in self.store.placements.serving:
            with self.store.mortal(shard) as process:
                concerned = delete.concerned(process.shard.manifest.segments)
                # The clock stands still meanwhile: a few segments at a time.
                some = self.rng.sample(concerned, min(len(concerned), self.rng.randint(1, 12)))
                eraser, matches = self.store.eraser(process), self.store.matches(process, leaf)
                eraser.erase(some, delete.id, matches, 60.0)
                left += len(delete.concerned(process.shard.manifest.segments))
        return left == 0

    def _counted(self, delete: Delete) -> tuple[int, int]:
        rows = segments = 0
        for shard in range(self.store.placements.next_shard):
            manifest = ManifestStore(self.store.objects, ShardId(shard), self.store.clock).load()
            erased = {} if manifest is None else manifest.erased
            counts = [count for (_, number), count in erased.items() if number == delete.id]
            rows, segments = rows + sum(c.rows for c in counts), segments + sum(c.segments for c in counts)
        return rows, segments

    def _let_go(self, delete: Delete) -> None:
        now_us, objects = self.store.clock.now_us(), self.store.objects
        for key, snapshot in snapshots_of_stream(objects, now_us, delete.tenant, delete.stream):
            known = (delete.id, key, snapshot.created_at_us)
            if known not in self._holds:
                self._holds[known] = self.store.queries.remaining(delete, snapshot) > 0
            if self._holds[known]:
                break
        else:
            with self.store.mortal_coordinator():
                self.store.catalog.update_delete(replace(delete, done_at_us=now_us))
            self.counts["deletes done"] += 1

    # --- snapshots ------------------------------------------------------------------------------------------------

    def snapshot(self, tenant: str, ttl_s: float | None) -> None:
        """Take a snapshot, unless a death cuts it off."""
        self.counts["snapshots tried"] += 1
        name, now_us = f"s{self.counts['snapshots tried']}", self.store.clock.now_us()
        try:
            with self.store.mortal_coordinator():
                shards = map(ShardId, self.store.placements.serving)
                self.store.snapshots.take(tenant, name, ttl_s, shards, self.store.flush)
        except AGAIN:
            with suppress(NotFound):  # it may be there
                self.store.snapshots.drop(tenant, name)
            return
        self.counts["snapshots"] += 1
        expires_us = None if ttl_s is None else now_us + int(ttl_s * SECOND_US)
        seen = {key: self.store.rows(key, name) for key in SETTINGS if key[0] == tenant}
        self.model.hold(name, tenant, expires_us, seen, now_us)

    def drop(self, name: str) -> None:
        """Let go of a snapshot."""
        held = self.model.held.pop(name)
        with suppress(NotFound, SnapshotExpired):
            self.store.snapshots.drop(held.tenant, name)

    def back_up(self, target: FlakyObjectStore) -> None:
        """Back up everything, unless a death cuts it off; the model of then is kept under the name of the backup."""
        self.counts["backups tried"] += 1
        name, kept = f"b{self.counts['backups tried']}", self.model.copy()
        with suppress(*AGAIN), self.store.mortal_coordinator():
            shards = map(ShardId, self.store.placements.serving)
            self.store.snapshots.take(None, name, 3_600.0, shards, self.store.flush)
            backup, copied = back_up(self.store.snapshots.get(None, name), self.store.objects_of_coordinator, target)
            self.backups[backup] = kept
            self.counts["backups"] += 1
            self.counts["files copied"] += copied.files_new
            self.counts["files already copied"] += copied.files - copied.files_new
        with suppress(NotFound):
            self.store.snapshots.drop(None, name)

    # --- readers and the scrubber ---------------------------------------------------------------------------------

    def begin_query(self) -> None:
        """A long query takes its snapshot."""
        key = self.rng.choice(list(SETTINGS))
        names = [s.name for segments in self.store.queries.segments_of(*key).values() for s in segments]
        self.readers.append((self.store.clock.steady_s() + GRACE_S, names))

    def end_queries(self) -> None:
        """Long queries read the last file of their snapshots, right before their time is over."""
        now_s = self.store.clock.steady_s()
        for until_s, names in [one for one in self.readers if one[0] - now_s <= 60.0]:
            missing = [name for name in names if name not in self.store.objects.objects]
            assert not missing or until_s < now_s, f"deleted under a query: {missing}"
            self.counts["long queries"] += 1
        self.readers = [one for one in self.readers if one[0] - now_s > 60.0]

    def scrub(self) -> None:
        """The scrubber looks at everything."""
        done = self.scrubber.round()
        assert not done.findings, done.findings
        self.counts["files scrubbed"] += done.objects


def check_oldest(gone: Collection[str], segments: Mapping[str, Segment], bytes_max: int) -> None:
    """What goes by size are the oldest segments, as few as will do."""
    goes = [segment for segment in segments.values() if segment.name in gone]
    stays = [segment for segment in segments.values() if segment.name not in gone]
    room = bytes_max - sum(segment.bytes for segment in stays)
    assert room >= 0, f"{-room} bytes too many stay"
    if goes:
        newest = max(goes, key=lambda segment: (segment.window_end_us, segment.timestamp_max_us, segment.name))
        assert newest.window_end_us <= min((s.window_end_us for s in stays), default=newest.window_end_us)
        assert newest.bytes > room, "more go than have to"
