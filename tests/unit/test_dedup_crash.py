"""Dedup by id through power cuts, kills, retries, flushes and expiry: recovery decides as if nothing had happened."""

from __future__ import annotations

import pytest

from tests.support.dedup_campaign import Campaign


@pytest.mark.parametrize("seed", range(4))
def test_a_crash_after_any_operation_leaves_the_ids_of_the_stored_events(seed: int) -> None:
    counted = Campaign(seed).run(lives=3, steps=14)
    assert counted.states > 5 and counted.batches > 5 and counted.duplicates > 0
