"""Compaction planned over days of traffic, without a byte of data: write amplification, files, and what a query reads.

Segments are made up as flushes write them, merges take the time that the given rate allows, and what comes out has the
ranges that a real merge would give it: keys are uniform in [0, 1). The planner is the one that shards use.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Final

from benchmarks.record import store, value
from core.limits import COMPACTION_COLD_S
from storage.compaction_plan import CompactionRules, Merge, Planner, WindowKey
from storage.snapshot import Segment
from storage.windows import DAY_US, Window

SORT_KEY: Final = ("key",)
EVENT_BYTES: Final = 36  # of a generated log event in a segment
MERGED_PER_S: Final = 600_000  # rows that one core merges
_SAMPLES: Final = 20
_STEP_S: Final = 30.0  # planned so often at most, as shards do while nothing changes


@dataclass(frozen=True, slots=True)
class Traffic:
    """Events a second, rows of a flush at most, seconds between flushes at most, share of events that come late."""

    name: str
    rate_per_s: int
    flush_rows: int = 300_000
    flush_s: float = 60.0
    late_share: float = 0.01
    late_days: int = 7
    days: int = 30

    @property
    def between_flushes_s(self) -> float:
        return min(self.flush_s, self.flush_rows / self.rate_per_s)


@dataclass(slots=True)
class Simulated:
    """What a simulation came to."""

    flushed_rows: int = 0
    copied_rows: int = 0
    merges: int = 0
    files_written: int = 0
    files_most: int = 0
    behind_s_most: float = 0.0
    by_level: Counter[int] = field(default_factory=Counter)
    depth: float = 0.0

    @property
    def amplification(self) -> float:
        """How often a row is written in all."""
        return 1 + self.copied_rows / max(1, self.flushed_rows)


class _Window:
    """The segments of one day."""

    def __init__(self, day: int, rules: CompactionRules) -> None:
        self.day, self._rules = day, rules
        self._planner = Planner(rules)
        self._key = WindowKey("t", "logs", 0, Window(day * DAY_US, (day + 1) * DAY_US))
        self.segments: dict[str, Segment] = {}
        self.finished: list[tuple[float, float]] = []  # the ranges of those on the last level: planned no more
        self.changed_s = 0.0

    def add(self, segment: Segment) -> None:
        if self._rules.is_finished(segment):
            self.finished.append((segment.first_key[0], segment.last_key[0]))
        else:
            self.segments[segment.name] = segment

    def ranges(self) -> list[tuple[float, float]]:
        """The range of keys of each segment."""
        waiting = self.segments.values()
        return [*self.finished, *((s.first_key[0], s.last_key[0]) if s.level else (0.0, 1.0) for s in waiting)]

    def merges(self, now_s: float) -> list[Merge]:
        cold = now_s > (self.day + 1) * 86_400 + COMPACTION_COLD_S and now_s - self.changed_s >= COMPACTION_COLD_S
        return self._planner.plan({self._key: [*self.segments.values()]}, lambda *of: SORT_KEY, lambda key: cold)


class Simulation:
    """One shard with one stream under some traffic, `cores` of which merge."""

    def __init__(self, traffic: Traffic, cores: float, seed: int = 1) -> None:
        self._traffic, self._cores = traffic, cores
        self._rules = CompactionRules()
        self._rng = random.Random(seed)
        self._numbers = itertools.count()
        self._windows: dict[int, _Window] = {}
        self._busy_until_s = 0.0
        self._files = 0
        self.seen = Simulated()

    def run(self) -> Simulated:
        traffic, seen = self._traffic, self.seen
        step_s = max(traffic.between_flushes_s, _STEP_S)
        for number in itertools.count(1):
            now_s = number * step_s
            if now_s > traffic.days * 86_400:
                break
            self._flush(now_s, round(step_s / traffic.between_flushes_s))
            self._compact(now_s)
        for window in self._windows.values():
            seen.by_level.update(segment.level for segment in window.segments.values())
            seen.by_level[self._rules.levels_max] += len(window.finished)
        seen.depth = self._depth()
        return seen

    def _flush(self, now_s: float, flushes: int) -> None:
        traffic, day = self._traffic, int((now_s - 1) // 86_400)
        rows = round(traffic.rate_per_s * traffic.between_flushes_s)
        for _ in range(flushes):
            late = round(rows * traffic.late_share)
            self._add(day, rows - late, now_s)
            if late and day:
                self._add(max(0, day - self._rng.randint(1, traffic.late_days)), late, now_s)
            self.seen.flushed_rows += rows

    def _add(self, day: int, rows: int, now_s: float) -> None:
        window = self._windows.get(day)
        if window is None:
            window = self._windows[day] = _Window(day, self._rules)
        segment = self._segment(day, rows, 0, (), ())
        window.add(segment)
        window.changed_s = now_s
        self._count_files(1)

    def _segment(
        self, day: int, rows: int, level: int, first: tuple[float, ...], last: tuple[float, ...], offset: int = -1
    ) -> Segment:
        number = next(self._numbers)
        offset = number if offset < 0 else offset
        times = (day * DAY_US, (day + 1) * DAY_US)
        size = rows * EVENT_BYTES
        return Segment(
            f"s{number}", "t", "logs", *times, rows, size, 0, *times, offset, offset, False, SORT_KEY, (), 0, 0,
            level, first, last,
        )  # fmt: skip

    def _compact(self, now_s: float) -> None:
        """Merge until the time is used up: newest windows first."""
        for day in sorted(self._windows, reverse=True):
            window = self._windows[day]
            while self._busy_until_s < now_s and (merges := window.merges(now_s)):
                for merge in merges:
                    self._merge(window, merge)
        self.seen.behind_s_most = max(self.seen.behind_s_most, self._busy_until_s - now_s)
        self._busy_until_s = max(self._busy_until_s, now_s)

    def _merge(self, window: _Window, merge: Merge) -> None:
        seen = self.seen
        for segment in merge.inputs:
            del window.segments[segment.name]
        first = min((segment.first_key[0] if segment.level else 0.0) for segment in merge.inputs)
        last = max((segment.last_key[0] if segment.level else 1.0) for segment in merge.inputs)
        for piece in range(merge.pieces):
            low, high = (first + (last - first) * (piece + part) / merge.pieces for part in (0.0, 1.0))
            keys = ((low,), (high - 1e-12,)) if merge.level else ((), ())
            rows, offset = merge.rows // merge.pieces, merge.inputs[0].first_offset
            window.add(self._segment(window.day, rows, merge.level, *keys, offset))
        seen.merges += 1
        seen.copied_rows += merge.rows
        seen.files_written += merge.pieces
        self._busy_until_s += merge.rows / (MERGED_PER_S * self._cores)
        self._count_files(merge.pieces - len(merge.inputs))

    def _count_files(self, more: int) -> None:
        self._files += more
        self.seen.files_most = max(self.seen.files_most, self._files)

    def _depth(self) -> float:
        """The share of the segments of a window that hold a key, on average."""
        shares = []
        for window in self._windows.values():
            ranges = window.ranges()
            for _ in range(_SAMPLES):
                key = self._rng.random()
                held = sum(first <= key <= last for first, last in ranges)
                shares.append(held / len(ranges))
        return sum(shares) / len(shares)


SCENARIOS: Final = (
    (Traffic("100 events/s", 100), 1.0),
    (Traffic("10 k events/s", 10_000), 1.0),
    (Traffic("1 M events/s", 1_000_000), 4.0),
)


def main() -> None:
    values, details = [], {}
    for traffic, cores in SCENARIOS:
        seen = Simulation(traffic, cores).run()
        files = sum(seen.by_level.values())
        merged_s = seen.copied_rows / MERGED_PER_S
        values += [
            value(f"{traffic.name}: times a row is written", seen.amplification, ""),
            value(f"{traffic.name}: files after {traffic.days} days", files, "files"),
            value(f"{traffic.name}: rows of a file", seen.flushed_rows / files, "rows"),
            value(f"{traffic.name}: files of a day that hold a key", 100 * seen.depth, "%"),
            value(f"{traffic.name}: cores that merge", merged_s / (traffic.days * 86_400), "cores"),
            value(f"{traffic.name}: behind at most", seen.behind_s_most, "s"),
        ]
        numbers = {one.name: getattr(seen, one.name) for one in fields(seen)}
        details[traffic.name] = {**numbers, "cores": cores, "days": traffic.days}
    store("compaction_sim", values, details)


if __name__ == "__main__":
    main()
