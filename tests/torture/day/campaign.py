"""T46: a day of simulated traffic with every background task on ends with exactly the rows that it should have."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

from tests.torture.day.course import Day
from tests.unit.test_backup import one_copy_at_a_time

HOURS: Final = 24.0
EVENTS_PER_S: Final = 0.3  # on average: bursts have six times as many


def simulated(seed: int, hours: float, rate: float) -> dict[str, int]:
    """A day of so many hours, so many events a second; what happened in it. Raises what it finds wrong."""
    with one_copy_at_a_time(), tempfile.TemporaryDirectory(prefix="malamute-torture-") as directory:
        counts = Day(seed, Path(directory), hours, rate).run()
    return dict(sorted(counts.items()))


def whole_day(seed: int) -> dict[str, int]:
    """24 hours."""
    return {"days": 1, **simulated(seed, HOURS, EVENTS_PER_S)}
