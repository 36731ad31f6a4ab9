"""Owns reading the indexes of segments: verified, decoded, kept in bounded memory. Never decides what a query skips.

An index answers for each row group of its segment whether rows there may match; "may" is the answer whenever it does
not know. The bytes are described in docs/formats/segment_index.md.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import google_crc32c
import numpy as np
import numpy.typing as npt

from core.errors import Corrupt, NotFound
from storage.keys import index_key
from storage.objects import ObjectStore
from storage.segment_index_format import ColumnIndex, IndexContents, decode_index
from storage.snapshot import Segment
from storage.token_blooms import may_hold
from storage.value_lists import Listed
from storage.zone_maps import Bound

# Bytes of Python objects for a byte of the header (measured: 6 to 15).
_HEADER_FACTOR: Final = 16


@dataclass(frozen=True, slots=True)
class Zone:
    """What is known of one column in one row group: rows that are not null, and bounds of their values.

    Bounds are as in storage.snapshot.ColumnStats: None where unknown or where there is no value. `listed` are all
    values (storage/value_lists.py), `strings` is a string zone map (storage/string_zone_maps.py); None where unknown.
    """

    values: int
    minimum: Bound
    maximum: Bound
    listed: Listed | None = None
    strings: bytes | None = None


class SegmentIndex:
    """What is known of each row group of one segment. Columns go by their name in the Parquet file. Immutable."""

    def __init__(self, contents: IndexContents) -> None:
        self.rows: Final = contents.rows
        self.names: Final = tuple(column.name for column in contents.columns)  # in the order of the file
        self.chunks: Final = contents.chunks
        self._columns: Final[dict[str, ColumnIndex]] = {column.name: column for column in contents.columns}

    def may_hold_tokens(self, column: str, tokens: Sequence[str]) -> npt.NDArray[np.bool_]:
        """Per row group, whether some row's text of `column` may hold all `tokens` (as storage.tokens gives them).

        True where nothing is known: no such column, or one without a filter. False, even for no tokens at all, where
        the column has no values.
        """
        found = np.ones(len(self.rows), np.bool_)
        known = self._columns.get(column)
        if known is None:
            return found
        for group, values in enumerate(known.values):
            bloom = known.blooms[group] if known.blooms else None
            found[group] = values > 0 and (bloom is None or all(may_hold(bloom, token) for token in tokens))
        return found

    def zone(self, column: str) -> tuple[Zone, ...] | None:
        """The zone of each row group, of unknown bounds for a column that is not ordered; None for an unknown one."""
        known = self._columns.get(column)
        if known is None:
            return None
        unknown = (None,) * len(self.rows)
        parts = [part or unknown for part in (known.minima, known.maxima, known.lists, known.string_zones)]
        return tuple(Zone(*zone) for zone in zip(known.values, *parts, strict=True))


class SegmentIndexes:
    """The indexes of segments, read once and kept until `bytes_max` of memory are in use. Thread-safe.

    `hits` and `misses` count answers from memory and reads; `bytes` is the memory in use, estimated.
    """

    def __init__(self, objects: ObjectStore, bytes_max: int) -> None:
        self._objects = objects
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[SegmentIndex, int]] = OrderedDict()  # by segment, least recently used first
        self._busy: dict[str, threading.Lock] = {}
        self.hits = 0
        self.misses = 0
        self.bytes = 0

    def get(self, segment: Segment) -> SegmentIndex | None:
        """The index of `segment`, or None for one that was written without.

        Raises Corrupt (the bytes are not those that were published), NotFound, Unavailable.
        """
        if not segment.index_bytes:
            return None
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
            try:
                index, size = self._read(segment)
                with self._lock:
                    self._keep(segment.name, index, size)
            finally:
                with self._lock:
                    self._busy.pop(segment.name, None)
            return index

    def _touch(self, name: str) -> SegmentIndex | None:
        kept = self._kept.get(name)
        if kept is None:
            return None
        self._kept.move_to_end(name)
        self.hits += 1
        return kept[0]

    def _keep(self, name: str, index: SegmentIndex, size: int) -> None:
        self.misses += 1
        if name in self._kept:
            return
        self._kept[name] = (index, size)
        self.bytes += size
        while self.bytes > self._bytes_max:
            _, (_, oldest) = self._kept.popitem(last=False)
            self.bytes -= oldest

    def _read(self, segment: Segment) -> tuple[SegmentIndex, int]:
        """(index, bytes of memory it takes)."""
        key = index_key(segment.name)
        try:
            data = self._objects.get(key)
        except NotFound as error:
            raise NotFound(f"index {key} is not there: restore it from a backup") from error
        crc = google_crc32c.value(data)
        if (len(data), crc) != (segment.index_bytes, segment.index_crc32c):
            raise Corrupt(
                f"index {key} has {len(data)} bytes with crc32c {crc:08x}, published were {segment.index_bytes} "
                f"with {segment.index_crc32c:08x}: restore it from a backup"
            )
        contents = decode_index(data, f"index {key}")
        if sum(contents.rows) != segment.rows:
            raise Corrupt(f"index {key} is of {sum(contents.rows)} rows, its segment has {segment.rows}: restore it")
        filters = sum(len(bloom) for column in contents.columns for bloom in column.blooms if bloom is not None)
        return SegmentIndex(contents), filters + _HEADER_FACTOR * (len(data) - filters)
