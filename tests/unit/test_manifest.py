"""Moving a manifest: one owner, fencing, lost answers, old versions, many writers."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, Fenced, InvariantViolation, Unavailable, UnknownOutcome
from core.ids import ShardId
from storage.fs import LocalFileSystem
from storage.keys import manifest_key
from storage.local_objects import LocalObjectStore
from storage.manifest import ManifestStore
from storage.manifest_format import Manifest, ManifestEdit, encode_manifest
from storage.objects import ObjectStore
from tests.support.flaky_objects import FlakyObjectStore
from tests.unit.test_manifest_format import segment

SHARD = ShardId(3)


def manifests(objects: ObjectStore, writer: int = 1, versions_kept: int = 16) -> ManifestStore:
    return ManifestStore(objects, SHARD, ManualClock(), new_writer=lambda: writer, versions_kept=versions_kept)


def flush(first: int, rows: int, name: str | None = None) -> ManifestEdit:
    """An edit that adds one segment of `rows` offsets from the floor `first` on."""
    return ManifestEdit(add=(segment(name or f"s{first}", first, first + rows - 1),), wal_floor=first + rows)


def names(manifest: Manifest | None) -> list[str]:
    assert manifest is not None
    return [s.name for s in manifest.segments]


def test_a_life(tmp_path: Path) -> None:
    objects = LocalObjectStore(str(tmp_path), LocalFileSystem())
    store = manifests(objects)
    assert store.load() is None
    taken = store.take_epoch()
    assert (taken.shard, taken.version, taken.epoch, taken.wal_floor) == (3, 1, 1, 0)
    store.publish(flush(0, 5))
    last = store.publish(flush(5, 5))
    assert store.load() == manifests(objects).load() == last
    again = manifests(objects, 2).take_epoch()
    assert (again.version, again.epoch) == (4, 2)
    assert names(again) == ["s0", "s5"]


def test_publishing_needs_an_epoch() -> None:
    with pytest.raises(InvariantViolation, match="MAN-2"):
        manifests(FlakyObjectStore()).publish(flush(0, 1))


def test_an_older_epoch_is_fenced_for_good() -> None:
    objects = FlakyObjectStore()
    old, new = manifests(objects, 1), manifests(objects, 2)
    old.take_epoch()
    old.publish(flush(0, 5))
    new.take_epoch()
    for _ in range(3):
        with pytest.raises(Fenced, match="epoch 1 was fenced by epoch 2"):
            old.publish(flush(5, 5, "late"))
    new.publish(flush(5, 1))
    assert names(new.load()) == ["s0", "s5"]
    assert old.take_epoch().epoch == 3


def test_late_writes_of_old_epochs_are_never_accepted() -> None:
    """T18: random interleavings of owners that do not know of each other."""
    assert late_publishes(18) > 100


def late_publishes(seed: int) -> int:
    """Let owners that were replaced go on publishing; how often one tried, in vain."""
    rng = random.Random(seed)
    accepted_late = attempts = 0
    for _ in range(60):
        objects = FlakyObjectStore()
        owners = [manifests(objects, writer, versions_kept=3) for writer in range(4)]
        epochs: dict[int, int] = {}
        kept: list[str] = []
        for step in range(40):
            index = rng.randrange(4)
            if index not in epochs or rng.random() < 0.1:
                epochs[index] = owners[index].take_epoch().epoch
                continue
            before = owners[index].load()
            assert before is not None
            late = epochs[index] < max(epochs.values())
            attempts += late
            try:
                owners[index].publish(ManifestEdit(add=(segment(f"x{step}", step, step),), wal_floor=step + 1))
                kept.append(f"x{step}")
                accepted_late += late
            except Fenced:
                del epochs[index]
        assert names(manifests(objects).load()) == kept
    assert accepted_late == 0
    return attempts


def test_a_zombie_cannot_revive_a_deleted_version() -> None:
    objects = FlakyObjectStore()
    zombie, owner = manifests(objects, 1, 2), manifests(objects, 2, 2)
    zombie.take_epoch()
    owner.take_epoch()
    for number in range(5):
        owner.publish(flush(number, 1))
    assert manifest_key(SHARD, 2) not in objects.objects
    with pytest.raises(Fenced):
        zombie.publish(flush(0, 1, "zombie"))
    assert manifest_key(SHARD, 2) in objects.objects  # created, but nobody's newest
    assert "zombie" not in names(owner.load())
    owner.take_epoch()
    assert manifest_key(SHARD, 2) not in objects.objects


def test_a_zombie_cannot_take_an_epoch_with_a_deleted_version() -> None:
    objects = FlakyObjectStore()
    owner, zombie = manifests(objects, 1, 2), manifests(objects, 2, 2)
    owner.take_epoch()
    stalled = True

    def stall(operation: str, key: str) -> str | None:
        nonlocal stalled
        if operation == "put_new" and stalled:
            stalled = False  # the zombie is paused here while the owner goes on
            for number in range(5):
                owner.publish(flush(number, 1))
        return None

    objects.hook = stall
    taken = zombie.take_epoch()
    assert (taken.epoch, taken.version, len(taken.segments)) == (2, 7, 5)


def test_two_writers_of_one_epoch_are_a_violation() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    taken = store.take_epoch()
    objects.put_new(manifest_key(SHARD, 2), encode_manifest(replace(taken, version=2, writer=99)))
    with pytest.raises(InvariantViolation, match="second writer in epoch 1"):
        store.publish(flush(0, 1))


@pytest.mark.parametrize("failure", ["after", "later"])
def test_a_lost_answer_is_settled_by_publishing_again(failure: str) -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    store.take_epoch()
    objects.hook = lambda operation, _: failure if operation == "put_new" else None
    with pytest.raises(UnknownOutcome):
        store.publish(flush(0, 5, "first try"))
    objects.hook = None
    settled = store.publish(flush(0, 5, "second try"))
    assert objects.deliver() == 0
    assert names(settled) == names(store.load()) == ["first try"]
    assert store.publish(flush(5, 1)).wal_floor == 6


def test_another_edit_after_a_lost_answer_comes_on_top() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    store.take_epoch()
    objects.hook = lambda operation, _: "later" if operation == "put_new" else None
    with pytest.raises(UnknownOutcome):
        store.publish(flush(0, 5))
    objects.hook = None
    assert names(store.publish(flush(5, 5))) == ["s0", "s5"]


def test_an_owner_fenced_while_its_answer_was_lost_finds_out() -> None:
    for failure, expected in (("after", ["s0"]), ("later", [])):
        objects = FlakyObjectStore()
        store, newer = manifests(objects, 1), manifests(objects, 2)
        store.take_epoch()
        objects.hook = lambda operation, _, failure=failure: failure if operation == "put_new" else None
        with pytest.raises(UnknownOutcome):
            store.publish(flush(0, 5))
        objects.hook = None
        taken = newer.take_epoch()
        objects.deliver()
        with pytest.raises(Fenced):
            store.publish(flush(0, 5, "again"))
        assert names(taken) == names(newer.load()) == expected


def test_a_definite_failure_changes_nothing() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    store.take_epoch()
    objects.hook = lambda operation, _: "before" if operation == "put_new" else None
    with pytest.raises(Unavailable):
        store.publish(flush(0, 5, "failed"))
    objects.hook = None
    assert names(store.publish(flush(0, 5, "worked"))) == ["worked"]


def test_a_failed_look_for_newer_versions_is_an_unknown_outcome() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    store.take_epoch()
    objects.hook = lambda operation, _: "before" if operation == "list" else None
    for _ in range(2):
        with pytest.raises(UnknownOutcome):
            store.publish(flush(0, 5))
    objects.hook = None
    assert names(store.publish(flush(0, 5, "again"))) == ["s0"]


def test_faults_everywhere_lose_and_double_nothing() -> None:
    """T37 on the manifest: 20 % of all calls fail, before or after they took effect, or arrive late."""
    for seed in range(40):
        rng = random.Random(seed)

        def fault(operation: str, key: str, rng: random.Random = rng) -> str | None:
            kinds = ["before", "after", "later"] if operation == "put_new" else ["before"]
            return rng.choice(kinds) if rng.random() < 0.2 else None

        objects = FlakyObjectStore(fault)
        store = manifests(objects, seed, versions_kept=3)
        floor = 0
        taken = False
        for attempt in range(200):
            try:
                if not taken or rng.random() < 0.05:
                    taken = False
                    current = store.take_epoch()
                    taken, floor = True, current.wal_floor
                floor = store.publish(flush(floor, 2, f"{seed}-{attempt}")).wal_floor
            except (Unavailable, UnknownOutcome):
                if rng.random() < 0.3:
                    objects.deliver()
        objects.deliver()
        objects.hook = None
        final = manifests(objects).load()
        assert final is not None
        covered = [o for s in final.segments for o in range(s.first_offset, s.last_offset + 1)]
        assert covered == list(range(final.wal_floor))
        assert final.wal_floor >= floor > 50


def test_old_versions_are_deleted_and_failures_counted() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects, 1, versions_kept=4)
    store.take_epoch()
    objects.hook = lambda operation, _: "before" if operation == "delete" else None
    for number in range(6):
        store.publish(flush(number, 1))
    assert len(objects.objects) == 7
    assert store.delete_failures == 4  # of each publish from version 4 on, beyond which version 0 is, of a restore
    objects.hook = None
    store.publish(flush(6, 1))
    assert sorted(objects.objects) == [manifest_key(SHARD, version) for version in range(5, 9)]


def test_32_writers_on_one_store_lose_no_edit(tmp_path: Path) -> None:
    """T38: one epoch, 32 threads; each retries until its row is in."""
    objects = LocalObjectStore(str(tmp_path), LocalFileSystem())
    store = manifests(objects)
    store.take_epoch()
    lock = threading.Lock()

    def write(writer: int) -> None:
        for step in range(4):
            with lock:  # the shard serializes its flushes: the floor must be read with the edit
                current = store.load()
                assert current is not None
                store.publish(flush(current.wal_floor, 1, f"{writer}-{step}"))

    run_threads([lambda writer=writer: write(writer) for writer in range(32)])
    assert sorted(names(store.load())) == sorted(f"{writer}-{step}" for writer in range(32) for step in range(4))


def test_32_owners_fighting_lose_no_edit() -> None:
    """T38: 32 threads take the epoch from each other until each has published once."""
    objects = FlakyObjectStore()
    epochs: list[int] = []

    def own(writer: int) -> None:
        store = manifests(objects, writer)
        taken = store.take_epoch()
        # An owner that was replaced right after its create is fenced, but its edit lives on in the successor.
        while f"w{writer}" not in names(taken):
            epochs.append(taken.epoch)
            try:
                store.publish(flush(taken.wal_floor, 1, f"w{writer}"))
                return
            except Fenced:
                taken = store.take_epoch()

    run_threads([lambda writer=writer: own(writer) for writer in range(32)])
    final = manifests(objects).load()
    assert sorted(names(final)) == sorted(f"w{writer}" for writer in range(32))
    assert len(set(epochs)) == len(epochs)
    assert final is not None and final.wal_floor == 32


def run_threads(work: list[Callable[[], None]]) -> None:
    """Run all callables at once; the first error fails the test."""
    errors: list[BaseException] = []

    def guarded(item: Callable[[], None]) -> None:
        try:
            item()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(item,)) for item in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_manifest_under_a_wrong_key_is_corrupt() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects)
    store.take_epoch()
    objects.put_new(manifest_key(SHARD, 9), objects.get(manifest_key(SHARD, 1)))
    with pytest.raises(Corrupt, match="says shard 3 version 1"):
        store.load()
    objects.objects[manifest_key(SHARD, 9)] = b"damaged"
    with pytest.raises(Corrupt, match=manifest_key(SHARD, 9)):
        store.take_epoch()


def test_a_reader_overtaken_by_deletion_reads_the_next() -> None:
    objects = FlakyObjectStore()
    store = manifests(objects, 1, versions_kept=1)
    store.take_epoch()
    overtaken = False

    def publish_between(operation: str, key: str) -> str | None:
        nonlocal overtaken
        if operation == "get" and not overtaken:
            overtaken = True
            store.publish(flush(0, 1))
        return None

    reader = manifests(objects)
    objects.hook = publish_between
    assert names(reader.load()) == ["s0"]
    assert overtaken
