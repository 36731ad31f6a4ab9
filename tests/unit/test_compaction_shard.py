"""Compaction of one shard: what is replaced, refused, deleted, and what every crash in between leaves."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import InvariantViolation, MalamuteError, Unavailable, UnknownOutcome
from core.limits import COMPACTION_LEASE_S, COMPACTION_MERGE_S_MAX, COMPACTION_RENEW_S, MANIFEST_VERSIONS_KEPT
from storage.compaction_jobs import CompactionJobs
from storage.keys import index_key, manifest_key, segments_prefix
from storage.manifest import ManifestStore
from storage.manifest_format import decode_manifest, encode_manifest
from storage.objects import ObjectStore
from storage.replacement import Replacement
from storage.shard import Shard
from storage.stream_settings import StreamSettings
from tests.support.compacted import GRACE_S, Compaction
from tests.support.shards import STREAM, TENANT, append, check_exactly_once, objects_on, open_on, stored_rows
from tests.support.simfs import SimFileSystem


class Life:
    """A shard with one producer, and its compaction."""

    def __init__(self, fs: SimFileSystem | None = None) -> None:
        self.fs = fs or SimFileSystem()
        self.clock = ManualClock()
        self.objects: ObjectStore = objects_on(self.fs)
        self.sent = 0
        self.open()

    def open(self) -> None:
        self.shard: Shard = open_on(self.fs, clock=self.clock, objects=self.objects)
        self.compaction = Compaction(self.shard, self.objects, self.clock)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = 0

    def write(self, rows: int = 3) -> None:
        append(self.shard, "p", self.epoch, self.sequence, range(self.sent, self.sent + rows))
        self.sequence += 1
        self.sent += rows

    def flush(self, times: int = 1) -> None:
        for _ in range(times):
            self.write()
            self.shard.flush()

    def files(self) -> set[str]:
        return {info.key for info in self.objects.list(segments_prefix(0))}

    def check(self) -> None:
        rows = stored_rows(self.shard, self.objects)
        check_exactly_once(rows, set(range(self.sent)), set(range(self.sent)))


def test_flushed_segments_become_few_and_files_go_after_the_grace() -> None:
    life = Life()
    life.flush(12)
    flushed = life.files()
    assert life.compaction.run() > 2
    life.check()
    segments = life.shard.manifest.segments
    assert len(segments) < 8 and max(segment.level for segment in segments) == 3
    live = {key for segment in segments for key in (segment.name, index_key(segment.name))}
    assert life.files() > flushed | live  # a query that began before still reads them
    assert life.shard.collect_garbage(GRACE_S) == 0
    life.clock.advance(GRACE_S)
    assert life.shard.collect_garbage(GRACE_S) > 12
    assert life.files() == live
    assert not life.shard.manifest.removed
    life.check()


def test_a_window_that_went_cold_is_finished() -> None:
    life = Life()
    life.flush(2)
    assert life.compaction.run() == 0
    life.clock.advance(86_400)
    assert life.compaction.run() == 1
    assert [segment.level for segment in life.shard.manifest.segments] == [1]
    life.check()


def test_appends_flushes_and_other_merges_go_on_during_a_merge() -> None:
    life = Life()
    life.flush(6)
    one, other = life.compaction.jobs.take(life.shard), life.compaction.jobs.take(life.shard)
    assert one is not None and other is not None
    assert not {s.name for s in one.merge.inputs} & {s.name for s in other.merge.inputs}
    merged = life.compaction.merged(one)
    life.flush()
    life.write()
    assert life.compaction.jobs.finish(life.shard, life.compaction.merged(other))
    assert life.compaction.jobs.finish(life.shard, merged)
    life.check()


def test_what_is_being_replaced_is_not_given_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    life = Life()
    life.flush(3)
    jobs, publish = life.compaction.jobs, life.shard.replace
    job = jobs.take(life.shard)
    assert job is not None
    meanwhile = []

    def slow(replacement: Replacement) -> str | None:
        life.flush()  # a newer manifest: merges are planned anew
        meanwhile.append(jobs.take(life.shard))
        return publish(replacement)

    monkeypatch.setattr(life.shard, "replace", slow)
    assert jobs.finish(life.shard, life.compaction.merged(job))
    assert meanwhile == [None]


def test_merges_that_cannot_be_planned_are_planned_later() -> None:
    life = Life()
    life.flush(3)
    settings = life.shard.stream_settings

    def away(tenant: str, stream: str) -> StreamSettings:
        raise Unavailable("the catalog cannot be read")

    life.shard.stream_settings = away
    jobs = life.compaction.jobs
    assert jobs.take(life.shard) is None
    status = jobs.status(life.shard.manifest)
    assert status["compactions_failed"] == 1 and "the catalog cannot be read" in status["last_compaction_error"]
    life.shard.stream_settings = settings
    life.clock.advance(life.compaction.look_s)
    assert life.compaction.run() > 0
    life.check()


def refused(life: Life, replacement: Replacement) -> None:
    """The replacement is refused, and nothing of it is left."""
    manifest, before = life.shard.manifest, life.files()
    outputs = {key for s in replacement.outputs for key in (s.name, index_key(s.name))}
    assert outputs <= before
    assert not life.compaction.jobs.finish(life.shard, replacement)
    assert life.shard.manifest == manifest
    assert life.files() == before - outputs
    life.check()


def test_a_replacement_is_refused_when_an_input_is_gone() -> None:
    life = Life()
    life.flush(3)
    late = Compaction(life.shard, life.objects, life.clock)
    job = late.jobs.take(life.shard)
    assert job is not None
    merged = late.merged(job)
    life.compaction.run()
    life.compaction = late
    refused(life, merged)


def test_a_replacement_of_another_epoch_or_without_a_lease_is_refused() -> None:
    life = Life()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    before = life.compaction.jobs
    life.shard.abandon()
    life.open()
    assert merged.edit(life.shard.manifest) == "it was made under epoch 1, the shard has 2"
    assert not {segment.name for segment in merged.outputs} & life.files()  # orphans of the epoch before
    assert not before.finish(life.shard, merged)
    life.compaction.run()
    life.check()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    life.clock.advance(10_000)
    life.compaction.jobs.take(life.shard)
    refused(life, merged)


def test_a_lease_that_is_not_renewed_ends_and_its_inputs_are_given_out_again() -> None:
    life = Life()
    life.flush(3)
    jobs, compaction = life.compaction.jobs, life.compaction
    dead = jobs.take(life.shard, COMPACTION_LEASE_S)
    assert dead is not None
    life.clock.advance(COMPACTION_LEASE_S - 1)
    assert jobs.take(life.shard, COMPACTION_LEASE_S) is None
    life.clock.advance(1)
    other = jobs.take(life.shard, COMPACTION_LEASE_S)
    assert other is not None and other.merge == dead.merge and other.name != dead.name
    assert not jobs.renew(dead.name)  # should it only have been slow, it knows at once
    refused(life, compaction.merged(dead))  # or, that late, when it proposes
    assert jobs.finish(life.shard, compaction.merged(other))
    refused(life, compaction.merged(replace(dead, numbers=(life.shard.new_number(),))))
    life.check()


def test_a_lease_that_is_renewed_goes_on_for_as_long_as_a_merge_may_take() -> None:
    life = Life()
    life.flush(3)
    jobs = life.compaction.jobs
    job = jobs.take(life.shard, COMPACTION_LEASE_S)
    assert job is not None
    for _ in range(int(COMPACTION_MERGE_S_MAX / COMPACTION_RENEW_S) - 1):
        life.clock.advance(COMPACTION_RENEW_S)
        assert jobs.renew(job.name)
        assert jobs.take(life.shard, COMPACTION_LEASE_S) is None
    life.clock.advance(COMPACTION_RENEW_S)
    assert not jobs.renew(job.name)
    assert jobs.take(life.shard, COMPACTION_LEASE_S) is not None


def test_a_slow_compactor_whose_merge_nobody_else_got_may_still_propose_it() -> None:
    life = Life()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard, COMPACTION_LEASE_S)
    assert job is not None
    life.clock.advance(2 * COMPACTION_LEASE_S)
    assert life.compaction.jobs.renew(job.name)
    assert life.compaction.jobs.finish(life.shard, life.compaction.merged(job))
    life.check()


def test_rows_that_do_not_match_are_an_invariant_violation() -> None:
    life = Life()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    short = Replacement(merged.job, merged.epoch, merged.inputs[:2], merged.outputs)
    with pytest.raises(InvariantViolation, match="CMP-1"):
        life.shard.replace(short)
    life.check()


def test_a_failed_merge_leaves_nothing_and_is_left_alone_for_a_while() -> None:
    life = Life()
    life.flush(3)
    before = life.files()
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    steps = 0

    def fail() -> None:
        nonlocal steps
        steps += 1
        if steps == 12:
            raise Unavailable("the disk is full")

    with pytest.raises(Unavailable):
        life.compaction.merged(job, fail)
    assert life.files() == before
    life.compaction.jobs.give_up(job, "the disk is full")
    assert life.compaction.run() == 0
    status = life.compaction.jobs.status(life.shard.manifest)
    assert (status["compactions_failed"], status["last_compaction_error"]) == (1, "the disk is full")
    life.clock.advance(1_000)
    assert life.compaction.run() == 1
    life.check()


class Failing:
    """Objects whose next manifest is not created."""

    def __init__(self, objects: ObjectStore, error: type[MalamuteError]) -> None:
        self._objects, self._error = objects, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    def put_new(self, key: str, data: Any) -> None:
        raise self._error("the answer was lost")


@pytest.mark.parametrize("error", [Unavailable, UnknownOutcome])
def test_a_replacement_that_is_not_published_leaves_nothing_and_a_doubtful_one_stays(
    error: type[MalamuteError],
) -> None:
    life = Life()
    life.flush(3)
    before = life.files()
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    manifests = life.shard._manifests
    manifests._objects = Failing(life.objects, error)
    with pytest.raises(error):
        life.compaction.jobs.finish(life.shard, merged)
    manifests._objects = life.objects
    doubtful = error is UnknownOutcome
    assert (life.files() == before) != doubtful
    # What was doubtful is settled by the next publish: it is there then, and nobody can merge its inputs again.
    life.flush()
    outputs = {segment.name for segment in merged.outputs}
    assert ({segment.name for segment in life.shard.manifest.segments} >= outputs) == doubtful
    life.compaction.run()
    life.check()


def test_a_sealed_shard_is_not_compacted() -> None:
    life = Life()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    life.shard.seal(2)
    refused(life, merged)
    assert Compaction(life.shard, life.objects, life.clock).run() == 0


def test_garbage_waits_for_the_versions_that_name_it() -> None:
    """No manifest that is kept names a file that is gone."""
    life = Life()
    life.flush(3)
    life.compaction.run()
    life.clock.advance(GRACE_S)
    life.shard.collect_garbage(GRACE_S)
    manifests = [life.objects.get(info.key) for info in life.objects.list("shards/0000/manifest/")]
    assert len(manifests) == 2  # the replacement, and that its inputs are forgotten
    assert ManifestStore(life.objects, life.shard.options.shard, life.clock).load() == life.shard.manifest


@pytest.mark.parametrize("flushes", [0, MANIFEST_VERSIONS_KEPT])
def test_the_version_of_a_restore_goes_with_the_files_that_it_names(flushes: int) -> None:
    life = Life()
    life.flush(3)
    restored = replace(life.shard.manifest, version=0, wal_start=None)
    life.shard.abandon()
    manifests = "shards/0000/manifest/"
    life.objects.delete([info.key for info in life.objects.list(manifests)])
    life.objects.put_new(manifest_key(0, 0), encode_manifest(restored))
    life.open()
    life.flush(flushes)
    life.compaction.run()
    life.clock.advance(GRACE_S)
    assert life.shard.collect_garbage(GRACE_S) >= 3
    files = life.files()
    for info in life.objects.list(manifests):
        manifest = decode_manifest(life.objects.get(info.key))
        assert {segment.name for segment in manifest.segments} <= files, info.key


def test_garbage_that_was_forgotten_with_a_lost_answer_is_forgotten_once() -> None:
    life = Life()
    life.flush(3)
    life.compaction.run()
    life.clock.advance(GRACE_S)
    manifests = life.shard._manifests
    manifests._objects = Failing(life.objects, UnknownOutcome)
    with pytest.raises(UnknownOutcome):
        life.shard.collect_garbage(GRACE_S)
    manifests._objects = life.objects
    life.shard.collect_garbage(GRACE_S)
    assert not life.shard.manifest.removed
    life.flush()
    life.check()


def crash_states(seed: int, steps: int = 14) -> int:
    """Power cuts after any operation of appends, flushes, merges and garbage collection; how many states."""
    rng = random.Random(seed)
    life = Life()
    checked = 0

    def observe(operation: str, path: str) -> None:
        nonlocal checked
        if rng.random() < 0.06:
            acknowledged = set(range(life.sent))
            for state in life.fs.crash_states(rng, 2):
                check_recovered(state, life.clock, acknowledged, set(range(life.sent + 10)))
                checked += 1

    life.fs.after_operation = observe
    for _ in range(steps):
        action = rng.random()
        if action < 0.45:
            life.flush()
        elif action < 0.75:
            life.compaction.step()
        elif action < 0.85:
            life.write()
        else:
            life.clock.advance(GRACE_S)
            life.shard.collect_garbage(GRACE_S)
    life.fs.after_operation = None
    life.check()
    return checked


def check_recovered(state: SimFileSystem, clock: ManualClock, acknowledged: set[int], sent: set[int]) -> None:
    """Everything acknowledged is there once; nothing is left that neither the manifest nor garbage collection knows."""
    objects = objects_on(state)
    shard = open_on(state, clock=clock, objects=objects)
    check_exactly_once(stored_rows(shard, objects), acknowledged, sent)
    manifest = shard.manifest
    named = {*(segment.name for segment in manifest.segments), *(segment.name for segment in manifest.removed)}
    found = {info.key for info in objects.list(segments_prefix(0))}
    assert found <= named | set(map(index_key, named)), "leaked"
    assert {segment.name for segment in manifest.segments} <= found
    Compaction(shard, objects, clock).run()
    check_exactly_once(stored_rows(shard, objects), acknowledged, sent)
    shard.abandon()


@pytest.mark.parametrize("seed", range(3))
def test_power_cuts_at_any_step_lose_and_leak_nothing(seed: int) -> None:
    assert crash_states(seed) > 5


def test_jobs_of_a_shard_are_counted() -> None:
    life = Life()
    life.flush(9)
    life.compaction.run()
    status = life.compaction.jobs.status(life.shard.manifest)
    assert status["compactions"] > 0 and status["compacted_rows"] >= 27
    assert sum(status["segments_by_level"].values()) == len(life.shard.manifest.segments)
    assert isinstance(life.compaction.jobs, CompactionJobs)
