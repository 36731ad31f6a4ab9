"""Owns the way from a segment's name to a verified file on a local disk. Never interprets a segment's rows.

A file's bytes are compared with the manifest's crc32c once per process, before its path is handed out. Objects that
are local files are used where they are; remote ones are downloaded into a bounded cache directory, least recently
used first out. The cache belongs to one process; whatever it finds there at start is verified before use.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import google_crc32c

from core.errors import Corrupt, NotFound, Unavailable
from core.limits import MIB
from storage.fs import FileSystem
from storage.objects import TEMPORARY_PREFIX, ObjectStore
from storage.snapshot import Segment

_READ_BYTES: Final = 4 * MIB
# Names of verified local files that are remembered; a forgotten one is verified again.
_VERIFIED_MAX: Final = 100_000


def random_token() -> str:
    """16 random hex digits."""
    return secrets.token_hex(8)


class SegmentFiles:
    """Verified local paths of segments. Thread-safe; one download per segment at a time."""

    def __init__(
        self,
        objects: ObjectStore,
        cache_directory: str,
        cache_bytes_max: int,
        fs: FileSystem,
        new_token: Callable[[], str] = random_token,
    ) -> None:
        self._objects = objects
        self._directory = cache_directory
        self._bytes_max = cache_bytes_max
        self._fs = fs
        self._new_token = new_token
        self._lock = threading.Lock()
        self._verified: OrderedDict[str, str] = OrderedDict()  # segment name → path
        self._cached: OrderedDict[str, int] | None = None  # cache file name → bytes, least recently used first
        self._busy: dict[str, threading.Lock] = {}
        self.downloads = 0

    def path(self, segment: Segment) -> str:
        """A local path of the segment's Parquet file, whose content was verified.

        Raises Corrupt (the bytes are not those that were published), NotFound, Unavailable.
        """
        with self._lock:
            known = self._touch(segment.name)
            if known is not None:
                return known
            busy = self._busy.setdefault(segment.name, threading.Lock())
        with busy:
            with self._lock:
                known = self._touch(segment.name)
            if known is not None:
                return known
            path = self._verified_path(segment)
            with self._lock:
                self._verified[segment.name] = path
                while len(self._verified) > _VERIFIED_MAX:
                    self._verified.popitem(last=False)
                self._busy.pop(segment.name, None)
            return path

    def is_near(self, segment: Segment) -> bool:
        """Whether path() has to download nothing of a remote segment, as far as is known."""
        with self._lock:
            return _cache_name(segment.name) in self._open_cache()

    def _touch(self, name: str) -> str | None:
        path = self._verified.get(name)
        if path is not None:
            self._verified.move_to_end(name)
            if self._cached is not None and _cache_name(name) in self._cached:
                self._cached.move_to_end(_cache_name(name))
        return path

    def _verified_path(self, segment: Segment) -> str:
        local = self._objects.local_path(segment.name)
        try:
            if local is not None:
                self._check(segment, *self._sum_file(local))
                return local
            return self._download(segment)
        except FileNotFoundError as error:
            raise NotFound(f"segment {segment.name} is not there: restore it from a backup") from error
        except OSError as error:
            raise Unavailable(f"segment {segment.name} cannot be read: {error.strerror}: retry") from error

    def _sum_file(self, path: str) -> tuple[int, int]:
        """(bytes, crc32c) of a file."""
        size = crc = 0
        while data := self._fs.read_range(path, size, _READ_BYTES):
            crc = google_crc32c.extend(crc, data)
            size += len(data)
        return size, crc

    def _check(self, segment: Segment, size: int, crc: int) -> None:
        if (size, crc) != (segment.bytes, segment.crc32c):
            raise Corrupt(
                f"segment {segment.name} has {size} bytes with crc32c {crc:08x}, published were {segment.bytes} "
                f"with {segment.crc32c:08x}: restore it from a backup"
            )

    # --- the cache of remote objects ------------------------------------------------------------------------------

    def _download(self, segment: Segment) -> str:
        name = _cache_name(segment.name)
        path = f"{self._directory}/{name}"
        with self._lock:
            present = name in self._open_cache()
        if present and self._sum_file(path) == (segment.bytes, segment.crc32c):
            return path
        data = self._objects.get(segment.name)
        self._check(segment, len(data), google_crc32c.value(data))
        temporary = f"{self._directory}/{TEMPORARY_PREFIX}{self._new_token()}"
        file = self._fs.create(temporary)
        try:
            file.write(data)
        except OSError:
            with contextlib.suppress(OSError):
                self._fs.unlink(temporary)
            raise
        finally:
            file.close()
        # Not synced: what a crash leaves is verified or removed at the next start.
        self._fs.rename(temporary, path)
        with self._lock:
            self.downloads += 1
            self._keep(name, len(data))
        return path

    def _open_cache(self) -> OrderedDict[str, int]:
        if self._cached is None:
            self._fs.make_directories(self._directory)
            self._cached = OrderedDict()
            for name in self._fs.list(self._directory):
                path = f"{self._directory}/{name}"
                if name.startswith(TEMPORARY_PREFIX):
                    self._fs.unlink(path)
                else:
                    self._cached[name] = self._fs.size(path)
        return self._cached

    def _keep(self, name: str, size: int) -> None:
        """Remember a cached file and remove the least recently used ones beyond the bound, never this one."""
        cached = self._open_cache()
        cached[name] = size
        cached.move_to_end(name)
        total = sum(cached.values())
        while total > self._bytes_max and len(cached) > 1:
            oldest, oldest_size = cached.popitem(last=False)
            total -= oldest_size
            self._verified.pop(_segment_name(oldest), None)
            self._fs.unlink(f"{self._directory}/{oldest}")


def _cache_name(segment_name: str) -> str:
    # No key of ours holds a tilde.
    return segment_name.replace("/", "~")


def _segment_name(cache_name: str) -> str:
    return cache_name.replace("~", "/")
