"""T2: the power of a real ext4 is cut while a child ingests; what was acknowledged is there after the next mount."""

from __future__ import annotations

import os
import random

import pytest

from tests.kill.lives import live, numbers
from tests.kill.read_back import read_back
from tests.support.power_cut import NotPossible, PowerCutDisk, power_cut_disk
from tests.support.shards import check_exactly_once

CYCLES = int(os.environ.get("MALAMUTE_POWER_CUTS", "3"))


def test_power_cuts_of_a_real_file_system_lose_and_double_nothing(tmp_path):
    try:
        with power_cut_disk(tmp_path) as disk:
            assert run_cycles(disk, int(os.environ.get("MALAMUTE_SEED", "2"))) > 100 * CYCLES
    except NotPossible as reason:
        pytest.skip(str(reason))


def run_cycles(disk: PowerCutDisk, seed: int) -> int:
    """Cut the power CYCLES times; how many events were acknowledged."""
    rng = random.Random(seed)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    canary = disk.root / "canary"

    def cut() -> None:
        canary.write_bytes(b"never synced")
        disk.cut_power()

    for _ in range(CYCLES):
        first = max(sent, default=-1) + 1
        output = live(disk.root / "store", first, rng.randrange(2**31), rng.uniform(0.05, 0.6), cut)
        sent |= numbers(output, b"sent")
        acknowledged |= numbers(output, b"acked")
        disk.unmount()
        disk.mount()
        assert not canary.exists() or not canary.read_bytes(), "the power was not cut: an unsynced file is there"
        canary.unlink(missing_ok=True)
        rows = read_back(disk.root / "store")
        check_exactly_once(rows, acknowledged, sent)
        # What was never answered may be there or not, but from now on it stays as it is.
        acknowledged = {n for _, n in rows}
    return len(acknowledged)
