"""Windows: nested widths, times before 1970, a bounded number of files."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from core.errors import InvalidSettings
from storage.windows import DAY_US, HOUR_US, Window, choose_width, ladder, window_indexes, window_of

EXTREMES = [-(2**63), -(2**63) + 1, -DAY_US, -1, 0, 1, DAY_US - 1, DAY_US, 1_767_225_600_000_000, 2**63 - 1]


@pytest.mark.parametrize("width", ladder("auto") + ladder(HOUR_US))
@pytest.mark.parametrize("time_us", EXTREMES)
def test_every_time_is_in_its_window(width: int | None, time_us: int) -> None:
    window = window_of(time_us, width)
    assert window.start_us <= time_us < window.end_us
    assert window.start_us >= -(2**63) and window.end_us <= 2**63
    assert "/" not in window.label and window.label.isprintable()


def test_wider_windows_contain_narrower_ones() -> None:
    widths = ladder("auto")
    for time_us in EXTREMES:
        windows = [window_of(time_us, width) for width in widths]
        for inner, outer in itertools.pairwise(windows):
            assert outer.start_us <= inner.start_us and inner.end_us <= outer.end_us


def test_labels() -> None:
    assert window_of(1_767_225_600_000_000, DAY_US).label == "2026-01-01"
    assert window_of(1_767_229_200_000_001, HOUR_US).label == "2026-01-01T01"
    assert window_of(-1, DAY_US).label == "1969-12-31"
    assert window_of(-62_135_596_800_000_000, DAY_US).label == "0001-01-01"
    assert window_of(5, None).label == "all"
    assert window_of(2**63 - 1, DAY_US).label.endswith("us")


def test_numpy_and_python_agree() -> None:
    times = np.array(EXTREMES, np.int64)
    for width in ladder("auto"):
        if width is not None:
            assert window_indexes(times, width).tolist() == [time_us // width for time_us in EXTREMES]


@pytest.mark.parametrize("bad", [0, -HOUR_US, HOUR_US + 1, "day", 3_601 * DAY_US, 1.5, True])
def test_bad_widths_are_refused(bad: object) -> None:
    with pytest.raises(InvalidSettings):
        ladder(bad)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ([], DAY_US),
        ([0], DAY_US),
        (list(range(64)), DAY_US),
        (list(range(65)), 30 * DAY_US),
        ([0, 10_000, 20_000], DAY_US),  # far apart, few windows
        (list(range(0, 30 * 65, 30)), 360 * DAY_US),
        (list(range(0, 360 * 65, 360)), None),
    ],
)
def test_the_finest_width_with_few_windows_wins(days: list[int], expected: int | None) -> None:
    times = [np.array([day * DAY_US], np.int64) for day in days]
    assert choose_width([*times, np.array([], np.int64)], ladder("auto"), 64) == expected


def test_windows_are_values() -> None:
    assert window_of(5, DAY_US) == Window(0, DAY_US)
