"""T5 for snapshots: a process is killed right before every change of the disk that a snapshot, a backup, a restore or a
clone makes, one after the other. What is there afterwards is whole or not there, and the next attempt completes it.

Children are forked from a process that has loaded everything and started no thread.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.clock import SystemClock
from core.errors import InvalidSettings
from core.ids import ShardId
from storage.backup import back_up, backups, check_backup, load_backup
from storage.catalog import CatalogStore
from storage.fs import FileSystem, LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.named_snapshot_format import NamedSnapshot, decode_snapshot, encode_snapshot
from storage.named_snapshots import NamedSnapshots
from storage.restore import clone, restore
from storage.shard import Shard
from storage.snapshot_files import files_of, verified
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace, verify_storage
from tests.kill.lives import REPOSITORY
from tests.support.faultfs import CHANGES, FaultFileSystem
from tests.support.shards import STREAM, TENANT, append, body, check_exactly_once, open_on, random_id, stored_rows
from tests.torture.kill_points import or_exit

STEPS_MAX = 500  # of one action; it takes 20 to 100
SETTINGS = StreamSettings(STREAM, dedup_key="n")

Rows = list[tuple[int, int]]


def every_step_once(seed: int) -> dict[str, int]:
    """Kill one process at each step of each action; raises AssertionError."""
    return counts_of("tests.torture.snapshot_kills", seed)


def counts_of(module: str, seed: int) -> dict[str, int]:
    """What `python -m module ROOT SEED` counts, in a process of its own; raises AssertionError when it fails."""
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as root:
        command = [sys.executable, "-m", module, root, str(seed)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def main(root: str, seed: int) -> None:
    rng = random.Random(seed)
    body([0])  # loads what a first batch loads
    place = _Place(Path(root))
    in_child(lambda: place.fill(rng))
    counts = {"kills": 0}
    for action in rng.sample((place.snapshot, place.backup, place.restore, place.clone), 4):
        for step in itertools.count(1):
            assert step < STEPS_MAX, f"{action.__name__} does not end"
            killed = in_child(lambda action=action, step=step: action(killing(step)))
            in_child(lambda action=action: place.check(action.__name__))
            if not killed:
                break
            counts["kills"] += 1
            counts[f"of a {action.__name__}"] = step
    print(json.dumps(counts))


def _opens(target: LocalObjectStore) -> bool:
    """Whether a deployment begins on what is there."""
    try:
        return bool(target.list("")) and open_storage(target, 1) != 0
    except InvalidSettings:
        return False


def killing(step: int) -> FaultFileSystem:
    """A file system that kills this process right before its `step`-th change."""
    changes = itertools.count(1)

    def before(operation: str, path: str) -> None:
        if operation in CHANGES and next(changes) == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return FaultFileSystem(LocalFileSystem(), before=before)


class _Place:
    """A storage below `root`, a snapshot of it in `held`, and directories for what is made of it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held = root / "held"
        self._rows = root / "rows"

    # --- actions, in a child that may be killed -------------------------------------------------------------------

    def snapshot(self, fs: FaultFileSystem) -> None:
        kill, fs.before = fs.before, None
        shard = self._open("storage", fs)
        epoch = shard.open_producer(TENANT, STREAM, "child").epoch
        append(shard, "child", epoch, 0, [len(self._stored(shard, "storage"))])
        self._rows.write_text(json.dumps(self._stored(shard, "storage")))
        fs.before = kill
        _snapshots(self._objects("storage", fs)).take(TENANT, "named", 3600.0, [ShardId(0)], shard.flush)

    def backup(self, fs: FileSystem) -> None:
        back_up(self._snapshot(), self._objects("storage"), self._objects("backup", fs))

    def restore(self, fs: FileSystem) -> None:
        self._backed_up()
        store = self._objects("backup")
        restore(load_backup(store), store, self._objects("restored", fs))

    def clone(self, fs: FileSystem) -> None:
        clone(self._snapshot(), self._objects("storage"), self._objects("cloned", fs))

    # --- what must be so afterwards -------------------------------------------------------------------------------

    def check(self, action: str) -> None:
        """Look at what the action left, and complete it; then it is as if it had not been."""
        getattr(self, f"_check_{action}")()

    def _check_snapshot(self) -> None:
        rows = [(offset, n) for offset, n in json.loads(self._rows.read_text())]
        shard = self._open("storage", LocalFileSystem())
        objects = self._objects("storage")
        numbers = {n for _, n in rows}
        check_exactly_once(self._stored(shard, "storage"), numbers, numbers)
        snapshots = _snapshots(objects)
        for summary in snapshots.all(TENANT):
            snapshot = snapshots.get(TENANT, summary.name)
            for file in files_of(snapshot):
                verified(file, objects.get(file.name), "the storage")
            assert summary.events == len(rows), (summary, len(rows))
            snapshots.drop(TENANT, summary.name)
        shard.abandon()

    def _check_backup(self) -> None:
        store = self._objects("backup")
        for summary in backups(store):
            check_backup(store, load_backup(store, summary.name))
        if not backups(store):
            back_up(self._snapshot(), self._objects("storage"), store)
        check_backup(store, load_backup(store))
        shutil.rmtree(self._root / "backup")

    def _check_restore(self) -> None:
        self._backed_up()
        store = self._objects("backup")
        self._check_made("restored", lambda target: restore(load_backup(store), store, target))

    def _check_clone(self) -> None:
        self._check_made("cloned", lambda target: clone(self._snapshot(), self._objects("storage"), target))

    def _check_made(self, name: str, make: Callable[[LocalObjectStore], object]) -> None:
        """A deployment opens the whole or nothing; another attempt makes it whole."""
        target = self._objects(name)
        rows = json.loads((self._root / "held-rows").read_text())
        if not _opens(target):
            make(target)
        place = StoragePlace(name, target, LocalFileSystem(), str(self._root / name / "wal"), SystemClock())
        findings = verify_storage(place, deep=True).findings
        assert not findings, findings
        open_storage(target, 1)
        shard = self._open(name, LocalFileSystem())
        assert [list(row) for row in self._stored(shard, name)] == rows
        shard.abandon()
        shutil.rmtree(self._root / name)

    # --- helpers --------------------------------------------------------------------------------------------------

    def fill(self, rng: random.Random) -> None:
        """Make the storage, and hold a snapshot of it."""
        objects = self._objects("storage")
        open_storage(objects, 1)
        CatalogStore(objects, SystemClock(), 1).ensure_stream(TENANT, SETTINGS)
        shard = self._open("storage", LocalFileSystem())
        epoch = shard.open_producer(TENANT, STREAM, "filler").epoch
        first = 0
        for sequence in range(rng.randrange(2, 5)):
            many = range(first, first + rng.randrange(1, 20))
            first = many[-1] + 1
            append(shard, "filler", epoch, sequence, many)
            if rng.random() < 0.5:
                shard.flush()
        snapshots = _snapshots(objects)
        snapshots.take(None, "held", None, [ShardId(0)], shard.flush)
        self._held.write_bytes(encode_snapshot(snapshots.get(None, "held")))
        (self._root / "held-rows").write_text(json.dumps(self._stored(shard, "storage")))
        shard.abandon()

    def _snapshot(self) -> NamedSnapshot:
        return decode_snapshot(self._held.read_bytes())

    def _backed_up(self) -> None:
        if not backups(self._objects("backup")):
            back_up(self._snapshot(), self._objects("storage"), self._objects("backup"))

    def _objects(self, name: str, fs: FileSystem | None = None) -> LocalObjectStore:
        return LocalObjectStore(str(self._root / name), fs or LocalFileSystem())

    def _open(self, name: str, fs: FileSystem) -> Shard:
        wal = str(self._root / name / "wal" / "0000")
        objects, clock = self._objects(name, fs), SystemClock()
        return open_on(fs, clock=clock, objects=objects, wal_directory=wal, file_ids=random_id, settings=SETTINGS)

    def _stored(self, shard: Shard, name: str) -> Rows:
        return stored_rows(shard, self._objects(name))


def _snapshots(objects: LocalObjectStore) -> NamedSnapshots:
    clock = SystemClock()
    return NamedSnapshots(objects, clock, CatalogStore(objects, clock, 1))


def in_child(work: Callable[[], None]) -> bool:
    """Do `work` in a child; whether it was killed. Any other end than that and success fails."""
    child = os.fork()
    if child == 0:
        or_exit(work)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, -signal.SIGKILL), f"the child ended with {code}"
    return code == -signal.SIGKILL


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
