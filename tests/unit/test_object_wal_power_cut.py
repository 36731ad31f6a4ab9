"""T1 and T6 with the WAL as objects in a directory: whatever a power cut leaves, what was acknowledged is there."""

from __future__ import annotations

import itertools
import random

import pytest

from storage.shard import Shard
from tests.support.shards import (
    STREAM,
    TENANT,
    append,
    check_exactly_once,
    objects_on,
    open_on_objects,
    stored_rows,
)
from tests.support.simfs import SimFileSystem


def opened(fs: SimFileSystem, ids: itertools.count[int]) -> Shard:
    return open_on_objects(objects_on(fs), file_ids=lambda: next(ids))


def recovered(state: SimFileSystem) -> list[tuple[int, int]]:
    return stored_rows(opened(state, itertools.count(1_000_000)), objects_on(state))


@pytest.mark.parametrize("seed", range(6))
def test_power_cut_after_any_operation_loses_and_doubles_nothing(seed: int) -> None:
    assert power_cuts(seed) > 20


def power_cuts(seed: int) -> int:
    """Check crash states of three lives; how many."""
    rng = random.Random(seed)
    ids = itertools.count(seed * 1_000 + 1)
    sent: set[int] = set()
    acknowledged: set[int] = set()
    checked = 0
    fs = SimFileSystem()

    def observe(operation: str, path: str) -> None:
        nonlocal checked
        if rng.random() < 0.12:
            for state in fs.crash_states(rng, 3):
                rows = recovered(state)
                check_exactly_once(rows, acknowledged, sent)
                # A second cut while nothing was done since: what was served once is there for ever.
                for again in state.crash_states(rng, 1):
                    assert recovered(again) == rows
                checked += 1

    for _ in range(3):
        fs.after_operation = observe
        shard = opened(fs, ids)
        epoch = shard.open_producer(TENANT, STREAM, "p").epoch
        sequence = 0
        for _ in range(8):
            if rng.random() < 0.2:
                shard.flush()
                continue
            first = max(sent, default=-1) + 1
            numbers = list(range(first, first + rng.randrange(1, 4)))
            sent |= set(numbers)
            append(shard, "p", epoch, sequence, numbers)
            acknowledged |= set(numbers)
            sequence += 1
        fs.after_operation = None
        fs = next(iter(fs.crash_states(rng, 1))) if rng.random() < 0.5 else fs.killed()
        acknowledged = {n for _, n in recovered(fs)}
        sent = set(acknowledged)
    return checked
