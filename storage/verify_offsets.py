"""Owns the proof that offsets are dense and there once: runs of offsets, swept from the lowest up. Pure.

Segments are given in the order of their first offsets. What lies below the next first offset is settled then, and
forgotten: memory holds the runs of the segments that overlap, not those of the shard.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Range = tuple[int, int]  # first and last offset, inclusive


def runs_of(offsets: Any) -> tuple[Any, int]:
    """(runs as an int64 array of [start, end) pairs, how many offsets are repeated) of int64 offsets in any order."""
    ordered = np.sort(offsets)
    steps = np.diff(ordered)
    repeated = int((steps == 0).sum())
    if repeated:
        ordered = np.unique(ordered)
        steps = np.diff(ordered)
    breaks = np.flatnonzero(steps != 1)
    starts = ordered[np.append(0, breaks + 1)] if len(ordered) else ordered
    ends = ordered[np.append(breaks, len(ordered) - 1)] + 1 if len(ordered) else ordered
    return np.stack([starts, ends], axis=1).astype(np.int64), repeated


def runs_from(runs: Any, first: int) -> Any:
    """The runs of the offsets from `first` on."""
    cut = np.maximum(runs, first)
    return cut[cut[:, 0] < cut[:, 1]]


def joined(runs: Any) -> tuple[Any, list[Range]]:
    """(runs sorted, those that touch or overlap made one; the ranges that were there more than once)."""
    if len(runs) == 0:
        return runs, []
    runs = runs[np.argsort(runs[:, 0], kind="stable")]
    reach = np.maximum.accumulate(runs[:, 1])
    over = np.flatnonzero(runs[1:, 0] < reach[:-1]) + 1
    doubles = [(int(runs[i, 0]), int(min(runs[i, 1], reach[i - 1])) - 1) for i in over.tolist()]
    heads = np.append(0, np.flatnonzero(runs[1:, 0] > reach[:-1]) + 1)
    tails = np.append(heads[1:] - 1, len(runs) - 1)
    return np.stack([runs[heads, 0], reach[tails]], axis=1), doubles


class Coverage:
    """Which offsets were seen; every offset from 0 on must be, once.

    A segment whose first offset is not the one that was said of it comes late: it fills gaps that were noted before.
    """

    def __init__(self) -> None:
        self._runs: Any = np.empty((0, 2), np.int64)
        self._settled = 0
        self._gaps: list[Range] = []
        self._unknown: list[Range] = []

    def add(self, runs: Any) -> list[Range]:
        """Take the runs of one segment; returns the ranges of them that were seen before."""
        doubles: list[Range] = []
        for start, end in runs[runs[:, 0] < self._settled].tolist():
            late = (start, min(end, self._settled) - 1)
            doubles += without(late, self._gaps)
            self._gaps = [part for gap in self._gaps for part in without(gap, [late])]
        rest = np.maximum(runs, self._settled)
        self._runs, found = joined(np.concatenate([self._runs, rest[rest[:, 0] < rest[:, 1]]]))
        return doubles + found

    def add_unknown(self, first: int, last: int) -> None:
        """Take a segment that cannot be read: what is missing within its bounds is its own."""
        self._unknown.append((first, last))

    def settle(self, limit: int) -> None:
        """All segments that begin below `limit` were given: note what below it nothing holds."""
        for start, end in self._runs[self._runs[:, 0] < limit].tolist():
            self._note(start)
            self._settled = max(self._settled, min(end, limit))
        self._note(limit)
        self._runs = self._runs[self._runs[:, 1] > limit]
        self._runs[:, 0] = np.maximum(self._runs[:, 0], limit)

    def _note(self, limit: int) -> None:
        if limit > self._settled:
            self._gaps.append((self._settled, limit - 1))
            self._settled = limit

    def take_gaps(self) -> list[Range]:
        """The ranges that nothing holds, of what was settled since the last call."""
        gaps = [part for gap in self._gaps for part in without(gap, self._unknown)]
        self._gaps = []
        return gaps


def without(gap: Range, holes: list[Range]) -> list[Range]:
    """The parts of a range that are in none of the others."""
    parts = [gap]
    for low, high in holes:
        cut: list[Range] = []
        for first, last in parts:
            if high < first or last < low:
                cut.append((first, last))
                continue
            if first < low:
                cut.append((first, low - 1))
            if high < last:
                cut.append((high + 1, last))
        parts = cut
    return parts


def ranges_text(ranges: list[Range], shown_max: int = 5) -> str:
    """Ranges for people: 3-7, 9, and how many more."""
    texts = [f"{first}" if first == last else f"{first}-{last}" for first, last in ranges[:shown_max]]
    more = f" and {len(ranges) - shown_max} more ranges" if len(ranges) > shown_max else ""
    return ", ".join(texts) + more


def count_of(ranges: list[Range]) -> int:
    """How many offsets the ranges hold."""
    return sum(last - first + 1 for first, last in ranges)
