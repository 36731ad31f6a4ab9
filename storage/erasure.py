"""Owns erasing events from the segments of a shard: which are looked through, the rewrite of one, and its proof.

A segment is rewritten row group by row group, in the order in which its rows are: nothing is sorted again. What was
written is read again and compared: invariant ERA-1, what comes out are the rows that are not erased, with their hash
(row_hash.py). Whoever is cut off leaves a segment as it was, or rewritten, and an orphan at most. Which events are
erased is said by who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from core.batch import OFFSET
from core.clock import Clock
from core.errors import check
from core.ids import ShardId
from storage.compaction import discard
from storage.compaction_inputs import OpenSegment, one_array
from storage.compaction_keys import Key, SortedKeys, sorting_table
from storage.compaction_output import MergeOutput, Pause
from storage.keys import number_beside, origin_of, segment_key
from storage.objects import ObjectStore
from storage.packed_columns import packed
from storage.replacement import Erasure
from storage.retention import Expired
from storage.row_hash import RowHashes, RowHashSum, added
from storage.segment_writer import EncodedSegment, file_metadata, put_segment
from storage.shard import Shard
from storage.snapshot import Segment
from storage.sorting import sort_columns
from storage.stream_settings import StreamSettings
from storage.windows import Window

_MARKED_MAX: Final = 500  # segments without a match that one edit says so of

_SPLIT_SHARE: Final = 0.5  # of the rows of a segment that are expired, from which on it is rewritten

# The offsets (int64) of the events of a segment that are to go.
Matches = Callable[[Segment], Any]


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases for one shard, with what that takes. `pause` is called between steps of some milliseconds."""

    shard: Shard
    objects: ObjectStore
    open_segment: OpenSegment
    clock: Clock
    pause: Pause

    def erase(self, segments: Iterable[Segment], delete: int, matches: Matches, seconds: float) -> None:
        """Erase what matches from as many of `segments` as are done in `seconds`, at least from one.

        Those without a match are marked; `delete` is Erasure.delete. What is refused, because it changed meanwhile, is
        left for the next time. Raises what reading, `matches` and Shard.replace raise.
        """
        until_s = self.clock.steady_s() + seconds
        epoch, clean = self.shard.manifest.epoch, list[str]()
        for segment in segments:
            offsets = matches(segment)
            if len(offsets):
                self._rewrite(segment, epoch, delete, offsets)
            else:
                clean.append(segment.name)
            if len(clean) == _MARKED_MAX or self.clock.steady_s() >= until_s:
                self._mark(epoch, delete, clean)
                clean = []
            if self.clock.steady_s() >= until_s:
                return
        self._mark(epoch, delete, clean)

    def expire(self, names: Expired, matches: Matches | None, seconds: float) -> None:
        """Remove the segments of `names` that are still there, and what `matches` where it is most of one to be split.

        Of the latter as many as are done in `seconds`, at least one. Raises as erase().
        """
        manifest, until_s = self.shard.manifest, self.clock.steady_s() + seconds
        whole = tuple(segment.name for segment in manifest.segments if segment.name in names.whole)
        if whole:
            self.shard.replace(Erasure(manifest.epoch, 0, whole))
        for segment in manifest.segments:
            if matches is None or segment.name not in names.split:
                continue
            offsets = matches(segment)
            if len(offsets) > segment.rows * _SPLIT_SHARE:
                self._rewrite(segment, manifest.epoch, 0, offsets)
            if self.clock.steady_s() >= until_s:
                return

    def _mark(self, epoch: int, delete: int, clean: list[str]) -> None:
        if clean and delete:
            self.shard.replace(Erasure(epoch, delete, clean=tuple(clean)))

    def _rewrite(self, segment: Segment, epoch: int, delete: int, offsets: Any) -> None:
        origin = origin_of(segment.name)
        own = ShardId(self.shard.options.shard if origin is None else origin)
        window = Window(segment.window_start_us, segment.window_end_us)
        number = number_beside(self.shard.new_number(), self.shard.options.shard, own)
        name = segment_key(own, segment.tenant, segment.stream, window.label, number)
        settings = replace(self.shard.stream_settings(segment.tenant, segment.stream), sort_key=segment.sort_key)
        try:
            encoded = without(segment, offsets, settings, own, self.open_segment, self.pause)
            outputs: tuple[Segment, ...] = ()
            if encoded is not None:
                put = put_segment(encoded, name, segment.tenant, settings, window, self.objects, segment.level)
                outputs = (put,)
        except BaseException:
            discard(self.objects, [name])
            raise
        if self.shard.replace(Erasure(epoch, delete, (segment.name,), outputs)) is not None:
            discard(self.objects, [output.name for output in outputs])


def without(
    segment: Segment, offsets: Any, settings: StreamSettings, shard: ShardId, open_segment: OpenSegment, pause: Pause
) -> EncodedSegment | None:
    """`segment` without the events of `offsets` (int64), None when none is left.

    Raises Unavailable, NotFound or Corrupt (the segment), InvariantViolation (what comes out).
    """
    source = open_segment(segment)
    mapped = isinstance(source, str)
    with closing(pq.ParquetFile(source if mapped else pa.BufferReader(source), memory_map=mapped)) as file:
        return _Rewrite(segment, file, settings, shard, pause).run(offsets)


class _Rewrite:
    def __init__(
        self, segment: Segment, file: pq.ParquetFile, settings: StreamSettings, shard: ShardId, pause: Pause
    ) -> None:
        self._segment, self._file, self._settings, self._pause = segment, file, settings, pause
        metadata = file_metadata(segment.tenant, settings.name, shard)
        self._schema: pa.Schema = file.schema_arrow.with_metadata(metadata)
        self._hash: RowHashSum = (0, 0)
        self._first: Key = ()
        self._last: Key = ()
        self._kept = self._seen = 0

    def run(self, offsets: Any) -> EncodedSegment | None:
        output: MergeOutput | None = None
        for group in range(self._file.num_row_groups):
            arrays = self._rows_left(group, offsets)
            self._pause()
            if arrays is None:
                continue
            columns = [packed(array) for array in arrays]
            if output is None:
                output = MergeOutput(self._schema, columns, self._settings.sort_key, False, self._pause)
            output.write(columns, 0, columns[0].rows)
        erased = self._seen - self._kept
        check(erased == len(offsets), "ERA-1", "%d rows were found of %d to erase", erased, len(offsets))
        check(self._seen == self._segment.rows, "ERA-1", "%d of %d rows were read", self._seen, self._segment.rows)
        if output is None:
            return None
        encoded, written = output.finish((self._first, self._last))
        check(encoded.rows == self._kept, "ERA-1", "%d rows of %d came out", encoded.rows, self._kept)
        check(written.hash == self._hash, "ERA-1", "what came out has the hash %s, not %s", written.hash, self._hash)
        return encoded

    def _rows_left(self, group: int, offsets: Any) -> list[pa.Array] | None:
        """The columns of what is left of a row group, None when nothing is."""
        table = self._file.read_row_group(group, use_threads=False)
        kept = ~np.isin(np.asarray(table.column(OFFSET).cast(pa.int64())), offsets)
        self._seen += table.num_rows
        if not kept.any():
            return None
        rows = pa.array(np.flatnonzero(kept))
        arrays = [
            one_array(column.chunks, field).take(rows)
            for field, column in zip(table.schema, table.columns, strict=True)
        ]
        hashes = RowHashes(len(rows))
        for field, array in zip(self._schema, arrays, strict=True):
            hashes.add(field, array)
        self._hash = added(self._hash, hashes.total())
        self._kept += len(rows)
        self._note_keys(arrays)
        return arrays

    def _note_keys(self, arrays: list[pa.Array]) -> None:
        sort_key = self._settings.sort_key
        names = set(sort_columns(self._schema, sort_key))
        held = [(field, array) for field, array in zip(self._schema, arrays, strict=True) if field.name in names]
        table = sorting_table([field for field, _ in held], [array for _, array in held], sort_key)
        keys = SortedKeys(table, sort_key, np.arange(len(arrays[0])))
        self._first = self._first or keys.key(0)
        self._last = keys.key(len(arrays[0]) - 1)
