"""Backup, restore and clone: the same events, incremental, verified, and never a part for the whole after a crash."""

from __future__ import annotations

import errno
import itertools
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, InvalidRequest, InvalidSettings, NotFound
from core.ids import ShardId
from storage import snapshot_files
from storage.backup import back_up, backup_file_key, backups, check_backup, load_backup
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.keys import snapshot_key
from storage.local_objects import LocalObjectStore
from storage.named_snapshot_format import NamedSnapshot
from storage.named_snapshots import NamedSnapshots
from storage.open_objects import open_object_store
from storage.restore import clone, restore
from storage.shard import Shard
from storage.snapshot_files import Copied, files_of
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace, verify_storage
from storage.verify_report import CORRUPT, MISSING
from tests.support.shards import (
    STREAM,
    TENANT,
    append,
    check_exactly_once,
    objects_on,
    open_on,
    open_on_objects,
    stored_rows,
)
from tests.support.simfs import SimFileSystem

SHARD = ShardId(0)
_tokens = itertools.count(1_000_000)
DEDUP = StreamSettings(STREAM, dedup_key="n")


@contextmanager
def one_copy_at_a_time() -> Iterator[None]:
    """The simulated file system knows one thread."""
    many, snapshot_files.COPIES_AT_ONCE = snapshot_files.COPIES_AT_ONCE, 1
    try:
        yield
    finally:
        snapshot_files.COPIES_AT_ONCE = many


@pytest.fixture(autouse=True)
def _one_copy_at_a_time():
    with one_copy_at_a_time():
        yield


def store_at(fs: SimFileSystem, root: str) -> LocalObjectStore:
    return LocalObjectStore(root, fs, lambda: f"{next(_tokens):016x}")


class Rig:
    """A storage with one shard, and places for backups and other storages, on one simulated disk."""

    def __init__(self, settings: StreamSettings | None = None) -> None:
        self.clock = ManualClock()
        self.fs = SimFileSystem()
        self.settings = settings or StreamSettings(STREAM)
        self.objects = objects_on(self.fs)
        open_storage(self.objects, 1)
        catalog = CatalogStore(self.objects, self.clock, 1)
        catalog.ensure_stream(TENANT, self.settings)
        self.shard = open_on(self.fs, clock=self.clock, objects=self.objects, settings=self.settings)
        self.snapshots = NamedSnapshots(self.objects, self.clock, catalog)
        self.epoch = self.shard.open_producer(TENANT, STREAM, "p").epoch
        self.sequence = 0

    def write(self, count: int = 3) -> None:
        numbers = [self.sequence * 10 + n for n in range(count)]
        append(self.shard, "p", self.epoch, self.sequence, numbers, position=b"at %d" % self.sequence)
        self.sequence += 1
        self.clock.advance(1)

    def snapshot(self, name: str = "backup") -> NamedSnapshot:
        self.snapshots.take(None, name, 3600.0, [SHARD], self.shard.flush)
        self.clock.advance(1)
        return self.snapshots.get(None, name)

    def back_up(self, root: str = "/backup") -> tuple[str, Copied]:
        name = f"backup-{self.sequence}"
        done = back_up(self.snapshot(name), self.objects, store_at(self.fs, root))
        self.snapshots.drop(None, name)
        return done

    def opened(self, fs: SimFileSystem, root: str) -> tuple[Shard, LocalObjectStore]:
        """The shard of a storage that was made at `root`, as a deployment opens it."""
        objects = store_at(fs, root)
        open_storage(objects, 1)
        wal = f"{root}/wal/0000"
        shard = open_on(fs, clock=self.clock, objects=objects, wal_directory=wal, settings=self.settings)
        return shard, objects


def verdict(fs: SimFileSystem, root: str) -> list[Any]:
    place = StoragePlace(root, store_at(fs, root), fs, f"{root}/wal", ManualClock())
    return verify_storage(place, deep=True).findings


def test_a_restored_storage_has_the_events_and_goes_on_where_the_backup_was():
    rig = Rig()
    rig.write()
    rig.write()
    before = stored_rows(rig.shard, rig.objects)
    rig.back_up()
    rig.write()
    store = store_at(rig.fs, "/backup")
    restore(load_backup(store), store, store_at(rig.fs, "/new"))
    assert verdict(rig.fs, "/new") == []
    shard, objects = rig.opened(rig.fs, "/new")
    assert stored_rows(shard, objects) == before
    opened = shard.open_producer(TENANT, STREAM, "p")
    assert opened.position == b"at 1"
    append(shard, "p", opened.epoch, 0, [100])
    shard.flush()
    assert stored_rows(shard, objects) == [*before, (6, 100)]
    shard.close()
    assert verdict(rig.fs, "/new") == []


def test_a_restored_shard_may_keep_its_wal_on_the_object_store():
    rig = Rig()
    rig.write()
    before = stored_rows(rig.shard, rig.objects)
    rig.back_up()
    store = store_at(rig.fs, "/backup")
    objects = store_at(rig.fs, "/new")
    restore(load_backup(store), store, objects)
    for _ in range(2):
        shard = open_on_objects(objects, clock=rig.clock)
        assert stored_rows(shard, objects)[:3] == before
        append(shard, "q", shard.open_producer(TENANT, STREAM, "q").epoch, 0, [100])
        shard.abandon()
    assert len(stored_rows(open_on_objects(objects, clock=rig.clock), objects)) == 5
    assert verdict(rig.fs, "/new") == []


def test_backups_are_incremental_and_share_files():
    rig = Rig()
    rig.write()
    first, done = rig.back_up()
    assert done.files_new == done.files > 0
    rig.write()
    second, done = rig.back_up()
    assert 0 < done.files_new < done.files == done.files_done
    assert rig.back_up()[1].files_new == 0
    store = store_at(rig.fs, "/backup")
    assert [(found.name, found.events) for found in backups(store)][:2] == [(first, 3), (second, 6)]
    restore(load_backup(store, first), store, store_at(rig.fs, "/old"))
    assert len(stored_rows(*rig.opened(rig.fs, "/old"))) == 3
    for found in backups(store):
        check_backup(store, load_backup(store, found.name))


def test_two_storages_may_back_up_to_one_place():
    target = store_at(SimFileSystem(), "/backup")
    for number in range(2):
        rig = Rig()
        rig.clock.advance(number)
        rig.write(3 + number)
        name, done = back_up(rig.snapshot(), rig.objects, target)
        assert done.files_new == done.files
        check_backup(target, load_backup(target, name))


def test_the_ids_of_a_backup_are_those_of_its_events():
    rig = Rig(DEDUP)
    rig.write()
    snapshot = rig.snapshot()
    rig.write()
    rig.shard.flush()  # replaces the run of ids that the snapshot holds
    store = store_at(rig.fs, "/backup")
    back_up(snapshot, rig.objects, store)
    restore(load_backup(store), store, store_at(rig.fs, "/new"))
    assert verdict(rig.fs, "/new") == []
    shard, _ = rig.opened(rig.fs, "/new")
    epoch = shard.open_producer(TENANT, STREAM, "q").epoch
    assert append(shard, "q", epoch, 0, [0, 1, 2, 10, 11]).duplicate_ids == 3


def test_verification_looks_at_what_only_a_snapshot_holds():
    rig = Rig(DEDUP)
    rig.write()
    snapshot = rig.snapshot()
    rig.write()
    rig.shard.close()
    assert verdict(rig.fs, "/store") == []
    (run,) = (run for stream in snapshot.manifests[0].id_runs.values() for run in stream.runs)
    flip(rig.objects, run.name)
    assert [(found.kind, found.where) for found in verdict(rig.fs, "/store")] == [(CORRUPT, run.name)]
    rig.objects.delete([run.name])
    assert [(found.kind, found.where) for found in verdict(rig.fs, "/store")] == [(MISSING, run.name)]
    key = snapshot_key(None, snapshot.name)
    flip(rig.objects, key)
    assert [(found.kind, found.where) for found in verdict(rig.fs, "/store")] == [(CORRUPT, key)]


def test_what_is_damaged_is_neither_backed_up_nor_restored():
    rig = Rig()
    rig.write()
    snapshot = rig.snapshot()
    store = store_at(rig.fs, "/backup")
    (segment,) = snapshot.segments
    flip(rig.objects, segment.name)
    with pytest.raises(Corrupt, match="crc32c"):
        back_up(snapshot, rig.objects, store)
    assert backups(store) == []
    flip(rig.objects, segment.name)
    back_up(snapshot, rig.objects, store)
    file = files_of(snapshot)[0]
    flip(store, backup_file_key(file))
    for read in (
        lambda: check_backup(store, load_backup(store)),
        lambda: restore(load_backup(store), store, store_at(rig.fs, "/new")),
    ):
        with pytest.raises(Corrupt, match="crc32c"):
            read()
    store.delete([backup_file_key(file)])
    with pytest.raises(Corrupt, match="missing"):
        check_backup(store, load_backup(store))
    rig.clock.advance(1)
    assert rig.back_up()[1].files_new == 1


def flip(objects: LocalObjectStore, key: str) -> None:
    data = bytearray(objects.get(key))
    data[len(data) // 2] ^= 1
    objects.delete([key])
    objects.put_new(key, bytes(data))


def test_places_that_hold_something_else_are_refused():
    rig = Rig()
    rig.write()
    snapshot = rig.snapshot()
    with pytest.raises(InvalidRequest, match="a malamute storage lies there"):
        back_up(snapshot, rig.objects, rig.objects)
    store = store_at(rig.fs, "/backup")
    with pytest.raises(NotFound, match="no backup there"):
        load_backup(store)
    name, _ = back_up(snapshot, rig.objects, store)
    with pytest.raises(InvalidRequest, match="this very moment"):
        back_up(snapshot, rig.objects, store)
    with pytest.raises(NotFound, match="did you mean"):
        load_backup(store, name[:-2] + "7Z")
    for target in (rig.objects, store):
        with pytest.raises(InvalidRequest, match="not empty"):
            restore(load_backup(store), store, target)


def test_a_clone_shares_the_files_and_outlives_its_source():
    rig = Rig()
    rig.write()
    rig.write()
    before = stored_rows(rig.shard, rig.objects)
    clone(rig.snapshot(), rig.objects, store_at(rig.fs, "/clone"))
    shard, objects = rig.opened(rig.fs, "/clone")
    assert stored_rows(shard, objects) == before
    (segment,) = shard.snapshot(TENANT, STREAM).segments
    assert rig.fs._names[f"/store/{segment.name}"] is rig.fs._names[f"/clone/{segment.name}"]
    append(shard, "q", shard.open_producer(TENANT, STREAM, "q").epoch, 0, [100])
    shard.flush()
    assert stored_rows(rig.shard, rig.objects) == before
    rig.objects.delete([info.key for info in rig.objects.list("")])
    assert stored_rows(shard, objects) == [*before, (6, 100)]
    assert verdict(rig.fs, "/clone") == []


class OtherDisk(SimFileSystem):
    """Files elsewhere cannot be linked."""

    def link(self, source: str, target: str) -> None:
        if not source.startswith("/clone"):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), source)
        super().link(source, target)


def test_a_clone_on_another_disk_has_copies():
    rig = Rig()
    rig.write()
    before = stored_rows(rig.shard, rig.objects)
    disk = OtherDisk()
    clone(rig.snapshot(), rig.objects, store_at(disk, "/clone"))
    assert stored_rows(*rig.opened(disk, "/clone")) == before
    assert verdict(disk, "/clone") == []


def test_a_backup_on_s3_becomes_a_storage_on_s3(servers):
    server = servers("moto")
    places = {
        name: open_object_store(
            f"s3://{server.bucket}/{name}-{random.randrange(2**63)}", LocalFileSystem(), server.options()
        )
        for name in ("backup", "new", "clone")
    }
    rig = Rig(DEDUP)
    rig.write()
    rig.write()
    before = stored_rows(rig.shard, rig.objects)
    snapshot = rig.snapshot()
    back_up(snapshot, rig.objects, places["backup"])
    restore(load_backup(places["backup"]), places["backup"], places["new"])
    clone(snapshot, rig.objects, places["clone"])
    for name in ("new", "clone"):
        place = StoragePlace(name, places[name], LocalFileSystem(), None, rig.clock)
        assert verify_storage(place, deep=True).findings == []
        shard = open_on_objects(places[name], clock=rig.clock)
        assert stored_rows(shard, places[name]) == before
        shard.abandon()


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_at_any_step_of_a_backup_leaves_whole_backups_and_the_next_goes_on(seed):
    assert crashes_while_backing_up(seed) > 20


def crashes_while_backing_up(seed: int) -> int:
    """Check what power cuts and kills leave after every change that a second backup makes; how many."""
    rng = random.Random(seed)
    rig = Rig(DEDUP if seed % 2 else None)
    rig.write(rng.randrange(1, 5))
    first, _ = rig.back_up()
    rig.write(rng.randrange(1, 5))
    snapshot = rig.snapshot("second")
    states: list[SimFileSystem] = []
    rig.fs.after_operation = lambda operation, path: states.extend((rig.fs.killed(), *rig.fs.crash_states(rng, 2)))
    back_up(snapshot, rig.objects, store_at(rig.fs, "/backup"))
    rig.fs.after_operation = None
    for state in states:
        store = store_at(state, "/backup")
        names = [found.name for found in backups(store)]
        assert names[0] == first
        for name in names:
            check_backup(store, load_backup(store, name))
        if len(names) == 1:
            back_up(snapshot, store_at(state, "/store"), store)
        check_backup(store, load_backup(store))
        assert load_backup(store).created_at_us == snapshot.created_at_us
    return len(states)


@pytest.mark.parametrize("seed", range(2))
def test_a_crash_at_any_step_of_a_restore_leaves_nothing_that_opens_but_the_whole(seed):
    assert crashes_while_restoring(seed) > 20


def crashes_while_restoring(seed: int) -> int:
    """Check what power cuts and kills leave after every change that a restore or clone makes; how many."""
    rng = random.Random(seed)
    rig = Rig(DEDUP if seed % 2 else None)
    rig.write(rng.randrange(1, 5))
    rig.write(rng.randrange(1, 5))
    before = stored_rows(rig.shard, rig.objects)
    snapshot = rig.snapshot()
    back_up(snapshot, rig.objects, store_at(rig.fs, "/backup"))

    def make(fs: SimFileSystem) -> None:
        if seed % 2:
            store = store_at(fs, "/backup")
            restore(load_backup(store), store, store_at(fs, "/new"))
        else:
            clone(snapshot, store_at(fs, "/store"), store_at(fs, "/new"))

    states: list[SimFileSystem] = []
    rig.fs.after_operation = lambda operation, path: states.extend((rig.fs.killed(), *rig.fs.crash_states(rng, 2)))
    make(rig.fs)
    rig.fs.after_operation = None
    refused = 0
    for state in states:
        objects = store_at(state, "/new")
        if objects.list(""):
            # Begun and not done: only the whole may open.
            try:
                open_storage(objects, 1)
            except InvalidSettings:
                refused += 1
            else:
                check_exactly_once(
                    stored_rows(*rig.opened(state, "/new")), {n for _, n in before}, {n for _, n in before}
                )
                continue
        make(state)
        assert verdict(state, "/new") == []
        assert stored_rows(*rig.opened(state, "/new")) == before
    assert refused > 0
    return len(states)
