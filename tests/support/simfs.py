"""Owns a file system in memory that knows what a power cut may leave of it. Never touches a disk.

The model is as harsh as POSIX allows: an unsynced tail may be lost, cut anywhere, filled with zeros or garbage, or
written in any order of its sectors; a create, rename, link or unlink without sync_directory may or may not have
happened, each for itself; syncing a file does not make its name durable.
"""

from __future__ import annotations

import errno
import itertools
import math
import os
import posixpath
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.errors import StorageInUse
from storage.fs import DirectoryLock, FileStatus, WritableFile

SECTOR_BYTES = 512


@dataclass(slots=True)
class _Node:
    """A file without its names: `synced` bytes of `data` are on stable storage."""

    data: bytearray
    synced: int
    modified_us: int


@dataclass(frozen=True, slots=True)
class _Change:
    """A directory operation that is not durable yet: `added` gets the node, `removed` goes."""

    directory: str
    added: str | None
    node: _Node | None
    removed: str | None


class _SimFile:
    def __init__(self, fs: SimFileSystem, path: str, node: _Node) -> None:
        self._fs = fs
        self._path = path
        self._node = node
        self._open = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.write_all([data])

    def write_all(self, buffers: Sequence[bytes | bytearray | memoryview]) -> None:
        self._check_open()
        self._node.data += b"".join(bytes(buffer) for buffer in buffers)
        self._node.modified_us = self._fs.now_us()
        self._fs.done("write", self._path)

    def sync(self) -> None:
        self._check_open()
        self._node.synced = len(self._node.data)
        self._fs.done("sync", self._path)

    def close(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise OSError(errno.EBADF, "file is closed", self._path)


class _SimLock:
    def __init__(self, held: set[str], path: str) -> None:
        self._held = held
        self._path = path

    def release(self) -> None:
        self._held.discard(self._path)


class SimFileSystem:
    """A FileSystem in memory. `after_operation(name, path)` is called after every operation that changes something.

    Locks belong to the process, so a crashed state holds none.
    """

    def __init__(
        self,
        after_operation: Callable[[str, str], None] | None = None,
        now_us: Callable[[], int] = lambda: 1_700_000_000_000_000,
    ) -> None:
        self.after_operation = after_operation
        self.now_us = now_us
        self.operations = 0
        self._directories: set[str] = {"/"}
        self._names: dict[str, _Node] = {}
        self._durable_names: dict[str, _Node] = {}
        self._changes: list[_Change] = []
        self._locks: set[str] = set()

    def done(self, operation: str, path: str) -> None:
        """Count one change and tell the observer."""
        self.operations += 1
        if self.after_operation is not None:
            self.after_operation(operation, path)

    # --- the FileSystem protocol ----------------------------------------------------------------------------------

    def create(self, path: str) -> WritableFile:
        self._check_free(path)
        node = _Node(bytearray(), 0, self.now_us())
        self._change(path, node, None)
        self.done("create", path)
        return _SimFile(self, path, node)

    def read(self, path: str) -> bytes:
        return bytes(self._node(path).data)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        return bytes(self._node(path).data[start : start + length])

    def size(self, path: str) -> int:
        return len(self._node(path).data)

    def status(self, path: str) -> FileStatus:
        if _normal(path) in self._directories:
            return FileStatus(0, self.now_us(), True)
        node = self._node(path)
        return FileStatus(len(node.data), node.modified_us, False)

    def exists(self, path: str) -> bool:
        return _normal(path) in self._names or _normal(path) in self._directories

    def list(self, directory: str) -> list[str]:
        directory = _normal(directory)
        paths = itertools.chain(self._names, self._directories)
        return sorted({posixpath.basename(path) for path in paths if posixpath.dirname(path) == directory != path})

    def make_directories(self, directory: str) -> None:
        directory = _normal(directory)
        while directory not in self._directories:
            if directory in self._names:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), directory)
            self._directories.add(directory)
            directory = posixpath.dirname(directory)

    def rename(self, source: str, target: str) -> None:
        node = self._node(source)
        if _normal(source) != _normal(target):
            self._change(target, node, source)
        self.done("rename", target)

    def link(self, source: str, target: str) -> None:
        node = self._node(source)
        self._check_free(target)
        self._change(target, node, None)
        self.done("link", target)

    def unlink(self, path: str) -> None:
        self._node(path)
        self._change(None, None, path)
        self.done("unlink", path)

    def sync_directory(self, directory: str) -> None:
        directory = _normal(directory)
        if directory not in self._directories:
            raise _missing(directory)
        for change in self._changes:
            if change.directory == directory:
                _apply(self._durable_names, change)
        self._changes = [change for change in self._changes if change.directory != directory]
        self.done("sync_directory", directory)

    def lock(self, path: str) -> DirectoryLock:
        path = _normal(path)
        if path in self._locks:
            raise StorageInUse(f"{path} is locked by this process: release it first")
        self._check_parent(path)
        self._locks.add(path)
        return _SimLock(self._locks, path)

    # --- crashes --------------------------------------------------------------------------------------------------

    def killed(self) -> SimFileSystem:
        """What the next process finds when this one is killed: everything that was written, as it was written.

        Unlike after a power cut, what was not durable is still not durable.
        """
        copy = SimFileSystem(now_us=self.now_us)
        nodes = {id(node): _Node(bytearray(node.data), node.synced, node.modified_us) for node in self._all_nodes()}
        copy._directories = set(self._directories)
        copy._names = {path: nodes[id(node)] for path, node in self._names.items()}
        copy._durable_names = {path: nodes[id(node)] for path, node in self._durable_names.items()}
        copy._changes = [
            _Change(change.directory, change.added, nodes[id(change.node)] if change.node else None, change.removed)
            for change in self._changes
        ]
        return copy

    def crash_states(self, rng: random.Random, limit: int) -> Iterator[SimFileSystem]:
        """At most `limit` different states that a power cut now may leave; each of them is durable.

        First everything kept, then only what was synced; then all the others when they fit, else a random sample
        (in which states may repeat).
        """
        nodes = [node for node in self._all_nodes() if node.synced < len(node.data)]
        tails = [_tails(node, rng) for node in nodes]
        total = 2 ** len(self._changes) * math.prod(map(len, tails))
        everything = tuple(self._changes)
        picks: Iterable[tuple[Sequence[_Change], Sequence[bytes]]]
        if total <= limit:
            subsets = (tuple(itertools.compress(everything, bits)) for bits in _all_bits(len(everything)))
            picks = itertools.product(subsets, itertools.product(*tails))
        else:
            kept_all = (everything, tuple(variants[0] for variants in tails))
            kept_none = ((), tuple(variants[1] for variants in tails))
            samples = (
                (tuple(c for c in everything if rng.random() < 0.5), tuple(rng.choice(variants) for variants in tails))
                for _ in range(limit - 2)
            )
            picks = itertools.islice(itertools.chain([kept_all, kept_none], samples), limit)
        for changes, contents in picks:
            yield self._after_crash(changes, {id(node): data for node, data in zip(nodes, contents, strict=True)})

    def _after_crash(self, changes: Sequence[_Change], contents: dict[int, bytes]) -> SimFileSystem:
        names = dict(self._durable_names)
        for change in changes:
            _apply(names, change)
        state = SimFileSystem(now_us=self.now_us)
        state._directories = set(self._directories)
        nodes: dict[int, _Node] = {}
        for path, node in names.items():
            if id(node) not in nodes:
                data = bytearray(contents.get(id(node), node.data))
                nodes[id(node)] = _Node(data, len(data), node.modified_us)
            state._names[path] = nodes[id(node)]
        state._durable_names = dict(state._names)
        return state

    # --- helpers --------------------------------------------------------------------------------------------------

    def _all_nodes(self) -> Sequence[_Node]:
        candidates = itertools.chain(
            self._names.values(), self._durable_names.values(), (change.node for change in self._changes)
        )
        return list({id(node): node for node in candidates if node is not None}.values())

    def _node(self, path: str) -> _Node:
        node = self._names.get(_normal(path))
        if node is None:
            raise _missing(path)
        return node

    def _check_free(self, path: str) -> None:
        self._check_parent(path)
        if self.exists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)

    def _check_parent(self, path: str) -> None:
        if posixpath.dirname(_normal(path)) not in self._directories:
            raise _missing(path)

    def _change(self, added: str | None, node: _Node | None, removed: str | None) -> None:
        added, removed = added and _normal(added), removed and _normal(removed)
        if added:
            self._check_parent(added)
        change = _Change(posixpath.dirname(added or removed or ""), added, node, removed)
        _apply(self._names, change)
        self._changes.append(change)


def _tails(node: _Node, rng: random.Random) -> list[bytes]:
    """What may be left of a file with an unsynced tail: [everything, only what was synced, others …]."""
    whole, kept = bytes(node.data), bytes(node.data[: node.synced])
    length = len(whole) - node.synced
    cuts = range(1, length) if length <= 64 else sorted(rng.sample(range(1, length), 48))
    states = [whole, kept, *(whole[: node.synced + cut] for cut in cuts)]
    for cut in {0, *rng.sample(range(length), min(length, 8))}:
        rest = length - cut
        states.append(whole[: node.synced + cut] + bytes(rest))
        states.append(whole[: node.synced + cut] + rng.randbytes(rest))
    first, last = node.synced // SECTOR_BYTES, (len(whole) - 1) // SECTOR_BYTES
    if last > first:
        for sector in range(first, last + 1):
            start, end = max(node.synced, sector * SECTOR_BYTES), min(len(whole), (sector + 1) * SECTOR_BYTES)
            states.append(whole[:start])
            states.append(whole[:start] + bytes(end - start) + whole[end:])
    return states


def _apply(names: dict[str, _Node], change: _Change) -> None:
    if change.removed is not None:
        names.pop(change.removed, None)
    if change.added is not None and change.node is not None:
        names[change.added] = change.node


def _all_bits(count: int) -> Iterator[tuple[int, ...]]:
    return itertools.product((1, 0), repeat=count)


def _normal(path: str) -> str:
    return posixpath.normpath(posixpath.join("/", path))


def _missing(path: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
