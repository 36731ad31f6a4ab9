"""Which segments are merged: tiers, cold windows, levels; nothing twice, nothing for ever, over days of traffic."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Sequence

import pytest

from benchmarks.compaction_sim import Simulation, Traffic
from storage.compaction_keys import Key, comparable, overlap
from storage.compaction_plan import CompactionRules, Merge, Planner, by_window, plan_window
from storage.snapshot import Segment
from storage.windows import DAY_US

RULES = CompactionRules(rows_target=1_000, bytes_target=10**9, inputs_max=8, level_factor=4, levels_max=3)
KEY = ("service", "timestamp")
_numbers = itertools.count()


def segment(
    rows: int, level: int = 0, keys: tuple[Key, Key] = ((), ()), day: int = 0, size: int = 1, stream: str = "logs"
) -> Segment:
    number = next(_numbers)
    window = (day * DAY_US, (day + 1) * DAY_US)
    return Segment(
        f"s{number:08d}", "t", stream, *window, rows, size, 0, *window, number, number, False, KEY, (),
        level=level, first_key=keys[0], last_key=keys[1],
    )  # fmt: skip


def planned(segments: Sequence[Segment], *, cold: bool = False, busy: Iterable[str] = ()) -> list[Merge]:
    merges = Planner(RULES).plan(by_window(segments, RULES), lambda tenant, stream: KEY, lambda key: cold, set(busy))
    names = [found.name for merge in merges for found in merge.inputs]
    assert len(set(names)) == len(names), "a segment in two merges"
    return merges


def test_nothing_to_do_for_none_one_or_a_few_small_segments() -> None:
    assert planned([]) == planned([segment(10)]) == planned([segment(10) for _ in range(7)]) == []
    assert planned([segment(3_000)], cold=True) == []


def test_a_few_dozen_small_segments_become_one_of_the_next_tier() -> None:
    small = [segment(10) for _ in range(8)]
    assert planned([*small, segment(200)]) == [Merge(tuple(small), 0, 1)]


def test_what_fills_several_segments_becomes_disjoint_ones_at_once() -> None:
    flushed = [segment(300) for _ in range(15)]
    (merge,) = planned(flushed)
    assert merge == Merge(tuple(flushed[:8]), 1, 2)  # as many as one merge takes, though they fill but two
    large = [segment(900) for _ in range(5)]
    assert planned(large) == [Merge(tuple(large), 2, 4, cold=True)]


def test_bytes_fill_a_segment_as_rows_do() -> None:
    heavy = [segment(10, size=2 * 10**9) for _ in range(2)]
    assert planned(heavy) == [Merge(tuple(heavy), 2, 4, cold=True)]


def test_a_cold_window_is_finished_however_little_it_holds() -> None:
    found = [segment(10), segment(400), segment(30, 1, (("a", 1), ("b", 2))), segment(900, 1, (("a", 1), ("b", 2)))]
    assert planned(found) == []
    assert planned(found, cold=True) == [Merge(tuple(found[:3]), 1, 1, cold=True)]


def test_segments_of_a_level_that_overlap_go_one_up_the_oldest_first() -> None:
    wide = [segment(1_000, 1, (("a", 0), ("z", 9))) for _ in range(5)]
    assert planned(wide) == [Merge(tuple(wide[:4]), 2, 4, cold=True)]
    narrow = [segment(1_000, 2, ((letter, 0), (letter, 9))) for letter in "abcdefgh"]
    assert planned(narrow) == []
    assert planned([*narrow, *wide[:3]]) == []  # not of one level
    top = [segment(1_000, 3, (("a", 0), ("z", 9))) for _ in range(9)]
    assert planned(top) == []


def test_newest_windows_come_first_and_streams_are_never_mixed() -> None:
    old = [segment(900, day=1) for _ in range(5)]
    new = [segment(900, day=9) for _ in range(5)]
    other = [segment(900, day=9, stream="other") for _ in range(4)]
    merges = planned([*old, *other, *new])
    assert [merge.inputs[0].window_start_us // DAY_US for merge in merges] == [9, 1]
    assert {found.stream for merge in merges for found in merge.inputs} == {"logs"}


def test_what_is_being_merged_is_left_alone() -> None:
    flushed = [segment(900) for _ in range(9)]
    first = planned(flushed)[0]
    again = planned(flushed, busy=[found.name for found in first.inputs])
    assert not {found.name for merge in again for found in merge.inputs} & {found.name for found in first.inputs}


def test_segments_of_an_older_sort_key_stay_on_their_level() -> None:
    wide = [segment(1_000, 1, (("a", 0), ("z", 9))) for _ in range(4)]
    assert plan_window(wide, ("timestamp",), False, RULES) == []


def test_keys_compare_as_rows_are_sorted() -> None:
    ordered: list[Key] = [(-1,), (0.5,), (2**64,), (float("inf"),), (float("nan"),), ("",), ("a",), (b"a",), (None,)]
    assert sorted(ordered, key=comparable) == ordered or [k for k in ordered if k == k] == [
        k for k in sorted(ordered, key=comparable) if k == k
    ]
    assert overlap((("a",), ("c",)), (("c",), ("d",)))
    assert not overlap((("a", 1), ("c", 1)), (("c", 2), (None, None)))


@pytest.mark.parametrize("seed", range(8))
def test_random_windows_come_to_rest(seed: int) -> None:
    """Merging as planned ends, keeps the rows, and leaves few files."""
    rng = random.Random(seed)
    held = [segment(rng.choice([1, 5, 40, 300, 900, 2_500]), day=rng.randint(0, 2)) for _ in range(rng.randint(1, 300))]
    rows = sum(found.rows for found in held)
    for turn in range(2_000):
        cold = turn > 500
        merges = planned(held, cold=cold)
        if not merges and cold:
            break
        for merge in merges:
            names = {found.name for found in merge.inputs}
            held = [found for found in held if found.name not in names]
            low = rng.random()
            for piece in range(merge.pieces):
                keys: tuple[Key, Key] = ((low + piece,), (low + piece + 0.9,)) if merge.level else ((), ())
                made = merge.rows // merge.pieces + (merge.rows % merge.pieces if piece == 0 else 0)
                held.append(segment(made, merge.level, keys, merge.inputs[0].window_start_us // DAY_US))
    else:
        raise AssertionError("merges for ever")
    assert sum(found.rows for found in held) == rows
    assert len(held) <= 3 + rows // RULES.rows_target * 2


def test_a_day_of_traffic_copies_each_row_about_twice() -> None:
    seen = Simulation(Traffic("test", 20_000, days=1), cores=1.0).run()
    assert seen.flushed_rows == 20_000 * 86_400
    assert 2 < seen.amplification < 3.5
    assert seen.files_most < seen.flushed_rows / 500_000
    assert seen.depth < 0.2
