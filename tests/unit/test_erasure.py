"""Erasing events of one shard beside appends, flushes and merges: what stays, what is counted, what a crash leaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.batch import OFFSET
from core.clock import ManualClock
from core.errors import InvariantViolation, Unavailable
from storage.catalog import CatalogStore
from storage.deletes import Delete, due
from storage.erasure import Eraser, without
from storage.keys import FORMAT_KEY, index_key, manifest_key, segments_prefix
from storage.manifest_format import Erased, ManifestEdit, apply_edit, decode_manifest, encode_manifest
from storage.replacement import Erasure
from storage.retention import Expired
from storage.shard import Shard
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace, verify_storage
from storage.verify_report import GAP, WRONG, Findings
from storage.verify_segment import verify_segment
from tests.support.compacted import GRACE_S, Compaction
from tests.support.shards import ROOT, STREAM, TENANT, append, objects_on, open_on, read_segment, stored_rows
from tests.support.simfs import SimFileSystem

Meets = Callable[[int], bool]


class Life:
    """A shard with one producer, merges and deletes; `expected` are the numbers of the events that are left."""

    def __init__(self, fs: SimFileSystem | None = None, clock: ManualClock | None = None) -> None:
        self.fs = fs or SimFileSystem()
        self.clock = clock or ManualClock()
        self.objects = objects_on(self.fs)
        self.shard: Shard = open_on(self.fs, clock=self.clock, objects=self.objects)
        self.compaction = Compaction(self.shard, self.objects, self.clock)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = self.sent = 0
        self.expected: set[int] = set()
        self.pending: list[tuple[Delete, Meets]] = []
        self.expiring: set[int] = set()

    def write(self, rows: int = 3) -> None:
        numbers = range(self.sent, self.sent + rows)
        append(self.shard, "p", self.epoch, self.sequence, numbers)
        self.sequence += 1
        self.sent += rows
        self.expected |= set(numbers)

    def flush(self, times: int = 1) -> None:
        for _ in range(times):
            self.write()
            self.shard.flush()

    def delete(self, meets: Meets, number: int = 1) -> Delete:
        """Begin a delete of what is there now."""
        end = self.shard.snapshot(TENANT, STREAM).visible_offset
        begun = Delete(number, TENANT, STREAM, "", {0: end}, self.clock.now_us())
        self.pending.append((begun, meets))
        return begun

    def step(self, seconds: float = 0.0) -> bool:
        """Go on with the oldest delete; whether it is over."""
        delete, meets = self.pending[0]
        self.shard.flush()
        concerned = delete.concerned(self.shard.manifest.segments)
        if concerned:
            eraser = Eraser(self.shard, self.objects, self.bytes_of, self.clock, lambda: None)
            eraser.erase(concerned, delete.id, lambda segment: self.matches(segment, delete, meets), seconds)
            return False
        self.pending.pop(0)
        self.expected -= {n for n in self.expected if meets(n) and n < delete.bounds[0]}
        return True

    def expire(self) -> None:
        """Retention takes the oldest segment."""
        oldest = self.shard.manifest.segments[:1]
        numbers = {n for segment in oldest for n in read_segment(self.objects, segment.name).column("n").to_pylist()}
        self.expiring = numbers
        eraser = Eraser(self.shard, self.objects, self.bytes_of, self.clock, lambda: None)
        eraser.expire(Expired(frozenset(segment.name for segment in oldest)), None, 60.0)
        self.expected -= numbers
        self.expiring = set()

    def matches(self, segment: Segment, delete: Delete, meets: Meets) -> Any:
        table = read_segment(self.objects, segment.name)
        pairs = zip(table.column(OFFSET).to_pylist(), table.column("n").to_pylist(), strict=True)
        return np.array([offset for offset, n in pairs if meets(n) and offset < delete.bounds[0]], np.int64)

    def bytes_of(self, segment: Segment) -> pa.Buffer:
        return pa.py_buffer(self.objects.get(segment.name))

    def check(self) -> None:
        """Every event that is left is there once under its own offset, and what is missing is counted."""
        rows = stored_rows(self.shard, self.objects)
        gone = {n for delete, meets in self.pending[:1] for n in self.expected if meets(n) and n < delete.bounds[0]}
        numbers = [n for _, n in rows]
        assert len(set(numbers)) == len(numbers) and all(offset == n for offset, n in rows)
        assert self.expected - gone <= set(numbers) <= self.expected
        erased = sum(count.rows for count in self.shard.manifest.erased.values())
        assert len(rows) + erased == self.shard.snapshot(TENANT, STREAM).visible_offset


def finished(life: Life) -> int:
    """Carry all deletes to their end; in how many steps."""
    steps = 0
    while life.pending:
        life.step()
        steps += 1
    return steps


def test_only_segments_with_a_match_are_rewritten() -> None:
    life = Life()
    life.flush(5)
    before = {segment.name for segment in life.shard.manifest.segments}
    life.delete(lambda n: n in (4, 5))
    assert finished(life) == 6  # one segment a step, and the look that finds none
    life.check()
    manifest = life.shard.manifest
    assert manifest.erased == {(0, 1): Erased(2, 1)}
    assert len(before - {segment.name for segment in manifest.segments}) == 1
    assert [segment.deleted_through for segment in manifest.segments] == [1] * 5
    assert decode_manifest(encode_manifest(manifest)) == manifest
    life.clock.advance(GRACE_S)
    assert life.shard.collect_garbage(GRACE_S) == 1
    found = Findings(0)
    for segment in manifest.segments:
        verify_segment(life.objects, segment, 0, True, found)
    assert not found.items


def test_verify_accepts_what_was_erased_and_no_event_more() -> None:
    life = Life()
    life.flush(4)
    CatalogStore(life.objects, life.clock, 1).ensure_stream(TENANT, StreamSettings(STREAM))
    life.objects.put_new(FORMAT_KEY, b'{"malamute_format": 1, "shards": 1}\n')
    life.delete(lambda n: n in (2, 3, 4, 7))
    finished(life)
    place = StoragePlace("store", life.objects, life.fs, f"{ROOT}/wal", life.clock)
    assert not verify_storage(place, deep=True).findings
    manifest = life.shard.manifest
    for rows, kind in ((3, GAP), (5, WRONG)):
        erased = replace(manifest, version=manifest.version + rows, erased={(0, 1): Erased(rows, 3)})
        life.objects.put_new(manifest_key(0, erased.version), encode_manifest(erased))
        assert [finding.kind for finding in verify_storage(place, deep=False).findings] == [kind]
        life.objects.delete([manifest_key(0, erased.version)])


def test_a_segment_of_which_all_goes_has_no_successor() -> None:
    life = Life()
    life.flush(2)
    life.delete(lambda n: n < 3)
    finished(life)
    life.check()
    assert [segment.rows for segment in life.shard.manifest.segments] == [3]


def test_what_was_written_later_stays_also_in_the_same_segment() -> None:
    life = Life()
    life.write()
    life.delete(lambda n: True)
    life.write()
    finished(life)
    life.check()
    assert life.expected == {3, 4, 5}


def test_a_merge_of_what_was_looked_through_and_what_was_not_is_looked_through_again() -> None:
    life = Life()
    life.flush(3)
    delete = life.delete(lambda n: n == 7)
    life.step()
    assert life.compaction.run() == 1
    (merged,) = life.shard.manifest.segments
    assert (merged.deleted_through, delete.concerned([merged])) == (0, [merged])
    finished(life)
    life.check()
    (merged,) = life.shard.manifest.segments
    assert (merged.level, merged.rows, merged.deleted_through) == (1, 8, 1)
    assert merged.first_key and merged.last_key


def test_a_merge_that_began_before_the_rewrite_is_refused() -> None:
    """It would bring the erased events back."""
    life = Life()
    life.flush(3)
    job = life.compaction.jobs.take(life.shard)
    assert job is not None
    merged = life.compaction.merged(job)
    life.delete(lambda n: n == 1)
    finished(life)
    assert not life.compaction.jobs.finish(life.shard, merged)
    life.check()


def test_an_erasure_that_comes_after_a_merge_is_refused_and_leaves_nothing() -> None:
    life = Life()
    life.flush(3)
    segments = life.shard.manifest.segments
    delete = life.delete(lambda n: n == 1)
    life.compaction.run()
    files = {info.key for info in life.objects.list(segments_prefix(0))}
    eraser = Eraser(life.shard, life.objects, life.bytes_of, life.clock, lambda: None)
    eraser.erase(segments, 1, lambda segment: life.matches(segment, delete, lambda n: n == 1), 60.0)
    assert {info.key for info in life.objects.list(segments_prefix(0))} == files
    assert not life.shard.manifest.erased
    assert life.shard.replace(Erasure(7, 1, clean=(segments[0].name,))) == "it was made under epoch 7, the shard has 1"


def test_deletes_of_a_stream_run_one_after_the_other() -> None:
    """A segment that was looked through for the second would count as looked through for the first."""
    running = [Delete(number, TENANT, stream, "", {}, 0) for number, stream in enumerate(("a", "b", "a", "a"), 1)]
    assert due(reversed(running)) == (running[0], running[1])
    held = replace(running[0], rewritten_at_us=1)
    assert due([held, *running[1:]]) == (held, running[1], running[2])
    done = replace(held, done_at_us=2)
    assert due([done, *running[1:]]) == (running[1], running[2])


def test_what_fails_leaves_the_segment_as_it_was() -> None:
    life = Life()
    life.flush(2)
    life.delete(lambda n: n == 1)
    eraser = Eraser(life.shard, life.objects, life.bytes_of, life.clock, failing)
    before = life.objects.list(segments_prefix(0))
    with pytest.raises(Unavailable):
        eraser.erase(life.shard.manifest.segments, 1, lambda segment: np.array([1]), 60.0)
    assert life.objects.list(segments_prefix(0)) == before
    finished(life)
    life.check()


def failing() -> None:
    raise Unavailable("the disk is full")


def test_an_offset_that_is_not_there_is_an_invariant_violation() -> None:
    life = Life()
    life.flush()
    (segment,) = life.shard.manifest.segments
    with pytest.raises(InvariantViolation, match="ERA-1"):
        without(
            segment, np.array([1, 99]), StreamSettings(STREAM), life.shard.options.shard, life.bytes_of, lambda: None
        )


def test_rows_that_go_without_being_counted_are_an_invariant_violation() -> None:
    life = Life()
    life.flush(2)
    manifest = life.shard.manifest
    one, other = manifest.segments
    with pytest.raises(InvariantViolation, match="MAN-13"):
        apply_edit(manifest, ManifestEdit(remove=(one.name,)), 0)
    fewer = replace(one, name=one.name.replace("00000001.", "00000009."), rows=2)
    with pytest.raises(InvariantViolation, match="MAN-13"):
        apply_edit(manifest, ManifestEdit(add=(fewer,), remove=(one.name,)), 0)
    following = apply_edit(manifest, ManifestEdit(remove=(other.name,), erased={(0, 0): Erased(3, 1)}), 0)
    assert following.erased == {(0, 0): Erased(3, 1)}


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_writes_merges_and_deletes_agrees_with_a_list(seed: int) -> None:
    rng = random.Random(seed)
    life = Life()
    life.flush(3)
    life.delete(lambda n: n % 4 == 1, number := 1)
    for _ in range(40):
        act(life, rng, number := number + 1)
        life.check()
    finished(life)
    life.check()
    assert sum(erased.rows for erased in life.shard.manifest.erased.values()) > 0


def act(life: Life, rng: random.Random, number: int) -> None:
    action = rng.random()
    if action < 0.4:
        life.flush()
    elif action < 0.55:
        life.compaction.step()
    elif action < 0.65:
        life.write(rng.randrange(1, 5))
    elif action < 0.75:
        modulus, rest = rng.randrange(2, 7), rng.randrange(2)
        life.delete(lambda n: n % modulus == rest, number)
    elif action < 0.95:
        if life.pending:
            life.step(rng.choice((0.0, 60.0)))
    elif action < 0.97:
        life.expire()
    else:
        life.clock.advance(GRACE_S)
        life.shard.collect_garbage(GRACE_S)


def crash_states(seed: int, steps: int = 25) -> int:
    """Power cuts after any operation; how many states were recovered."""
    rng = random.Random(seed)
    life = Life()
    checked = 0

    def observe(operation: str, path: str) -> None:
        nonlocal checked
        if rng.random() < 0.04:
            for state in life.fs.crash_states(rng, 1):
                check_recovered(state, life)
                checked += 1

    life.flush(3)
    life.fs.after_operation = observe
    for number in range(1, steps):
        act(life, rng, number)
    life.fs.after_operation = None
    return checked


def check_recovered(state: SimFileSystem, before: Life) -> None:
    """What was erased stays so, what was not is there once, nothing leaks, and the deletes come to their end."""
    after = Life(state, before.clock)
    rows = stored_rows(after.shard, after.objects)
    numbers = {n for _, n in rows}
    doomed = {n for delete, meets in before.pending for n in range(delete.bounds[0]) if meets(n)}
    assert len(numbers) == len(rows) and before.expected - doomed - before.expiring <= numbers
    erased = sum(count.rows for count in after.shard.manifest.erased.values())
    assert len(rows) + erased == after.shard.snapshot(TENANT, STREAM).visible_offset
    manifest = after.shard.manifest
    named = {*(segment.name for segment in manifest.segments), *(segment.name for segment in manifest.removed)}
    assert {info.key for info in after.objects.list(segments_prefix(0))} <= named | set(map(index_key, named)), "leaked"
    after.pending = list(before.pending)
    finished(after)
    assert not {n for _, n in stored_rows(after.shard, after.objects)} & doomed
    after.shard.abandon()


@pytest.mark.parametrize("seed", range(2))
def test_power_cuts_at_any_step_lose_and_bring_back_nothing(seed: int) -> None:
    assert crash_states(seed) > 3
