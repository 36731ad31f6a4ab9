"""T39: merges, flushes, garbage collection, crashes, readers and named snapshots in random orders."""

from __future__ import annotations

import pytest

from tests.support.compacted import Walk


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_may_be_read_is_deleted_and_nothing_else_stays(seed: int) -> None:
    counts = Walk(seed).run(150)
    assert counts["replacements"] and counts["reads"]
