"""T5 for segments: a process is killed right before every change of the disk that a merge, a delete, retention or the
deletion of what was replaced makes, one after the other; which of them, the seed says. What is left is as before or as
after, the next attempt completes it, and nothing leaks.

Children are forked from a process that has loaded everything and started no thread.
"""

from __future__ import annotations

import itertools
import json
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from core.batch import OFFSET
from core.clock import ManualClock
from storage.catalog import CatalogStore
from storage.compaction import carry_out
from storage.compaction_inputs import OpenSegment
from storage.compaction_jobs import CompactionJobs
from storage.deletes import Delete, pending
from storage.erasure import Eraser, Matches
from storage.fs import FileSystem, LocalFileSystem
from storage.keys import index_key, segments_prefix
from storage.local_objects import LocalObjectStore
from storage.retention import Expired
from storage.shard import Shard
from storage.snapshot import Segment
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace, verify_storage
from tests.support.compacted import GRACE_S, RULES
from tests.support.faultfs import FaultFileSystem
from tests.support.shards import STREAM, TENANT, append, body, open_on, random_id, read_segment, stored_rows
from tests.torture.snapshot_kills import STEPS_MAX, counts_of, in_child, killing

SEGMENTS = 3  # as many as are merged
DOOMED = 3  # each third event is deleted


def every_step_of_one(seed: int) -> dict[str, int]:
    """Kill one process at each step of an action; raises AssertionError."""
    return counts_of("tests.torture.segment_kills", seed)


def main(root: str, seed: int) -> None:
    rng = random.Random(seed)
    body([0])  # loads what a first batch loads
    store = _Store(Path(root))
    in_child(lambda: store.fill(rng))
    action = (store.merge, store.delete, store.expire, store.collect)[seed % 4]
    for step in itertools.count(1):
        assert step < STEPS_MAX, f"{action.__name__} does not end"
        store.begin()
        killed = in_child(lambda step=step: action(killing(step)))
        in_child(lambda killed=killed: store.check(action.__name__, killed))
        if not killed:
            break
    counts = {"actions": 1, "kills": step - 1, f"of a {action.__name__}": step - 1}
    print(json.dumps(counts))


class _Store:
    """A storage that begins anew before every action, with the segments and events that `filled` has."""

    def __init__(self, root: Path) -> None:
        self._root, self._filled, self._names = root / "store", root / "filled", root / "names"
        self._clock = ManualClock()

    def fill(self, rng: random.Random) -> None:
        fs = LocalFileSystem()
        open_storage(self._objects(fs), 1)
        CatalogStore(self._objects(fs), self._clock, 1).ensure_stream(TENANT, StreamSettings(STREAM))
        shard = self._open(fs)
        epoch, first = shard.open_producer(TENANT, STREAM, "filler").epoch, 0
        for sequence in range(SEGMENTS):
            many = range(first, first + rng.randrange(DOOMED, 20))
            first = many[-1] + 1
            append(shard, "filler", epoch, sequence, many)
            shard.flush()
        self._names.write_text(json.dumps([segment.name for segment in shard.manifest.segments]))
        shard.abandon()
        shutil.copytree(self._root, self._filled)

    def begin(self) -> None:
        shutil.rmtree(self._root)
        shutil.copytree(self._filled, self._root)

    # --- actions, in a child that may be killed -------------------------------------------------------------------

    def merge(self, fs: FaultFileSystem) -> None:
        with self._opened(fs) as (shard, objects):
            self._merge(shard, objects)

    def delete(self, fs: FaultFileSystem) -> None:
        with self._opened(fs) as (shard, objects):
            catalog = CatalogStore(objects, self._clock, 1)
            if not catalog.deletes():
                bounds = {0: shard.snapshot(TENANT, STREAM).visible_offset}
                catalog.add_delete(Delete(0, TENANT, STREAM, f"n % {DOOMED} = 0", bounds, self._clock.now_us()))
            for delete in pending(catalog.deletes()):
                concerned = delete.concerned(shard.manifest.segments)
                self._eraser(shard, objects).erase(concerned, delete.id, _finding(objects, _is_doomed), 60.0)
                now_us = self._clock.now_us()
                catalog.update_delete(replace(delete, remaining=0, rewritten_at_us=now_us, done_at_us=now_us))

    def expire(self, fs: FaultFileSystem) -> None:
        """The first segment goes as a whole, and most events of the second."""
        first, second, *_ = json.loads(self._names.read_text())
        found = Expired(frozenset({first}), frozenset({second}))
        with self._opened(fs) as (shard, objects):
            self._eraser(shard, objects).expire(found, _finding(objects, lambda n: not _is_doomed(n)), 60.0)

    def collect(self, fs: FaultFileSystem) -> None:
        """Delete the files of what was merged, which nobody cuts off."""
        kill, fs.before = fs.before, None
        with self._opened(fs) as (shard, objects):
            self._merge(shard, objects)
            fs.before = kill
            self._clock.advance(GRACE_S)
            shard.collect_garbage(GRACE_S)

    # --- what must be so afterwards -------------------------------------------------------------------------------

    def check(self, action: str, killed: bool) -> None:
        """What is left is a part of the way; the next attempt goes it to its end; nothing is left that nobody names."""
        before = list(itertools.chain(*self._filled_numbers()))
        after = self._after(action)
        numbers = self._stored()
        assert set(after) <= set(numbers) <= set(before) and len(set(numbers)) == len(numbers), (action, numbers)
        if killed:
            getattr(self, action)(FaultFileSystem(LocalFileSystem()))
        assert self._stored() == after, action
        self._clock.advance(10 * GRACE_S)
        with self._opened(FaultFileSystem(LocalFileSystem())) as (shard, objects):
            shard.collect_garbage(GRACE_S)
            live = {segment.name for segment in shard.manifest.segments}
            assert {info.key for info in objects.list(segments_prefix(0))} == live | set(map(index_key, live)), action
        place = StoragePlace("the store", objects, LocalFileSystem(), str(self._root / "wal"), self._clock)
        findings = verify_storage(place, deep=True).findings
        assert not findings, findings

    def _after(self, action: str) -> list[int]:
        first, second, *others = self._filled_numbers()
        everything = list(itertools.chain(first, second, *others))
        if action == "delete":
            return [n for n in everything if not _is_doomed(n)]
        if action == "expire":
            return [*filter(_is_doomed, second), *itertools.chain(*others)]
        return everything

    def _filled_numbers(self) -> list[list[int]]:
        """The events of each segment at first."""
        objects = LocalObjectStore(str(self._filled), LocalFileSystem())
        names = json.loads(self._names.read_text())
        return [sorted(read_segment(objects, name).column("n").to_pylist()) for name in names]

    def _stored(self) -> list[int]:
        with self._opened(FaultFileSystem(LocalFileSystem())) as (shard, objects):
            return [n for _, n in stored_rows(shard, objects)]

    def _merge(self, shard: Shard, objects: LocalObjectStore) -> None:
        jobs = CompactionJobs(RULES, objects, self._clock)
        job = jobs.take(shard)
        if job is not None:  # None: an earlier attempt did it
            assert jobs.finish(shard, carry_out(job, objects, _opener(objects), lambda: None))

    def _eraser(self, shard: Shard, objects: LocalObjectStore) -> Eraser:
        return Eraser(shard, objects, _opener(objects), self._clock, lambda: None)

    @contextmanager
    def _opened(self, fs: FaultFileSystem) -> Iterator[tuple[Shard, LocalObjectStore]]:
        """The shard, whose opening is no step of an action, and the objects."""
        kill, fs.before = fs.before, None
        shard = self._open(fs)
        fs.before = kill
        yield shard, self._objects(fs)
        shard.abandon()

    def _open(self, fs: FileSystem) -> Shard:
        wal = str(self._root / "wal" / "0000")
        return open_on(fs, clock=self._clock, objects=self._objects(fs), wal_directory=wal, file_ids=random_id)

    def _objects(self, fs: FileSystem) -> LocalObjectStore:
        return LocalObjectStore(str(self._root), fs)


def _is_doomed(n: int) -> bool:
    return n % DOOMED == 0


def _finding(objects: LocalObjectStore, meets: Callable[[int], bool]) -> Matches:
    def found(segment: Segment) -> Any:
        table = read_segment(objects, segment.name)
        pairs = zip(table.column(OFFSET).to_pylist(), table.column("n").to_pylist(), strict=True)
        return np.array([offset for offset, n in pairs if meets(n)], np.int64)

    return found


def _opener(objects: LocalObjectStore) -> OpenSegment:
    return lambda segment: pa.py_buffer(objects.get(segment.name))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
