"""Owns which segments are merged next: a function from segments to merges. Reads no file and no clock.

Segments of one tenant, stream, window and origin (the shard to whose offsets theirs belong) are merged with each other
only.

*Tiers*: flushed segments (level 0) wait until they fill a few of the target size, and are merged into these; of many
small ones a few dozen at a time are merged on the way, so that each row is copied once per factor of a few dozen.
*Cold*: what is small in a window that ended and has been quiet since is merged, however little it is.
*Levels*: a merge makes segments of disjoint ranges of the sort key. When a few of a level overlap at one key, they are
merged into as many, one level up. Those overlap with others made so, and so on: each level's ranges are narrower by
that factor than those of the level below, and each row is copied once per level.

Newest windows come first, and in a window whatever removes most files per row copied.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.limits import (
    COMPACTION_BYTES_TARGET,
    COMPACTION_COLD_S,
    COMPACTION_INPUTS_MAX,
    COMPACTION_LEVEL_FACTOR,
    COMPACTION_LEVELS_MAX,
    COMPACTION_ROWS_TARGET,
)
from storage.compaction_keys import Key, comparable
from storage.keys import origin_of
from storage.snapshot import Segment
from storage.windows import Window


class WindowKey(NamedTuple):
    """What segments have in common that may be merged with each other."""

    tenant: str
    stream: str
    origin: int | None
    window: Window


_Asked = tuple[list[Segment], tuple[str, ...], bool]  # segments, sort key, whether the window is cold

# A segment at least so full is not merged for its size any more.
_FULL: float = 0.5
# From this level on a segment is likely to stay.
_STAYS_LEVEL: int = 2


@dataclass(frozen=True, slots=True)
class CompactionRules:
    """Sizes in rows and bytes, times in seconds; core.limits says why."""

    rows_target: int = COMPACTION_ROWS_TARGET
    bytes_target: int = COMPACTION_BYTES_TARGET
    inputs_max: int = COMPACTION_INPUTS_MAX
    level_factor: int = COMPACTION_LEVEL_FACTOR
    levels_max: int = COMPACTION_LEVELS_MAX
    cold_s: float = COMPACTION_COLD_S

    def fill(self, segments: Iterable[Segment]) -> float:
        """How many segments of the target size the segments make."""
        counted = [(segment.rows, segment.bytes) for segment in segments]
        return self.fill_of(sum(rows for rows, _ in counted), sum(size for _, size in counted))

    def is_finished(self, segment: Segment) -> bool:
        """Whether a segment is never merged again: it is full, and of the last level."""
        return segment.level >= self.levels_max and self.fill_of(segment.rows, segment.bytes) >= _FULL

    def fill_of(self, rows: int, size: int) -> float:
        """How many segments of the target size so many rows and bytes make."""
        return max(rows / self.rows_target, size / self.bytes_target)


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge `inputs` into at most `pieces` segments of disjoint ranges, of `level`.

    `cold` says that what comes out is likely to stay, so that it may be compressed at length.
    """

    inputs: tuple[Segment, ...]
    level: int
    pieces: int
    cold: bool = False

    @property
    def rows(self) -> int:
        """How many rows are copied."""
        return sum(segment.rows for segment in self.inputs)


def by_window(segments: Iterable[Segment], rules: CompactionRules) -> dict[WindowKey, list[Segment]]:
    """The segments that are not finished, as they may be merged with each other, newest window first."""
    windows: dict[tuple[str, str, int | None, int, int], list[Segment]] = defaultdict(list)
    for segment in segments:
        if not rules.is_finished(segment):
            origin = origin_of(segment.name)
            key = (segment.tenant, segment.stream, origin, segment.window_start_us, segment.window_end_us)
            windows[key].append(segment)
    ordered = sorted(windows, key=lambda key: (-key[4], key[3], key[:2], -1 if key[2] is None else key[2]))
    return {WindowKey(*key[:3], Window(*key[3:])): windows[key] for key in ordered}


class Planner:
    """Plans again and again; a window whose segments are still the same is not planned again."""

    def __init__(self, rules: CompactionRules) -> None:
        self._rules = rules
        self._planned: dict[WindowKey, tuple[_Asked, list[Merge]]] = {}

    def plan(
        self,
        windows: Mapping[WindowKey, Sequence[Segment]],
        sort_key_of: Callable[[str, str], Sequence[str]],
        is_cold: Callable[[WindowKey], bool],
        busy: Collection[str] = (),
    ) -> list[Merge]:
        """The merges of by_window() that are due, the first one first; no segment is in two of them.

        `busy` names segments that are being merged. `is_cold` says of a window that no more events are expected.
        """
        known, self._planned = self._planned, {}
        for key, found in windows.items():
            if len(found) > 1:
                idle = [segment for segment in found if segment.name not in busy]
                asked = (idle, tuple(sort_key_of(key.tenant, key.stream)), is_cold(key))
                before, merges = known.get(key, (None, []))
                self._planned[key] = (asked, merges if before == asked else plan_window(*asked, self._rules))
        return [merge for _, merges in self._planned.values() for merge in merges]


def plan_window(
    segments: Sequence[Segment], sort_key: tuple[str, ...], cold: bool, rules: CompactionRules
) -> list[Merge]:
    """The merges of one window; see Planner.plan()."""
    merges = _tiers(segments, rules, cold)
    taken = {segment.name for merge in merges for segment in merge.inputs}
    return [*merges, *_levels([s for s in segments if s.name not in taken], sort_key, rules)]


def _tiers(segments: Sequence[Segment], rules: CompactionRules, cold: bool) -> list[Merge]:
    flushed = [segment for segment in segments if segment.level == 0]
    # Large ones first: few of them are enough, and the small ones are not copied with them.
    flushed.sort(key=lambda segment: (-_tier(segment, rules), segment.first_offset))
    merges: list[Merge] = []
    waiting: list[Segment] = []
    for part in _parts(flushed, rules):
        if rules.fill(part) >= rules.level_factor:
            # As if it had been merged to level 1 first, without copying it twice.
            merges.append(_merge(part, 2, rules))
        else:
            waiting += part
    if cold:
        small = [
            segment for segment in segments if segment.level and rules.fill_of(segment.rows, segment.bytes) < _FULL
        ]
        waiting = sorted([*waiting, *small], key=lambda segment: segment.first_offset)
        return [*merges, *(_merge(part, 1, rules, cold) for part in _parts(waiting, rules) if len(part) > 1)]
    by_tier: dict[int, list[Segment]] = defaultdict(list)
    for segment in waiting:
        by_tier[_tier(segment, rules)].append(segment)
    for _, of_tier in sorted(by_tier.items()):
        full = (part for part in _parts(of_tier, rules) if len(part) == rules.inputs_max)
        merges += [_merge(part, 1 if rules.fill(part) >= 1 else 0, rules) for part in full]
    return merges


def _merge(segments: Sequence[Segment], level: int, rules: CompactionRules, cold: bool = False) -> Merge:
    return Merge(tuple(segments), level, max(1, round(rules.fill(segments))), cold or level >= _STAYS_LEVEL)


def _tier(segment: Segment, rules: CompactionRules) -> int:
    """The class of size: each holds segments so many times as large as those of the class below."""
    return math.floor(math.log(max(rules.fill_of(segment.rows, segment.bytes), 1e-9), rules.inputs_max))


def _parts(segments: Sequence[Segment], rules: CompactionRules) -> list[list[Segment]]:
    """The segments, in their order, as many at a time as one merge takes."""
    parts: list[list[Segment]] = []
    part: list[Segment] = []
    rows = size = 0
    for segment in segments:
        part.append(segment)
        rows, size = rows + segment.rows, size + segment.bytes
        if len(part) == rules.inputs_max or rules.fill_of(rows, size) >= rules.level_factor:
            parts.append(part)
            part, rows, size = [], 0, 0
    return [*parts, part] if part else parts


def _levels(segments: Sequence[Segment], sort_key: tuple[str, ...], rules: CompactionRules) -> list[Merge]:
    merges: list[Merge] = []
    for level in range(1, rules.levels_max):
        of_level = [segment for segment in segments if segment.level == level and segment.sort_key == sort_key]
        merges += [_merge(part, level + 1, rules) for part in _overlapping(of_level, rules.level_factor)]
    return merges


def _overlapping(segments: Sequence[Segment], factor: int) -> Iterator[list[Segment]]:
    """Segments that span one key, `factor` at a time, the oldest first; each is in one part at most."""
    if len(segments) < factor:
        return
    ranges = [(comparable(segment.first_key), comparable(segment.last_key), segment) for segment in segments]
    open_: list[tuple[Key, Segment]] = []
    for first, last, segment in sorted(ranges, key=lambda item: (item[0], item[2].name)):
        open_ = [(end, other) for end, other in open_ if end >= first]
        open_.append((last, segment))
        if len(open_) == factor:
            yield sorted((other for _, other in open_), key=lambda other: other.first_offset)
            open_ = []
