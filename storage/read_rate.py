"""Owns reading at a bounded rate, which readers share, by an object store and a file system that keep to it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from core.clock import Clock
from storage.fs import LocalFileSystem
from storage.objects import ObjectStore, Range
from storage.verify_wal import ReadOnlyObjects


class ReadRate:
    """Lets `bytes_per_s` through, whoever reads. `bytes` is what was read so far. Thread-safe."""

    def __init__(self, bytes_per_s: int, clock: Clock, sleep: Callable[[float], object]) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._free_at_s = 0.0
        self.bytes = 0

    def took(self, size: int) -> None:
        """Wait until `size` bytes, read since the last return, have taken their time; that may be over already."""
        with self._lock:
            self.bytes += size
            now_s = self._clock.steady_s()
            self._free_at_s = max(now_s, self._free_at_s + size / self._bytes_per_s)
            wait_s = self._free_at_s - now_s
        self._sleep(wait_s)


class PacedObjects(ReadOnlyObjects):
    """An object store that is only read, at a rate."""

    def __init__(self, objects: ObjectStore, rate: ReadRate) -> None:
        super().__init__(objects)
        self._rate = rate

    def get(self, key: str) -> bytes:
        data = super().get(key)
        self._rate.took(len(data))
        return data

    def get_range(self, key: str, start: int, length: int) -> bytes:
        data = super().get_range(key, start, length)
        self._rate.took(len(data))
        return data

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        pieces = super().get_ranges(key, ranges)
        self._rate.took(sum(map(len, pieces)))
        return pieces


class PacedFileSystem(LocalFileSystem):
    """Local files, read at a rate."""

    def __init__(self, rate: ReadRate) -> None:
        self._rate = rate

    def read(self, path: str) -> bytes:
        data = super().read(path)
        self._rate.took(len(data))
        return data

    def read_range(self, path: str, start: int, length: int) -> bytes:
        data = super().read_range(path, start, length)
        self._rate.took(len(data))
        return data
