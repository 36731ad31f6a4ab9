"""Owns indexes of segments that tests wrote without any: made of the file when asked for. Never kept on disk."""

from __future__ import annotations

import functools
import threading
from unittest.mock import patch

import pyarrow.parquet as pq

from storage.segment_index import SegmentIndex
from storage.segment_index_format import decode_index, encode_index
from storage.segment_index_writer import build_index
from storage.snapshot import Segment
from tests.support.local_backend import NamedFiles

_LOCK = threading.Lock()  # what is patched is the process's


class FileIndexes:
    """As storage.segment_index.SegmentIndexes, of files with row groups of `row_group_rows`.

    Small row groups have value lists of at most `values_max` values and string zone maps as large ones do.
    """

    hits = misses = bytes = 0

    def __init__(self, row_group_rows: int, values_max: int) -> None:
        self._row_group_rows = row_group_rows
        self._values_max = values_max
        self._made = functools.cache(self._make)

    def get(self, segment: Segment) -> SegmentIndex:
        """The index of `segment`, whose file is where NamedFiles finds it."""
        return self._made(NamedFiles().path(segment))

    def _make(self, path: str) -> SegmentIndex:
        table = pq.ParquetFile(path).read().combine_chunks()
        with (
            _LOCK,
            patch("storage.segment_index_writer.INDEX_VALUES_ROWS_MIN", 1),
            patch("storage.value_lists.VALUES_MAX", self._values_max),
        ):
            contents = build_index(table, self._row_group_rows)
        return SegmentIndex(decode_index(encode_index(contents)))
