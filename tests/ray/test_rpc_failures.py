"""T16 in small on Ray: calls that lose their request or their answer on the way neither lose nor double an event."""

from __future__ import annotations

import os

from tests.torture.rpc_failures import PRODUCERS, campaign


def test_lost_calls_between_ray_processes_store_each_batch_once():
    batches = 40
    outcome = campaign(int(os.environ.get("MALAMUTE_SEED", "16")), batches, failures_max=10)
    assert outcome.acknowledged > PRODUCERS * batches
    assert outcome.duplicates > 0, "no answer of an append was lost: the failures were not injected"
