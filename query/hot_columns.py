"""Owns the decoded columns of small segments that a worker keeps in memory: a file with few rows costs more to open
than to read.

A column of a segment never changes, so what is kept stays true. Large segments stay in their files, which the engine
reads as fast (measured over 5 M events: from memory numbers took half the time, texts up to twice the time). Least
recently used first out. Never decides what is read.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import Unavailable
from storage.snapshot import Segment

SMALL_SEGMENT_ROWS: Final = 50_000
# Decoded bytes for one compressed byte, at most, of nearly all columns.
_DECODED_FACTOR: Final = 8


@dataclass(frozen=True, slots=True)
class Wanted:
    """Columns that a scan needs of one segment, whose verified file is at `path`; `bytes` is what they take there."""

    segment: Segment
    path: str
    names: frozenset[str]
    bytes: int


class HotColumns:
    """Columns of small segments, up to `bytes_max` decoded bytes. Thread-safe."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], pa.ChunkedArray] = OrderedDict()  # (segment, column)
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    def tables(self, wanted: Sequence[Wanted]) -> dict[str, pa.Table]:
        """The columns of one scan by segment; none when they would push out those of the others. Raises Unavailable."""
        if sum(one.bytes for one in wanted) * _DECODED_FACTOR > self._bytes_max // 2:
            return {}
        return {one.segment.name: self._table(one) for one in wanted}

    def status(self) -> dict[str, int]:
        """Numbers for people: columns that were there and not, bytes in use."""
        with self._lock:
            return {"hits": self._hits, "misses": self._misses, "bytes": self._bytes}

    def _table(self, one: Wanted) -> pa.Table:
        names = sorted(one.names)
        keys = [(one.segment.name, name) for name in names]
        with self._lock:
            held = {key: self._kept[key] for key in keys if key in self._kept}
            for key in held:
                self._kept.move_to_end(key)
            self._hits += len(held)
            self._misses += len(keys) - len(held)
        missing = [key for key in keys if key not in held]
        if missing:
            try:
                read = pq.ParquetFile(one.path).read([name for _, name in missing], use_threads=False)
            except OSError as error:
                # It was verified a moment ago, but a cache of remote files may have let go of it since.
                raise Unavailable(f"segment {one.segment.name} cannot be read: {error}: retry") from error
            for key in missing:
                held[key] = read.column(key[1])
                self._keep(key, held[key])
        return pa.table([held[key] for key in keys], names=names)

    def _keep(self, key: tuple[str, str], column: pa.ChunkedArray) -> None:
        with self._lock:
            if key in self._kept or column.nbytes > self._bytes_max:
                return
            self._kept[key] = column
            self._bytes += column.nbytes
            while self._bytes > self._bytes_max:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes
