"""Owns the choice of row groups: which of a segment's may hold a wanted row, by its index. Reads no rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, Final

import numpy as np

from core.batch import REST, TIMESTAMP
from core.columns import STR
from query.fragment import Predicate, StreamScan, Words
from query.pruning import list_may_meet, may_meet, strings_may_meet
from storage.segment_index import SegmentIndex, Zone
from storage.snapshot import ColumnStats, Segment

ROW_NUMBER: Final = "file_row_number"  # of the engine
_PATHS_NAMED: Final = 3  # of a clause of words, for people
_TIME: Final = "time"
_ZONE_MAP: Final = "zone map"


def refuted_row_groups(scan: StreamScan, segment: Segment, index: SegmentIndex) -> list[str]:
    """For each row group of `segment` what says that it holds no row that `scan` wants, "" where it may hold one."""
    reasons = [""] * len(index.rows)
    if scan.time_range is not None:
        for number, zone in enumerate(index.zone(TIMESTAMP) or ()):
            if isinstance(zone.minimum, int) and isinstance(zone.maximum, int):
                reasons[number] = "" if scan.time_range.overlaps(zone.minimum, zone.maximum) else _TIME
    if segment.has_rest:
        return reasons  # values of any path may stand in `_rest`
    for predicate in scan.predicates:
        for number, reason in enumerate(_refuted(predicate, segment, index)):
            reasons[number] = reasons[number] or reason
    for clause in scan.words:
        held = np.logical_or.reduce([_hold_words(words, segment, index) for words in clause])
        paths = " or ".join(dict.fromkeys(words.path or REST for words in clause[:_PATHS_NAMED]))
        for number in np.flatnonzero(~held).tolist():
            reasons[number] = reasons[number] or f"words of {paths}{' …' if len(clause) > _PATHS_NAMED else ''}"
    return reasons


def engine_skips(reasons: Iterable[str], plain_paths: Iterable[str]) -> bool:
    """Whether the engine leaves out by itself what `reasons` of refuted_row_groups() do.

    It knows the bounds that the file has of its columns, and asks them where a scan reads a column as it is: of
    `plain_paths`, and the time.
    """
    return set(reasons) <= {_TIME, *(f"{_ZONE_MAP} of {path}" for path in plain_paths)}


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


def _refuted(predicate: Predicate, segment: Segment, index: SegmentIndex) -> list[str]:
    """For each row group what says that no value of it meets the predicate, "" where one may."""
    held = _held(segment, predicate.path, predicate.kind)
    columns = [zones for stats in held if (zones := index.zone(stats.name)) is not None]
    if not held or len(columns) < len(held):
        return [""] * len(index.rows)
    return [_refuted_by(predicate, list(zip(held, zones, strict=True))) for zones in zip(*columns, strict=True)]


def _refuted_by(predicate: Predicate, held: list[tuple[ColumnStats, Zone]]) -> str:
    for name, may in _TESTS:
        held = [(stats, zone) for stats, zone in held if may(stats, zone, predicate)]
        if not held:
            return f"{name} of {predicate.path}"
    return ""


def _bounds_may_meet(stats: ColumnStats, zone: Zone, predicate: Predicate) -> bool:
    return may_meet([replace(stats, values=zone.values, minimum=zone.minimum, maximum=zone.maximum)], predicate)


# From the cheapest to the dearest.
_TESTS: Final[tuple[tuple[str, Callable[[ColumnStats, Zone, Predicate], bool]], ...]] = (
    (_ZONE_MAP, _bounds_may_meet),
    ("values", lambda stats, zone, predicate: list_may_meet(stats.key.kind, zone, predicate)),
    ("prefixes", lambda stats, zone, predicate: strings_may_meet(stats.key.kind, zone, predicate)),
)
