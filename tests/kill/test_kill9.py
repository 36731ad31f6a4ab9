"""T4: a child ingests numbered events and is killed at random times; nothing acknowledged is lost or doubled."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from core.append import LOCAL, OBJECT
from tests.kill.ingest_child import open_real
from tests.kill.lives import live, numbers
from tests.support.shards import check_exactly_once, stored_rows

CYCLES = int(os.environ.get("MALAMUTE_KILL_CYCLES", "6"))


def nothing() -> None:
    """The kill is all that happens."""


@pytest.mark.parametrize("durability", [LOCAL, OBJECT])
def test_kill_9_at_random_times_loses_and_doubles_nothing(tmp_path, durability):
    assert kills(tmp_path, int(os.environ.get("MALAMUTE_SEED", "4")), durability) > 100 * CYCLES


def kills(root: Path, seed: int, durability: str) -> int:
    """Kill CYCLES children of one store, one after the other; how many events were acknowledged."""
    rng = random.Random(seed)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    for _ in range(CYCLES):
        first = max(sent, default=-1) + 1
        output = live(root, first, rng.randrange(2**31), rng.uniform(0.05, 0.6), nothing, durability)
        assert b"failed" not in output, output[-500:]
        assert numbers(output, b"acked") <= numbers(output, b"sent")
        sent |= numbers(output, b"sent")
        acknowledged |= numbers(output, b"acked")
        shard, objects = open_real(str(root), durability)
        rows = stored_rows(shard, objects)
        shard.abandon()
        check_exactly_once(rows, acknowledged, sent)
        # What was never answered may be there or not, but from now on it stays as it is.
        acknowledged = {n for _, n in rows}
    return len(acknowledged)
