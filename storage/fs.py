"""Owns every write, fsync, rename and unlink on local disks; nothing else opens a local file for writing.

Tests put a failing or crash-modelling file system in its place.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import StorageInUse

_IOV_MAX = os.sysconf("SC_IOV_MAX")


class WritableFile(Protocol):
    """An append-only file."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`; OSError leaves an unknown prefix written."""
        ...

    def write_all(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        """Append all `buffers` in order, without joining them; OSError leaves an unknown prefix written."""
        ...

    def sync(self) -> None:
        """fdatasync: returns only when every byte written so far is on stable storage."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FileStatus:
    """What a path is: its size in bytes and its last change in microseconds since 1970-01-01 UTC."""

    size: int
    modified_us: int
    is_directory: bool


class FileSystem(Protocol):
    """The operations on local files that Malamute uses. Errors are OSError."""

    def create(self, path: str) -> WritableFile:
        """Create a new empty file; FileExistsError when it is there."""
        ...

    def read(self, path: str) -> bytes: ...

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Up to `length` bytes from `start`; fewer only at the end of the file."""
        ...

    def size(self, path: str) -> int: ...

    def status(self, path: str) -> FileStatus:
        """What is at `path`; FileNotFoundError when nothing is."""
        ...

    def exists(self, path: str) -> bool: ...

    def list(self, directory: str) -> list[str]:
        """Names in `directory`, sorted; [] when it is not there."""
        ...

    def make_directories(self, directory: str) -> None:
        """Create `directory` and its parents durably; fine when they are there."""
        ...

    def rename(self, source: str, target: str) -> None:
        """Atomically replace `target`; not durable before sync_directory."""
        ...

    def link(self, source: str, target: str) -> None:
        """Give the file a second name; FileExistsError when `target` is there. Not durable before sync_directory."""
        ...

    def unlink(self, path: str) -> None: ...

    def sync_directory(self, directory: str) -> None: ...

    def lock(self, path: str) -> DirectoryLock:
        """Take the exclusive lock file `path` without waiting; StorageInUse when another process holds it."""
        ...


class DirectoryLock(Protocol):
    """An exclusive lock that the kernel drops when its process dies."""

    def release(self) -> None: ...


class _File:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data)
        while len(view):
            view = view[os.write(self._descriptor, view) :]

    def write_all(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        views = [memoryview(buffer) for buffer in buffers if len(buffer)]
        first = 0
        while first < len(views):
            written = os.writev(self._descriptor, views[first : first + _IOV_MAX])
            while first < len(views) and written >= len(views[first]):
                written -= len(views[first])
                first += 1
            if written:
                views[first] = views[first][written:]

    def sync(self) -> None:
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _Lock:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class LocalFileSystem:
    """POSIX files."""

    def create(self, path: str) -> WritableFile:
        return _File(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o644))

    def read(self, path: str) -> bytes:
        return Path(path).read_bytes()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        with Path(path).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def write_range(self, path: str, start: int, data: bytes | memoryview) -> None:
        """Write into a file that is there, or behind its end: what lies between reads as zeros and takes no room."""
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            left = memoryview(data)
            while left:
                written = os.pwrite(descriptor, left, start)
                start, left = start + written, left[written:]
        finally:
            os.close(descriptor)

    def size(self, path: str) -> int:
        return Path(path).stat().st_size

    def status(self, path: str) -> FileStatus:
        found = Path(path).stat()
        return FileStatus(found.st_size, found.st_mtime_ns // 1000, stat.S_ISDIR(found.st_mode))

    def exists(self, path: str) -> bool:
        return Path(path).exists()

    def list(self, directory: str) -> list[str]:
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def make_directories(self, directory: str) -> None:
        if Path(directory).is_dir():
            return
        parent = str(Path(directory).parent)
        self.make_directories(parent)
        with contextlib.suppress(FileExistsError):
            Path(directory).mkdir()
        self.sync_directory(parent)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def link(self, source: str, target: str) -> None:
        os.link(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def sync_directory(self, directory: str) -> None:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, path: str) -> DirectoryLock:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, 64, 0).decode(errors="replace").strip()
            os.close(descriptor)
            raise StorageInUse(f"{path} is locked by {holder or 'another process'}: stop that one first") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"pid {os.getpid()}\n".encode(), 0)
        return _Lock(descriptor)
