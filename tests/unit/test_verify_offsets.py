"""Runs of offsets against sets of numbers: gaps, doubles, whatever the order within the segments."""

from __future__ import annotations

import random

import numpy as np

from storage.verify_offsets import Coverage, count_of, ranges_text, runs_of, without


def numbers(ranges: list[tuple[int, int]]) -> list[int]:
    return [offset for first, last in ranges for offset in range(first, last + 1)]


def test_random_segments_agree_with_sets() -> None:
    rng = random.Random(7)
    for _ in range(400):
        limit = rng.randrange(1, 80)
        segments = [[rng.randrange(limit) for _ in range(rng.randrange(1, 12))] for _ in range(rng.randrange(1, 8))]
        coverage, seen, doubled, repeated = Coverage(), set(), [], 0
        for offsets in sorted(segments, key=min):
            # What is said of the first offset may be wrong in both directions.
            coverage.settle(max(0, min(min(offsets) + rng.choice([0, 0, 0, 3, -2]), limit)))
            runs, more = runs_of(np.array(offsets, np.int64))
            repeated += more - (len(offsets) - len(set(offsets)))
            doubled += sorted(seen & set(offsets))
            found = coverage.add(runs)
            assert sorted(numbers(found)) == sorted(doubled[len(doubled) - count_of(found) :])
            seen |= set(offsets)
        coverage.settle(limit)
        assert numbers(coverage.take_gaps()) == [offset for offset in range(limit) if offset not in seen]
        assert repeated == 0


def test_what_is_missing_within_a_segment_that_cannot_be_read_is_no_gap() -> None:
    coverage = Coverage()
    coverage.add_unknown(3, 5)
    coverage.add(runs_of(np.array([0, 1, 8]))[0])
    coverage.settle(10)
    assert coverage.take_gaps() == [(2, 2), (6, 7), (9, 9)]
    assert coverage.take_gaps() == []


def test_texts_and_differences_of_ranges() -> None:
    assert ranges_text([(1, 3), (5, 5)]) == "1-3, 5"
    assert ranges_text([(n, n) for n in range(9)], 2) == "0, 1 and 7 more ranges"
    assert without((0, 9), [(0, 1), (4, 5), (9, 12), (20, 30)]) == [(2, 3), (6, 8)]
    assert without((3, 4), [(0, 9)]) == []
