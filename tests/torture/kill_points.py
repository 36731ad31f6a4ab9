"""T5: a process is killed right before each kind of change to the disk; nothing acknowledged is lost or doubled.

A kill point is named by the operation and by what it changes, as the file system sees it: between two changes a kill
leaves nothing new. Children are forked from a process that has loaded everything and started no thread.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from core.clock import SystemClock
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.shard import ShardOptions
from tests.kill.lives import REPOSITORY, numbers
from tests.support.faultfs import CHANGES, FaultFileSystem
from tests.support.shards import (
    OPTIONS,
    STREAM,
    TENANT,
    append,
    body,
    check_exactly_once,
    open_on,
    random_id,
    stored_rows,
)

_OBJECTS = ("create", "write", "sync", "link", "unlink", "sync_directory")
POINTS = (
    *(f"wal {name}" for name in ("create", "write", "sync", "rename", "unlink", "sync_directory")),
    *(f"segments {name}" for name in _OBJECTS),
    *(f"manifest {name}" for name in _OBJECTS),
    "answer",
)
APPENDS = 14
FLUSH_EVERY = 3
TRIES_MAX = 20
# A WAL file holds a few batches, so that it is rotated between flushes too.
SMALL = ShardOptions(OPTIONS.shard, OPTIONS.memtable_bytes_target, OPTIONS.memtable_bytes_max, 60.0, 4096)


def every_point_once(seed: int) -> dict[str, int]:
    """Kill one process at each point and recover; raises AssertionError."""
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as root:
        command = [sys.executable, "-m", "tests.torture.kill_points", root, str(seed)]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    events = json.loads(done.stdout)
    return {"kills at each point": 1, "kills": len(POINTS), "events acknowledged": events}


def main(root: str, seed: int) -> None:
    rng = random.Random(seed)
    body([0])  # loads what a first batch loads
    store = _Store(root)
    seen = store.live(rng, lambda point: None)
    assert seen == {"wal", "segments", "manifest"}, seen
    for point in rng.sample(POINTS, len(POINTS)):
        for _ in range(TRIES_MAX):
            if store.killed_at(point, rng.choice((1, 1, 2, 3)), rng):
                break
        else:
            raise AssertionError(f"{point} was never reached")
    print(len(store.acknowledged))


class _Store:
    """A store that lives through many processes, and what they were told."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._sent: set[int] = set()
        self.acknowledged: set[int] = set()

    def live(self, rng: random.Random, before: Callable[[str], None]) -> set[str]:
        """A life without a kill; which parts of the store it changed. An operation that is no point fails."""
        reader, writer = os.pipe()
        child = self._fork(rng, writer, lambda point: os.write(writer, f"point {point}\n".encode()) and None)
        output = self._end(child, reader, writer)
        names = {line.removeprefix("point ") for line in output.decode().splitlines() if line.startswith("point ")}
        assert names <= set(POINTS), f"operations that are no kill points: {sorted(names - set(POINTS))}"
        assert os.waitstatus_to_exitcode(self._status) == 0, output[-500:]
        return {name.split()[0] for name in names} - {"answer"}

    def killed_at(self, point: str, nth: int, rng: random.Random) -> bool:
        """Whether a life was killed at the `nth` time that it came to `point`."""
        counts: Counter[str] = Counter()

        def kill(reached: str) -> None:
            counts[reached] += 1
            if reached == point and counts[reached] == nth:
                os.kill(os.getpid(), signal.SIGKILL)

        reader, writer = os.pipe()
        self._end(self._fork(rng, writer, kill), reader, writer)
        code = os.waitstatus_to_exitcode(self._status)
        assert code in (0, -signal.SIGKILL), f"the child ended by itself with {code}"
        return code == -signal.SIGKILL

    def _fork(self, rng: random.Random, writer: int, before: Callable[[str], None]) -> int:
        first, seed = max(self._sent, default=-1) + 1, rng.randrange(2**31)
        child = os.fork()
        if child == 0:
            or_exit(lambda: _ingest(self._root, first, random.Random(seed), writer, before))
        return child

    def _end(self, child: int, reader: int, writer: int) -> bytes:
        """Wait for a child; then recover in another one, and compare."""
        output = _rest(reader, writer)
        _, self._status = os.waitpid(child, 0)
        self._sent |= numbers(output, b"sent")
        self.acknowledged |= numbers(output, b"acked")
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            or_exit(lambda: os.write(writer, json.dumps(_recovered(self._root)).encode()) and None)
        data = _rest(reader, writer)
        _, status = os.waitpid(child, 0)
        assert status == 0, "recovery failed"
        rows = [(offset, n) for offset, n in json.loads(data)]
        check_exactly_once(rows, self.acknowledged, self._sent)
        # What was never answered may be there or not, but from now on it stays as it is.
        self.acknowledged = {n for _, n in rows}
        return output


def _ingest(root: str, first: int, rng: random.Random, writer: int, before: Callable[[str], None]) -> None:
    """One life: open, append and flush; says what it sent and what was acknowledged."""

    def reached(operation: str, path: str) -> None:
        if operation in CHANGES and operation != "make_directories":
            before(f"{_part(path)} {operation}")

    fs = FaultFileSystem(LocalFileSystem(), before=reached)
    objects = LocalObjectStore(root, fs)
    shard = open_on(
        fs, clock=SystemClock(), options=SMALL, objects=objects, wal_directory=f"{root}/wal/0000", file_ids=random_id
    )
    epoch = shard.open_producer(TENANT, STREAM, "child").epoch
    for sequence in range(APPENDS):
        many = range(first, first + rng.randrange(1, 20))
        first = many[-1] + 1
        os.write(writer, f"sent {many[0]} {many[-1]}\n".encode())
        append(shard, "child", epoch, sequence, many)
        before("answer")
        os.write(writer, f"acked {many[0]} {many[-1]}\n".encode())
        if sequence % FLUSH_EVERY == 2:
            shard.flush()


def _part(path: str) -> str:
    return next((part for part in ("wal", "segments", "manifest") if f"/{part}/" in f"{path}/"), path)


def _recovered(root: str) -> list[tuple[int, int]]:
    fs = LocalFileSystem()
    objects = LocalObjectStore(root, fs)
    shard = open_on(fs, objects=objects, wal_directory=f"{root}/wal/0000", file_ids=random_id)
    return stored_rows(shard, objects)


def or_exit(work: Callable[[], None]) -> NoReturn:
    """The end of a forked child: it must not go on as its parent would."""
    code = 1
    try:
        work()
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        os._exit(code)


def _rest(reader: int, writer: int) -> bytes:
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        return pipe.read()


if __name__ == "__main__":
    main(str(Path(sys.argv[1]) / "store"), int(sys.argv[2]))
