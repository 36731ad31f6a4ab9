"""T1 and T6 on the bare WAL: every modelled power cut leaves exactly what was acknowledged, in order."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from storage.wal_format import BatchRecord, OpenProducerRecord, WalRecord
from tests.support.simfs import SimFileSystem
from tests.support.wal_scenario import DIRECTORY, append, batch, open_wal, opened, replayed

STATES_OF_A_SEED = 1500


@dataclass
class Oracle:
    """What a client knows: all records in order, and how many of them must survive a power cut."""

    tried: list[WalRecord] = field(default_factory=list)
    kept: int = 0  # records up to here were acknowledged after a sync
    floor: int = 0  # everything below was flushed

    def verify(self, fs: SimFileSystem) -> None:
        """Replay a crash state and compare."""
        found = replayed(fs, self.floor)
        batches = [record for record in self.tried if isinstance(record, BatchRecord)]
        above = [record for record in batches if record.first_offset >= self.floor]
        must = [record for record in self.tried[: self.kept] if isinstance(record, BatchRecord)]
        assert found.batches == above[: len(found.batches)]
        assert len(found.batches) >= sum(record.first_offset >= self.floor for record in must)
        last = found.batches[-1] if found.batches else None
        assert found.recovery.next_offset == (last.first_offset + last.rows if last else self.floor)
        opens = {record for record in found.records if isinstance(record, OpenProducerRecord)}
        unflushed = self.tried[self._flushed() : self.kept]
        assert {record for record in unflushed if isinstance(record, OpenProducerRecord)} <= opens

    def _flushed(self) -> int:
        flushed = 0
        for number, record in enumerate(self.tried, start=1):
            if isinstance(record, BatchRecord) and record.first_offset < self.floor:
                flushed = number
        return flushed


def next_record(oracle: Oracle, rng: random.Random) -> WalRecord:
    if rng.random() < 0.2:
        return opened(len(oracle.tried))
    ends = [record.first_offset + record.rows for record in oracle.tried if isinstance(record, BatchRecord)]
    body = rng.randbytes(rng.choice([5, 40, 700]))
    return batch(max([*ends, oracle.floor]), rows=rng.randrange(1, 4), body=body)


def run(fs: SimFileSystem, oracle: Oracle, rng: random.Random, check: Callable[[], None], epoch: int) -> None:
    """One life of a writer: appends of both levels, producer opens, rotation and removal; `check` after each step."""
    wal = open_wal(fs, epoch, floor=oracle.floor, file_bytes_target=rng.choice([400, 900, 1 << 20]))
    for _ in range(rng.randrange(1, 9)):
        group = []
        for _ in range(rng.choice([1, 1, 1, 3])):
            record = next_record(oracle, rng)
            sync = rng.random() < 0.5
            oracle.tried.append(record)
            group.append((wal.enqueue(record, sync), sync, len(oracle.tried)))
        for ticket, sync, count in group:
            wal.commit(ticket)
            if sync:
                oracle.kept = count
            check()
        if rng.random() < 0.1:
            wal.rotate()
            oracle.kept = len(oracle.tried)
            check()
        if rng.random() < 0.1 and isinstance(record, BatchRecord):
            # A flush: everything so far is in segments and the manifest.
            oracle.floor = record.first_offset + record.rows
            wal.remove_below(oracle.floor)
            check()
    if rng.random() < 0.3:
        wal.close()
        oracle.kept = len(oracle.tried)
        check()


def settle(oracle: Oracle, fs: SimFileSystem) -> None:
    """After a crash the survivors are the truth: the client sends what is missing again as new records."""
    found = replayed(fs, oracle.floor)
    flushed = [r for r in oracle.tried if isinstance(r, BatchRecord) and r.first_offset < oracle.floor]
    oracle.tried = [*flushed, *found.records]
    oracle.kept = len(flushed)


@pytest.mark.parametrize("seed", range(4))
def test_t1_power_cuts_lose_double_or_reorder_nothing_acknowledged(seed: int) -> None:
    assert power_cuts(seed) >= STATES_OF_A_SEED


def power_cuts(seed: int) -> int:
    """Check crash states of random lives; how many."""
    rng = random.Random(seed)
    states = 0
    while states < STATES_OF_A_SEED:
        oracle = Oracle()
        fs = SimFileSystem()

        def check(fs: SimFileSystem = fs, oracle: Oracle = oracle) -> None:
            nonlocal states
            for state in fs.crash_states(rng, 12):
                oracle.verify(state)
                states += 1

        fs.after_operation = lambda operation, path, check=check: check()
        run(fs, oracle, rng, check, epoch=1)
    return states


@pytest.mark.parametrize("seed", range(4))
def test_t6_crashes_inside_recovery_and_after_it_lose_nothing(seed: int) -> None:
    assert crashes_of_several_lives(seed) >= STATES_OF_A_SEED


def crashes_of_several_lives(seed: int) -> int:
    """Check crash states of stores that crashed before; how many."""
    rng = random.Random(1000 + seed)
    states = 0
    while states < STATES_OF_A_SEED:
        oracle = Oracle()
        fs = SimFileSystem()
        for epoch in range(1, 6):

            def check(oracle: Oracle = oracle, fs: SimFileSystem = fs) -> None:
                nonlocal states
                for state in fs.crash_states(rng, 4):
                    oracle.verify(state)
                    states += 1

            fs.after_operation = lambda operation, path, check=check: check()
            run(fs, oracle, rng, check, epoch)
            # kill -9 keeps the page cache: what was not durable then may still be lost by a later power cut
            power_cut = rng.random() < 0.5
            fs = rng.choice(list(fs.crash_states(rng, 8))) if power_cut else fs.killed()
            settle(oracle, fs)
    return states


class _Died(Exception):
    pass


@pytest.mark.parametrize("seed", range(3))
def test_t6_a_crash_at_each_operation_of_reopening_changes_nothing(seed: int) -> None:
    rng = random.Random(2000 + seed)
    oracle = Oracle()
    fs = SimFileSystem()
    wal = open_wal(fs)
    for number in range(6):
        record = opened(number) if number == 4 else batch(sum(isinstance(r, BatchRecord) for r in oracle.tried))
        oracle.tried.append(record)
        append(wal, record, sync=number < 2)
    oracle.kept = len(oracle.tried)  # a killed process loses nothing, at any level
    start = fs.killed()
    steps = 0
    for fatal in range(1, 20):
        dying = start.killed()

        def die(operation: str, path: str, fs: SimFileSystem = dying, fatal: int = fatal) -> None:
            if fs.operations == fatal:
                raise _Died

        dying.after_operation = die
        with contextlib.suppress(_Died):
            open_wal(dying, epoch=2)
            break
        steps += 1
        dying.after_operation = None
        oracle.verify(dying.killed())
        again = dying.killed()
        append(open_wal(again, epoch=3), batch(5))
        after = Oracle([*oracle.tried, batch(5)], kept=len(oracle.tried) + 1)
        for state in again.crash_states(rng, 50):
            after.verify(state)
    assert steps >= 5


def test_a_new_file_never_replaces_a_tail_that_it_does_not_hold() -> None:
    # The first file of an epoch begins below records that only the older file has. Were it visible before those
    # are in it, a crash right then would hide acknowledged records: their mark may not have reached the disk.
    fs = SimFileSystem()
    append(open_wal(fs), batch(0))
    (unmarked,) = (
        state
        for state in fs.crash_states(random.Random(0), 100)
        if replayed(state).synced == [False] and not replayed(state).recovery.torn
    )
    seen = []
    unmarked.after_operation = lambda operation, path: seen.extend(
        replayed(state).records for state in unmarked.crash_states(random.Random(1), 200)
    )
    open_wal(unmarked, epoch=2)
    assert len(seen) > 50 and all(records == [batch(0)] for records in seen)
    assert len(unmarked.list(DIRECTORY)) == 2
