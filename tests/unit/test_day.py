"""Two simulated hours with every background task on: the rows are exactly those that there should be. T46 has days."""

from __future__ import annotations

import pytest

from tests.torture.day.campaign import simulated

HAPPENED = ("merges", "segments expired", "deletes done", "snapshots", "backups", "garbage", "placements", "shard")


@pytest.mark.parametrize("seed", [12])
def test_after_some_hours_with_every_task_on_exactly_the_right_rows_are_there(seed: int) -> None:
    counts = simulated(seed, 2.0, 0.3)
    assert all(counts[name] for name in HAPPENED), counts
