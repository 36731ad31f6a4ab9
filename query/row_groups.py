"""Owns the choice of row groups: which of a segment's may hold a wanted row, by its index. Reads no rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from core.batch import TIMESTAMP
from core.columns import STR
from query.fragment import Predicate, StreamScan, Words
from query.pruning import may_meet
from storage.segment_index import SegmentIndex
from storage.snapshot import ColumnStats, Segment


def choose_row_groups(scan: StreamScan, segment: Segment, index: SegmentIndex) -> Any:
    """One bool per row group of `segment`: whether it may hold a row that `scan` wants (numpy)."""
    chosen = np.ones(len(index.rows), bool)
    if scan.time_range is not None:
        zones = index.zone(TIMESTAMP)
        for number, zone in enumerate(zones or ()):
            if isinstance(zone.minimum, int) and isinstance(zone.maximum, int):
                chosen[number] = scan.time_range.overlaps(zone.minimum, zone.maximum)
    if segment.has_rest:
        return chosen  # values of any path may stand in `_rest`
    for clause in scan.words:
        chosen &= np.logical_or.reduce([_hold_words(words, segment, index) for words in clause])
    for predicate in scan.predicates:
        chosen &= _meet(predicate, segment, index)
    return chosen


def row_ranges(chosen: Any, rows: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """First and last row number of each run of chosen row groups."""
    ranges: list[tuple[int, int]] = []
    start = 0
    for wanted, count in zip(chosen.tolist(), rows, strict=True):
        if wanted and ranges and ranges[-1][1] == start - 1:
            ranges[-1] = (ranges[-1][0], start + count - 1)
        elif wanted:
            ranges.append((start, start + count - 1))
        start += count
    return tuple(ranges)


def _held(segment: Segment, path: str, kind: str | None) -> list[ColumnStats]:
    return [stats for stats in segment.columns if stats.key.path == path and kind in (None, stats.key.kind)]


def _hold_words(words: Words, segment: Segment, index: SegmentIndex) -> Any:
    found = np.zeros(len(index.rows), bool)
    for stats in _held(segment, words.path, words.kind):
        if stats.key.kind == STR and words.tokens:
            found |= index.may_hold_tokens(stats.name, words.tokens)
        else:
            # Text of other kinds is made when it is read: any value may have any word.
            zones = index.zone(stats.name)
            found |= np.array([zone.values > 0 for zone in zones], bool) if zones is not None else True
    return found


def _meet(predicate: Predicate, segment: Segment, index: SegmentIndex) -> Any:
    held = [(stats, index.zone(stats.name)) for stats in _held(segment, predicate.path, predicate.kind)]
    if not held or any(zones is None for _, zones in held):
        return np.ones(len(index.rows), bool)
    return np.array(
        [
            may_meet(
                [
                    ColumnStats(stats.name, stats.key, zones[group].values, zones[group].minimum, zones[group].maximum)
                    for stats, zones in held
                    if zones is not None
                ],
                predicate,
            )
            for group in range(len(index.rows))
        ],
        bool,
    )
