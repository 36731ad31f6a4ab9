"""T1 and T18 over WAL, flush and manifest together: whatever a power cut or a kill leaves, recovery is exact."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from core.append import LOCAL, MEMORY
from core.errors import Fenced, MalamuteError
from storage.keys import index_key
from storage.objects import ObjectStore
from storage.segment_index import SegmentIndexes
from storage.snapshot import Segment
from tests.support.shards import STREAM, TENANT, append, check_exactly_once, objects_on, open_on, stored_rows
from tests.support.simfs import SimFileSystem


@dataclass
class Oracle:
    """What was sent, what must survive a power cut, and what is on its way right now."""

    sent: set[int] = field(default_factory=set)
    durable: set[int] = field(default_factory=set)


class PowerCut(Exception):
    pass


def run_life(fs: SimFileSystem, rng: random.Random, oracle: Oracle, steps: int) -> None:
    """One life of a shard: open, then random appends, duplicates and flushes."""
    shard = open_on(fs)
    producer = f"p{rng.randrange(2)}"
    epoch = shard.open_producer(TENANT, STREAM, producer).epoch
    sequence = 0
    for _ in range(steps):
        action = rng.random()
        if action < 0.2:
            shard.flush()
        elif action < 0.3 and sequence:
            assert append(shard, producer, epoch, sequence - 1, [0]).duplicate
        else:
            first = len(oracle.sent)
            numbers = list(range(first, first + rng.randrange(1, 4)))
            level = LOCAL if rng.random() < 0.8 else MEMORY
            oracle.sent |= set(numbers)
            append(shard, producer, epoch, sequence, numbers, level)
            sequence += 1
            if level == LOCAL:
                # A later local append makes every earlier one durable: they share the file.
                oracle.durable = set(oracle.sent)
    shard.abandon()


def recovered(state: SimFileSystem) -> list[tuple[int, int]]:
    shard = open_on(state)
    objects = objects_on(state)
    rows = stored_rows(shard, objects)
    _check_indexes(shard.snapshot(TENANT, STREAM).segments, objects)
    shard.abandon()
    return rows


def _check_indexes(segments: Sequence[Segment], objects: ObjectStore) -> None:
    """Every segment has its index, whole, and nothing else is left beside them."""
    indexes = SegmentIndexes(objects, 2**20)
    for segment in segments:
        index = indexes.get(segment)
        assert index is not None and sum(index.rows) == segment.rows
    names = {segment.name for segment in segments}
    assert {info.key for info in objects.list("shards/0000/segments/")} == names | set(map(index_key, names))


@pytest.mark.parametrize("seed", range(12))
def test_power_cut_after_any_operation_loses_and_doubles_nothing(seed):
    assert power_cuts(seed) > 20


def power_cuts(seed: int) -> int:
    """Check crash states of three lives; how many."""
    rng = random.Random(seed)
    oracle = Oracle()
    checked = 0
    fs = SimFileSystem()

    def observe(operation: str, path: str) -> None:
        nonlocal checked
        if rng.random() < 0.15:
            for state in fs.crash_states(rng, 3):
                rows = recovered(state)
                check_exactly_once(rows, oracle.durable, oracle.sent)
                # A second cut while nothing was done since: recovery is repeatable.
                assert recovered(state) == rows
                checked += 1

    for _ in range(3):
        fs.after_operation = observe
        run_life(fs, rng, oracle, steps=8)
        fs.after_operation = None
        fs = next(iter(fs.crash_states(rng, 1))) if rng.random() < 0.5 else fs.killed()
        # The next life goes on from what the cut left: what is gone was never acknowledged as durable.
        oracle.durable = {n for _, n in recovered(fs)}
        oracle.sent = set(oracle.durable)
    return checked


@pytest.mark.parametrize("seed", range(6))
def test_power_cut_inside_recovery_changes_nothing(seed):
    assert power_cuts_inside_recovery(seed) > 0


def power_cuts_inside_recovery(seed: int) -> int:
    """Recover from crash states, and from what a second cut inside each of these recoveries leaves; how many."""
    checked = 0
    rng = random.Random(1000 + seed)
    oracle = Oracle()
    fs = SimFileSystem()
    run_life(fs, rng, oracle, steps=6)
    for state in fs.crash_states(rng, 4):
        inner: list[SimFileSystem] = []
        state.after_operation = lambda operation, path, state=state, inner=inner: inner.extend(
            state.crash_states(rng, 1)
        )
        rows = recovered(state)
        state.after_operation = None
        assert inner
        for second in inner:
            again = recovered(second)
            # Unsynced events may go with the second cut as well; durable ones may not.
            check_exactly_once(again, oracle.durable, oracle.sent)
            assert set(again) <= set(rows)
            checked += 1
    return checked


def test_late_writes_of_old_epochs_are_never_accepted():
    """T18: owners that were replaced try to publish; none succeeds and nothing of theirs becomes visible."""
    assert late_writes(18) >= 100


def late_writes(seed: int) -> int:
    """Publish from owners that were replaced; how many of them were refused, which is all."""
    rng = random.Random(seed)
    accepted = refused = 0
    fs = SimFileSystem()
    owners = []
    for number in range(40):
        owner = open_on(fs)
        epoch = owner.open_producer(TENANT, STREAM, "p").epoch
        append(owner, "p", epoch, 0, [number])
        owner.abandon()
        owners.append(owner)
        for late in rng.sample(owners[:-1], min(3, len(owners) - 1)):
            try:
                late.flush()
                accepted += 1
            except Fenced:
                refused += 1
            except MalamuteError as error:  # a poisoned or removed file of a zombie: refused as well
                raise AssertionError(f"not fenced but {error!r}") from error
    assert accepted == 0
    rows = recovered(fs)
    assert [n for _, n in rows] == list(range(40))
    return refused
