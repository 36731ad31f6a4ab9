"""Owns the ids of a stream that a shard has in memory: sorted runs of 128-bit hashes. Never knows a batch or a file.

Runs are merged so that each is at least RUN_RATIO times as large as the next: few of them to look into, and each id is
copied a few times in all. An id takes 18.5 bytes: its hash, its slice of time, and half a byte of a table of starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np

RUN_RATIO: Final = 2
_PER_START: Final = 8  # hashes between two starts, on average
_SLICE_MASK: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class SortedIds:
    """Hashes sorted by (high, low) (uint64), each with the number of its slice modulo 2^16 (uint16)."""

    high: Any
    low: Any
    slices: Any

    def __len__(self) -> int:
        return int(self.high.size)

    def where(self, kept: Any) -> SortedIds:
        """Those where `kept` (bool) is set."""
        return SortedIds(self.high[kept], self.low[kept], self.slices[kept])


@dataclass(frozen=True, slots=True)
class _Run:
    ids: SortedIds
    shift: int
    starts: Any


class IdIndex:
    """The known ids of one stream on one shard. Not thread-safe."""

    def __init__(self) -> None:
        # Imported here: only a shard with a stream that has a dedup key pays for numba.
        from storage.compiled import id_runs

        self._kernels = id_runs
        self._runs: list[_Run] = []  # largest first
        self._oldest = 0

    def __len__(self) -> int:
        return sum((len(run.ids) for run in self._runs), 0)

    @property
    def bytes(self) -> int:
        """What the runs take."""
        arrays = ((run.ids.high, run.ids.low, run.ids.slices, run.starts) for run in self._runs)
        return sum(int(array.nbytes) for of_run in arrays for array in of_run)

    def known(self, high: Any, low: Any) -> Any:
        """Which of the hashes (sorted, that is faster) are here (bool)."""
        known = np.zeros(len(high), np.bool_)
        for run in self._runs:
            ids = run.ids
            self._kernels.find_known(
                high, low, ids.high, ids.low, ids.slices, run.shift, run.starts, self._oldest & _SLICE_MASK, known
            )
        return known

    def add(self, ids: SortedIds) -> None:
        """Take hashes that are not here yet."""
        while self._runs and len(self._runs[-1].ids) < RUN_RATIO * len(ids):
            ids = self._merged(self._runs.pop().ids, ids)
        if len(ids):
            self._runs.append(self._run(ids))

    def forget_before(self, oldest: int) -> None:
        """Drop the ids of all slices before the number `oldest`, which never goes back."""
        if oldest == self._oldest:
            return
        self._oldest = oldest
        runs, self._runs = self._runs, []
        for run in runs:
            live = ((run.ids.slices.astype(np.int32) - (oldest & _SLICE_MASK)) & _SLICE_MASK) <= _SLICE_MASK >> 1
            if live.all():
                self._runs.append(run)
            elif live.any():
                self._runs.append(self._run(run.ids.where(live)))

    def _run(self, ids: SortedIds) -> _Run:
        shift = shift_for(len(ids), _PER_START)
        starts = np.empty((1 << (64 - shift)) + 1, np.uint32)
        self._kernels.fill_starts(ids.high, shift, starts)
        return _Run(ids, shift, starts)

    def _merged(self, one: SortedIds, other: SortedIds) -> SortedIds:
        size = len(one) + len(other)
        high, low, slices = np.empty(size, np.uint64), np.empty(size, np.uint64), np.empty(size, np.uint16)
        arrays = (one.high, one.low, one.slices, other.high, other.low, other.slices)
        count = self._kernels.merge_live(*arrays, self._oldest & _SLICE_MASK, high, low, slices)
        if count == size:
            return SortedIds(high, low, slices)
        return SortedIds(high[:count].copy(), low[:count].copy(), slices[:count].copy())


def order_of(high: Any, low: Any) -> Any:
    """The rows (int64) by (high, low, row)."""
    from storage.compiled.id_runs import order_by_hash

    shift, order = shift_for(len(high), 2), np.empty(len(high), np.int64)
    if order_by_hash(high, low, shift, np.zeros((1 << (64 - shift)) + 1, np.int64), order):
        return order
    return np.lexsort((low, high))


def shift_for(count: int, per_bucket: int) -> int:
    """How far to shift a hash so that about `per_bucket` of `count` uniform ones share what is left of it."""
    return 64 - max(1, (max(count, 1) // per_bucket).bit_length())
