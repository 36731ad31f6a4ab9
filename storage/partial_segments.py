"""Owns local copies of parts of remote segments: of each the column chunks that queries asked for, and the tail.

A copy is a file as long as the segment, with holes where nothing was read: an engine that is told which row groups and
columns to read finds them, and the footer, where they are in the whole file. Each chunk is compared with its checksum
in the segment's index before it is written. Least recently used first out. A directory belongs to one process, and
nothing in it outlives that. Never reads a whole segment: that is segment_reader's.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import google_crc32c
import numpy as np

from core.errors import Corrupt, Unavailable
from core.limits import PART_GAP_BYTES, PART_SHARE_MAX
from storage.column_chunks import MAGIC, ColumnChunks
from storage.fs import LocalFileSystem
from storage.objects import ObjectStore, Range
from storage.segment_index import SegmentIndex
from storage.segment_reader import SegmentFiles
from storage.snapshot import Segment


@dataclass(slots=True)
class _Copy:
    """One file; `present` by [row group, column]. The lock is held while chunks are added, and to remove it."""

    path: str
    present: Any
    bytes: int = 0
    removed: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class PartialSegments:
    """Copies of parts of segments in a directory, `bytes_max` of them. Thread-safe."""

    def __init__(
        self, files: SegmentFiles, objects: ObjectStore, directory: str, bytes_max: int, fs: LocalFileSystem
    ) -> None:
        """`files` are the whole ones: of a segment that is there already nothing is read."""
        self._files = files
        self._objects = objects
        self._fs = fs
        self._directory = directory
        self._bytes_max = bytes_max
        self._numbers = itertools.count()
        self._lock = threading.RLock()
        self._copies: OrderedDict[str, _Copy] | None = None  # by segment, least recently used first

    def path(self, segment: Segment, index: SegmentIndex, names: Collection[str], groups: Any = None) -> str | None:
        """A local file that has the columns `names` in the chosen row groups (bools; None = all), verified.

        None when the whole file is there, or is better read at once than so much of it. Raises Corrupt, NotFound,
        Unavailable.
        """
        chunks = index.chunks
        if chunks is None or self._files.is_near(segment):
            return None
        wanted = (
            np.isin(np.array(index.names), list(names))[None, :]
            & (np.ones(len(index.rows), bool) if groups is None else groups)[:, None]
        )
        with self._locked_copy(segment, chunks) as copy:
            missing = wanted & ~copy.present
            if copy.bytes and not missing.any():
                return copy.path
            ranges = _ranges(chunks, missing, segment.bytes, with_tail=not copy.bytes)
            if copy.bytes + sum(length for _, length in ranges) > PART_SHARE_MAX * segment.bytes:
                if not copy.bytes:
                    self._remove(segment.name, copy)
                return None
            pieces = dict(zip(ranges, self._objects.get_ranges(segment.name, ranges), strict=True))
            try:
                self._add(segment, index.names, chunks, copy, missing, pieces)
            except OSError as error:
                self._remove(segment.name, copy)
                raise Unavailable(f"a part of segment {segment.name} cannot be kept: {error.strerror}") from error
        self._make_room(segment.name)
        return copy.path

    @contextlib.contextmanager
    def _locked_copy(self, segment: Segment, chunks: ColumnChunks) -> Iterator[_Copy]:
        while True:
            copy = self._copy(segment, chunks)
            with copy.lock:
                if not copy.removed:
                    yield copy
                    return

    def _copy(self, segment: Segment, chunks: ColumnChunks) -> _Copy:
        with self._lock:
            if self._copies is None:
                self._fs.make_directories(self._directory)
                for name in self._fs.list(self._directory):  # of a process before this one
                    self._fs.unlink(f"{self._directory}/{name}")
                self._copies = OrderedDict()
            copy = self._copies.get(segment.name)
            if copy is None:
                # A name of its own: somebody may yet open the copy that was removed.
                path = f"{self._directory}/{next(self._numbers):08d}.parquet"
                copy = self._copies[segment.name] = _Copy(path, np.zeros(chunks.bytes.shape, bool))
            self._copies.move_to_end(segment.name)
            return copy

    def _add(
        self,
        segment: Segment,
        names: Sequence[str],
        chunks: ColumnChunks,
        copy: _Copy,
        missing: Any,
        pieces: dict[Range, bytes],
    ) -> None:
        """Verify and write the missing chunks, and the tail when there is nothing yet."""
        parts = [
            (f"column {names[column]!r} of row group {group}", start, length, crc32c)
            for group, column, start, length, crc32c in _chunks_of(chunks, missing)
        ]
        if not copy.bytes:
            tail_bytes = segment.bytes - chunks.tail_start
            parts.append(("the tail", chunks.tail_start, tail_bytes, chunks.tail_crc32c))
        read = [(what, start, _cut(pieces, start, length), crc32c) for what, start, length, crc32c in parts]
        for what, _, data, crc32c in read:
            if google_crc32c.value(data) != crc32c:
                raise Corrupt(f"segment {segment.name} is damaged in {what}: restore it from a backup")
        if not copy.bytes:
            self._fs.create(copy.path).close()
            self._fs.write_range(copy.path, 0, MAGIC)
        for _, start, data, _ in read:
            self._fs.write_range(copy.path, start, data)
        copy.present |= missing
        copy.bytes += sum(len(data) for _, _, data, _ in read)

    def _make_room(self, latest: str) -> None:
        """Remove the least recently used copies beyond the bound, never that of `latest` and none that is in work."""
        with self._lock:
            copies = self._copies or OrderedDict()
            total = sum(copy.bytes for copy in copies.values())
            for name, copy in list(copies.items()):
                if total <= self._bytes_max or name == latest:
                    return
                if copy.lock.acquire(blocking=False):
                    total -= copy.bytes
                    self._remove(name, copy)
                    copy.lock.release()

    def _remove(self, name: str, copy: _Copy) -> None:
        """Remove a copy, whose lock the caller holds."""
        with self._lock:
            if self._copies is not None:
                self._copies.pop(name, None)
            copy.removed = True
            with contextlib.suppress(FileNotFoundError):  # one that was never written
                self._fs.unlink(copy.path)


def _chunks_of(chunks: ColumnChunks, chosen: Any) -> list[tuple[int, int, int, int, int]]:
    """(row group, column, start, bytes, crc32c) of the chosen chunks, in the order of the file."""
    groups, columns = np.nonzero(chosen)
    known = (groups, columns, chunks.starts[chosen], chunks.bytes[chosen], chunks.crc32c[chosen])
    return list(zip(*(part.tolist() for part in known), strict=True))


def _ranges(chunks: ColumnChunks, chosen: Any, size: int, *, with_tail: bool) -> list[Range]:
    """What to read for the chosen chunks: those that are close to each other with what lies between them."""
    parts = [(start, length) for _, _, start, length, _ in _chunks_of(chunks, chosen)]
    if with_tail:
        parts.append((chunks.tail_start, size - chunks.tail_start))
    ranges: list[Range] = []
    for start, length in parts:
        if ranges and start - sum(ranges[-1]) <= PART_GAP_BYTES:
            ranges[-1] = (ranges[-1][0], start + length - ranges[-1][0])
        else:
            ranges.append((start, length))
    return ranges


def _cut(pieces: dict[Range, bytes], start: int, length: int) -> bytes:
    """The bytes of the file from `start` on, of the piece that has them."""
    at, piece = next((at, piece) for (at, size), piece in pieces.items() if at <= start and start + length <= at + size)
    return piece[start - at : start - at + length]
