"""Owns a file system that fails on command, around a real or simulated one. Never fails unasked.

A Fault names an operation, which of its calls fails (counted over the whole file system) and how. After a failed
sync with `drops_unsynced`, later reads see zeros where the unsynced bytes were, as on Linux once the page cache lets
go of pages whose writeback failed; later syncs may well succeed.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from storage.fs import DirectoryLock, FileStatus, FileSystem, WritableFile

ANY = "*"
CHANGES = ("create", "write", "sync", "rename", "link", "unlink", "sync_directory", "make_directories")
READS = ("read", "read_range", "size", "status", "exists", "list")

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Fault:
    """Fail the `nth` call (from 1) of `operation`, or of any changing operation for ANY.

    `forever`: every later one too. `written`: bytes that a failing write still puts into the file. `after`: the
    operation is done, then reported as failed. `drops_unsynced`: see above, for sync.
    """

    operation: str
    nth: int
    errno: int
    forever: bool = False
    written: int = 0
    after: bool = False
    drops_unsynced: bool = False


@dataclass(slots=True)
class _Track:
    """What is known of one file's bytes: how many were written and synced, and which were lost by a failed sync."""

    written: int = 0
    synced: int = 0
    lost: tuple[tuple[int, int], ...] = ()


class _FaultFile:
    def __init__(self, fs: FaultFileSystem, inner: WritableFile, path: str, track: _Track) -> None:
        self._fs = fs
        self._inner = inner
        self._path = path
        self._track = track

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.write_all([data])

    def write_all(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        fault = self._fs.count("write", self._path)
        if fault is None:
            self._inner.write_all(buffers)
            self._track.written += sum(len(buffer) for buffer in buffers)
            return
        data = b"".join(bytes(buffer) for buffer in buffers)
        part = data if fault.after else data[: fault.written]
        self._inner.write(part)
        self._track.written += len(part)
        raise _error(fault, self._path)

    def sync(self) -> None:
        fault = self._fs.count("sync", self._path)
        if fault is None or fault.after:
            self._inner.sync()
            self._track.synced = self._track.written
        if fault is not None:
            if fault.drops_unsynced and not fault.after:
                self._track.lost += ((self._track.synced, self._track.written),)
            raise _error(fault, self._path)

    def close(self) -> None:
        self._inner.close()


class FaultFileSystem:
    """A FileSystem that does what `inner` does, except where `plan` says otherwise.

    `calls` counts the calls of every operation, `log` lists the changing ones as (operation, path), `hits` the faults
    that struck. `before(operation, path)` is called first, without a lock held: it may block or raise.
    """

    def __init__(
        self, inner: FileSystem, plan: Iterable[Fault] = (), before: Callable[[str, str], None] | None = None
    ) -> None:
        self.inner = inner
        self.plan = list(plan)
        self.before = before
        self.calls: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        self.hits: list[Fault] = []
        self._tracks: dict[str, _Track] = {}
        self._lock = threading.Lock()

    def count(self, operation: str, path: str) -> Fault | None:
        """Count one call; the fault that must strike it, or None."""
        if self.before is not None:
            self.before(operation, path)
        with self._lock:
            self.calls[operation] += 1
            if operation in CHANGES:
                self.calls[ANY] += 1
                self.log.append((operation, path))
            for fault in self.plan:
                if fault.operation != operation and not (fault.operation == ANY and operation in CHANGES):
                    continue
                at = self.calls[fault.operation]
                if at == fault.nth or (fault.forever and at > fault.nth):
                    self.hits.append(fault)
                    return fault
        return None

    def _do(self, operation: str, path: str, action: Callable[[], _T]) -> _T:
        fault = self.count(operation, path)
        if fault is None:
            return action()
        if fault.after:
            action()
        raise _error(fault, path)

    def create(self, path: str) -> WritableFile:
        fault = self.count("create", path)
        if fault is not None and not fault.after:
            raise _error(fault, path)
        inner = self.inner.create(path)
        self._tracks[path] = track = _Track()
        if fault is not None:
            inner.close()
            raise _error(fault, path)
        return _FaultFile(self, inner, path, track)

    def read(self, path: str) -> bytes:
        return self._seen(path, 0, self._do("read", path, lambda: self.inner.read(path)))

    def read_range(self, path: str, start: int, length: int) -> bytes:
        data = self._do("read_range", path, lambda: self.inner.read_range(path, start, length))
        return self._seen(path, start, data)

    def _seen(self, path: str, start: int, data: bytes) -> bytes:
        track = self._tracks.get(path)
        if track is None or not track.lost:
            return data
        seen = bytearray(data)
        for lost_start, lost_end in track.lost:
            first = min(max(lost_start - start, 0), len(seen))
            last = min(max(lost_end - start, 0), len(seen))
            seen[first:last] = bytes(last - first)
        return bytes(seen)

    def size(self, path: str) -> int:
        return self._do("size", path, lambda: self.inner.size(path))

    def status(self, path: str) -> FileStatus:
        return self._do("status", path, lambda: self.inner.status(path))

    def exists(self, path: str) -> bool:
        return self._do("exists", path, lambda: self.inner.exists(path))

    def list(self, directory: str) -> list[str]:
        return self._do("list", directory, lambda: self.inner.list(directory))

    def make_directories(self, directory: str) -> None:
        self._do("make_directories", directory, lambda: self.inner.make_directories(directory))

    def rename(self, source: str, target: str) -> None:
        def action() -> None:
            self.inner.rename(source, target)
            if source in self._tracks:
                self._tracks[target] = self._tracks.pop(source)

        self._do("rename", target, action)

    def link(self, source: str, target: str) -> None:
        def action() -> None:
            self.inner.link(source, target)
            if source in self._tracks:
                self._tracks[target] = self._tracks[source]

        self._do("link", target, action)

    def unlink(self, path: str) -> None:
        def action() -> None:
            self.inner.unlink(path)
            self._tracks.pop(path, None)

        self._do("unlink", path, action)

    def sync_directory(self, directory: str) -> None:
        self._do("sync_directory", directory, lambda: self.inner.sync_directory(directory))

    def lock(self, path: str) -> DirectoryLock:
        return self._do("lock", path, lambda: self.inner.lock(path))


def _error(fault: Fault, path: str) -> OSError:
    return OSError(fault.errno, os.strerror(fault.errno), path)
