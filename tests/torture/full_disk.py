"""T11: a real full disk. Writes are refused with a typed error, reads go on; writes too when there is room again."""

from __future__ import annotations

import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.append import AppendRequest
from core.clock import ManualClock
from core.errors import Unavailable, UnknownOutcome
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.shard import Shard
from storage.shard_host import ShardHost
from tests.support.power_cut import NotPossible
from tests.support.shards import STREAM, TENANT, body, check_exactly_once, open_on, random_id, stored_rows
from tests.torture.campaigns import directory

DISK_BYTES = 4 << 20
BALLAST_BYTES = 3 << 20
ROUNDS = 3
REFUSALS = 5
BATCH_ROWS = 400
BATCHES_MAX = 2_000  # fill the disk many times over


@contextmanager
def small_disk() -> Iterator[Path]:
    """A tmpfs of DISK_BYTES; NotPossible without the right to mount one."""
    if shutil.which("mount") is None:
        raise NotPossible("not installed: mount")
    with directory() as place:
        command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(place)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPossible(f"a tmpfs cannot be mounted here: {done.stderr.strip()}")
        try:
            yield place
        finally:
            subprocess.run(["umount", str(place)], capture_output=True, check=True)


def fill_and_free(seed: int) -> dict[str, int]:
    """Fill a disk until writes are refused, read, free it, and go on: ROUNDS times."""
    rng = random.Random(seed)
    with small_disk() as disk:
        course = _Course(disk)
        for _ in range(ROUNDS):
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(min(BALLAST_BYTES, shutil.disk_usage(disk).free // 2)))
            course.fill(rng)
            ballast.unlink()
            course.go_on()
        return {"times full": ROUNDS, "writes refused": course.refused, "events acknowledged": course.sent}


class _Course:
    def __init__(self, disk: Path) -> None:
        self._root = str(disk / "store")
        self._clock = ManualClock()
        self._objects = LocalObjectStore(self._root, LocalFileSystem())
        self._host = ShardHost(self._open, self._clock)
        self._epoch = self._host.open_producer(TENANT, STREAM, "p").epoch
        self._sequence = 0
        self.sent = self.refused = 0

    def _open(self) -> Shard:
        wal = f"{self._root}/wal/0000"
        fs = LocalFileSystem()
        return open_on(fs, clock=self._clock, objects=self._objects, wal_directory=wal, file_ids=random_id)

    def _append(self) -> None:
        numbers = range(self.sent, self.sent + BATCH_ROWS)
        self._host.append(AppendRequest(TENANT, STREAM, "p", self._epoch, self._sequence, body(numbers)))
        self._sequence += 1
        self.sent += BATCH_ROWS

    def fill(self, rng: random.Random) -> None:
        """Append until REFUSALS appends in a row were refused; what was acknowledged stays readable all the while."""
        refused = 0
        for _ in range(BATCHES_MAX):
            try:
                self._append()
                refused = 0
                if rng.random() < 0.1:
                    self._host.flush()
            except (Unavailable, UnknownOutcome):
                refused += 1
                self.refused += 1
                snapshot = self._host.snapshots(TENANT, [STREAM])[STREAM]
                segments = sum(segment.rows for segment in snapshot.segments)
                rows = segments + sum(batch.num_rows for batch in snapshot.memtable)
                assert rows >= self.sent, "an acknowledged event cannot be read while the disk is full"
                self._clock.advance(2)
            if refused == REFUSALS:
                return
        raise AssertionError("the disk never was full")

    def go_on(self) -> None:
        """The batch that was refused, again, and one more; then everything is there once."""
        self._clock.advance(2)
        self._append()
        self._append()
        self._host.close()
        shard = self._open()
        everything = set(range(self.sent))
        check_exactly_once(stored_rows(shard, self._objects), everything, everything)
        shard.abandon()
        self._host = ShardHost(self._open, self._clock)
