"""Owns which segments are merged next: a function from segments to merges. Pure; reads no file and no clock.

Segments of one tenant, stream, window and shard are merged with each other only.

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
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from core.limits import (
    COMPACTION_BYTES_TARGET,
    COMPACTION_COLD_S,
    COMPACTION_INPUTS_MAX,
    COMPACTION_LEVEL_FACTOR,
    COMPACTION_LEVELS_MAX,
    COMPACTION_ROWS_TARGET,
)
from storage.compaction_keys import Key, comparable
from storage.snapshot import Segment
from storage.windows import Window

WindowKey = tuple[str, str, Window]  # tenant, stream, window

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


def by_window(segments: Iterable[Segment]) -> dict[WindowKey, list[Segment]]:
    """The segments that may be merged with each other, newest window first, in each by their first offset."""
    windows: dict[WindowKey, list[Segment]] = defaultdict(list)
    for segment in segments:
        window = Window(segment.window_start_us, segment.window_end_us)
        windows[segment.tenant, segment.stream, window].append(segment)
    ordered = sorted(windows, key=lambda key: (-key[2].end_us, key[2].start_us, key[:2]))
    return {key: sorted(windows[key], key=lambda segment: (segment.first_offset, segment.name)) for key in ordered}


def plan(
    segments: Iterable[Segment],
    sort_key_of: Callable[[str, str], Sequence[str]],
    rules: CompactionRules,
    is_cold: Callable[[WindowKey], bool],
    busy: Collection[str] = (),
) -> list[Merge]:
    """The merges that are due, the first one first; no segment is in two of them.

    `busy` names segments that are being merged. `is_cold` says of a window that no more events are expected.
    """
    merges: list[Merge] = []
    for key, found in by_window(segment for segment in segments if segment.name not in busy).items():
        merges += plan_window(found, tuple(sort_key_of(*key[:2])), rules, is_cold(key))
    return merges


def plan_window(
    segments: Sequence[Segment], sort_key: Sequence[str], rules: CompactionRules, cold: bool
) -> list[Merge]:
    """The merges of one window; see plan()."""
    merges = _tiers(segments, rules, cold)
    taken = {segment.name for merge in merges for segment in merge.inputs}
    return [*merges, *_levels([s for s in segments if s.name not in taken], tuple(sort_key), rules)]


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
        small = [segment for segment in segments if segment.level and rules.fill([segment]) < _FULL]
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
    return math.floor(math.log(max(rules.fill([segment]), 1e-9), rules.inputs_max))


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
        while (deepest := _deepest(of_level, rules.level_factor)) is not None:
            merges.append(_merge(deepest, level + 1, rules))
            taken = {segment.name for segment in deepest}
            of_level = [segment for segment in of_level if segment.name not in taken]
    return merges


def _deepest(segments: Sequence[Segment], factor: int) -> list[Segment] | None:
    """The oldest `factor` segments at a key that so many of them span, None when there is no such key."""
    if len(segments) < factor:
        return None
    ranges = [(comparable(segment.first_key), comparable(segment.last_key), segment) for segment in segments]
    open_: list[tuple[Key, Segment]] = []
    for first, last, segment in sorted(ranges, key=lambda item: (item[0], item[2].name)):
        open_ = [(end, other) for end, other in open_ if end >= first]
        open_.append((last, segment))
        if len(open_) >= factor:
            return sorted((other for _, other in open_), key=lambda other: other.first_offset)[:factor]
    return None
