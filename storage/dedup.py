"""Owns what is a duplicate by its id: the ids that a shard knows of a stream, and what becomes of a batch. No disk.

The watermark of a stream on a shard is the newest event time that is stored, as far as the shard's clock had got by
then. An event older than the watermark less the window is late: stored and marked, never compared. Any other event
with an id is a duplicate when the id is known, or comes earlier in its batch. Ids are kept by slices of event time, an
eighth of the window each, and forgotten by whole slices once all of a slice is beyond the window.

Everything follows from the events that are stored, in their order: the same batches make the same ids and the same
watermark, whether they come from appends, from the WAL or from a flush.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from core.batch import INGESTED_AT, TIMESTAMP
from core.columns import BOOL, ColumnKey, field_of, key_of
from core.event_ids import EventIds, event_ids
from core.limits import DEDUP_IDS_MAX
from storage.dedup_index import IdIndex, SortedIds, order_of

SLICES_PER_WINDOW: Final = 8
LATE: Final = ColumnKey("_late", BOOL)  # true where an event was beyond the window when it was stored
NO_TIME_US: Final = -(2**63)


class DedupRule(NamedTuple):
    """The settings of a stream: the path of the id, and the window in microseconds."""

    key: str
    window_us: int

    @property
    def slice_us(self) -> int:
        """The width of a slice of time."""
        return max(1, self.window_us // SLICES_PER_WINDOW)

    def late_before(self, watermark_us: int) -> int:
        """The event time before which an event is late."""
        return max(watermark_us - self.window_us, NO_TIME_US)

    def oldest_slice(self, watermark_us: int) -> int:
        """The number of the oldest slice that is not beyond the window as a whole."""
        return self.late_before(watermark_us) // self.slice_us


@dataclass(frozen=True, slots=True)
class BatchIds:
    """The ids of a batch sorted by hash: `rows` are their rows, `times_us` the event times of all rows (int64)."""

    high: Any
    low: Any
    rows: Any
    times_us: Any


@dataclass(frozen=True, slots=True)
class Judged:
    """What becomes of a batch: which rows are kept (None: all), which of those are late, and the ids that are new."""

    kept: Any | None
    duplicates: int
    late_before_us: int
    late: int
    watermark_us: int
    new: SortedIds


def sorted_ids(ids: EventIds, times_us: Any) -> BatchIds:
    """The ids that are present, sorted."""
    rows = np.flatnonzero(ids.present)
    high, low = (ids.high, ids.low) if len(rows) == len(ids.high) else (ids.high[rows], ids.low[rows])
    order = order_of(high, low)
    return BatchIds(high[order], low[order], rows[order], times_us)


def times_of(batch: pa.RecordBatch, column: str = TIMESTAMP) -> Any:
    """A column of times as int64 microseconds."""
    return np.asarray(batch.column(batch.schema.get_field_index(column)).cast(pa.int64()))


def stored_ids(batch: pa.RecordBatch, rule: DedupRule) -> tuple[BatchIds, int]:
    """(the ids that a stored batch made known, the watermark it made); its times are capped by its ingest time."""
    ids = event_ids(batch, rule.key)
    times_us = np.minimum(times_of(batch), times_of(batch, INGESTED_AT))
    late = _late(batch)
    if late is not None:
        ids = EventIds(ids.high, ids.low, ids.present & ~np.asarray(late.fill_null(False)))
    return sorted_ids(ids, times_us), int(times_us.max())


def late_in(batch: pa.RecordBatch) -> int:
    """How many events of a stored batch are marked as late."""
    late = _late(batch)
    return 0 if late is None else len(late) - late.null_count


def _late(batch: pa.RecordBatch) -> pa.Array | None:
    return next((c for f, c in zip(batch.schema, batch.columns, strict=True) if key_of(f) == LATE), None)


def slices_of(times_us: Any, rule: DedupRule) -> Any:
    """The number of the slice of each time (int64)."""
    return np.floor_divide(times_us, rule.slice_us)


class StreamIds:
    """The ids that one shard knows of one stream, all in memory. Not thread-safe: the shard's lock guards it."""

    def __init__(self, rule: DedupRule, ids_max: int = DEDUP_IDS_MAX) -> None:
        self.rule = rule
        self.watermark_us = NO_TIME_US
        self.index = IdIndex()
        self._oldest = rule.oldest_slice(NO_TIME_US)
        self._ids_max = ids_max
        self.index.forget_before(self._oldest)

    @property
    def late_before_us(self) -> int:
        """The event time before which an event is late; later than the window says when there were too many ids."""
        by_window = self.rule.late_before(self.watermark_us)
        forgotten = self._oldest > self.rule.oldest_slice(self.watermark_us)
        return max(by_window, self._oldest * self.rule.slice_us) if forgotten else by_window

    def judge(self, ids: BatchIds, now_us: int) -> Judged:
        """What becomes of the batch if it is stored next, at `now_us`; changes nothing."""
        late_before_us = self.late_before_us
        late_rows = ids.times_us < late_before_us
        high, low, rows = ids.high, ids.low, ids.rows
        if late_rows.any():
            timely = ~late_rows[rows]
            high, low, rows = high[timely], low[timely], rows[timely]
        duplicate = self.index.known(high, low)
        duplicate[1:] |= (high[1:] == high[:-1]) & (low[1:] == low[:-1])
        kept = None
        if duplicate.any():
            kept = np.ones(len(ids.times_us), np.bool_)
            kept[rows[duplicate]] = False
            high, low, rows = high[~duplicate], low[~duplicate], rows[~duplicate]
        stored_us = ids.times_us if kept is None else ids.times_us[kept]
        newest_us = min(int(stored_us.max()), now_us) if len(stored_us) else NO_TIME_US
        watermark_us = max(self.watermark_us, newest_us)
        return Judged(
            kept,
            len(ids.times_us) - len(stored_us),
            late_before_us,
            int(late_rows.sum()),
            watermark_us,
            self._within_window(high, low, np.minimum(ids.times_us[rows], now_us), watermark_us),
        )

    def take(self, judged: Judged) -> None:
        """Know the ids of a batch that is certain to be stored unless the WAL fails, and with it this shard."""
        self._advance(judged.watermark_us)
        self.index.add(judged.new)
        self._keep_to_limit()

    def take_runs(self, watermark_us: int, runs: Iterable[tuple[int, Any, Any]]) -> None:
        """Know what a manifest says: its watermark, and its runs as (start of the slice, high, low)."""
        self._advance(watermark_us)
        for start_us, high, low in runs:
            number = start_us // self.rule.slice_us
            if number >= self._oldest:
                self.index.add(SortedIds(high.copy(), low.copy(), np.full(len(high), number & 0xFFFF, np.uint16)))
        self._keep_to_limit()

    def take_stored(self, ids: BatchIds, watermark_us: int) -> None:
        """Know the ids of what stored_ids gave."""
        self._advance(max(watermark_us, self.watermark_us))
        self.index.add(self._within_window(ids.high, ids.low, ids.times_us[ids.rows], self.watermark_us))

    def _within_window(self, high: Any, low: Any, times_us: Any, watermark_us: int) -> SortedIds:
        """Those of the ids whose slice is not forgotten at this watermark."""
        numbers = slices_of(times_us, self.rule)
        live = numbers >= max(self._oldest, self.rule.oldest_slice(watermark_us))
        ids = SortedIds(high, low, numbers.astype(np.uint16))
        return ids if live.all() else ids.where(live)

    def _advance(self, watermark_us: int) -> None:
        self.watermark_us = watermark_us
        self._forget_before(self.rule.oldest_slice(watermark_us))

    def _forget_before(self, oldest: int) -> None:
        if oldest > self._oldest:
            self._oldest = oldest
            self.index.forget_before(oldest)

    def _keep_to_limit(self) -> None:
        """Forget the oldest slices early when there are too many ids: what is as old counts as late from then on."""
        newest = self.watermark_us // self.rule.slice_us
        while len(self.index) > self._ids_max and self._oldest <= newest:
            self._forget_before(self._oldest + 1)


def stored_part(batch: pa.RecordBatch, kept: Any | None, late_before_us: int) -> pa.RecordBatch:
    """What is stored of a batch: the rows of `kept` (bool; None: all), with the column LATE when any of them is."""
    if kept is not None:
        batch = batch.filter(pa.array(kept))
    late = times_of(batch) < late_before_us
    if not late.any():
        return batch
    taken, name = {field.name.casefold() for field in batch.schema}, LATE.path
    while name in taken:
        name += "~"
    fields, columns = [*batch.schema, field_of(name, LATE)], [*batch.columns, pa.array(late, mask=~late)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))
