"""Segments with their indexes in a directory, written as a flush writes them but with small row groups.

Their indexes have value lists and string zone maps all the same, lists of at most `values_max` values.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import pyarrow as pa

from core.ids import ShardId
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.segment_index import SegmentIndexes
from storage.segment_writer import write_segments
from storage.snapshot import Segment, StreamSnapshot
from storage.stream_settings import StreamSettings
from storage.value_lists import VALUES_MAX


class SegmentStore:
    """Writes segments of one shard; hands out their paths as storage.segment_reader.SegmentFiles does."""

    def __init__(self, directory: Path, row_group_rows: int, values_max: int = VALUES_MAX) -> None:
        self.directory = directory
        self._row_group_rows = row_group_rows
        self._values_max = values_max
        self._numbers = itertools.count()
        temporaries = itertools.count()
        self._objects = LocalObjectStore(str(directory), LocalFileSystem(), lambda: f"{next(temporaries):016x}")
        self.indexes = SegmentIndexes(self._objects, 2**26)

    def write(self, batches: Sequence[pa.RecordBatch], stream: str = "logs") -> list[Segment]:
        """`batches` as segments, one per window of a day."""
        with (
            mock.patch("storage.segment_writer.ROW_GROUP_ROWS", self._row_group_rows),
            mock.patch("storage.segment_index_writer.INDEX_VALUES_ROWS_MIN", 1),
            mock.patch("storage.value_lists.VALUES_MAX", self._values_max),
        ):
            return write_segments(
                batches,
                "default",
                StreamSettings(stream),
                ShardId(0),
                new_name=lambda: f"00000001-{next(self._numbers):08d}",
                objects=self._objects,
            )

    def path(self, segment: Segment) -> str:
        path = self._objects.local_path(segment.name)
        assert path is not None
        return path


def snapshot_of(
    segments: Sequence[Segment], memtable: Sequence[pa.RecordBatch] = (), version: int = 1, offset: int = 0
) -> StreamSnapshot:
    """A snapshot of stream `logs` on shard 0."""
    return StreamSnapshot(ShardId(0), "default", "logs", version, offset, tuple(segments), tuple(memtable))
