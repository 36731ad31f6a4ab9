"""T9 and T10 over a whole shard: operations fail; nothing acknowledged is lost, no file reused after a sync failed."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable
from typing import TypeVar

from core.append import AppendRequest
from core.clock import ManualClock
from core.errors import Unavailable, UnknownOutcome
from storage.shard_host import ShardHost
from tests.support.faultfs import ANY, Fault, FaultFileSystem
from tests.support.shards import STREAM, TENANT, body, check_exactly_once, objects_on, open_on, random_id, stored_rows
from tests.support.simfs import SimFileSystem

BATCHES = 12
PATIENCE = 8  # failures in a row, then the disk is mended
KINDS = ({}, {"forever": True}, {"after": True}, {"written": 13})

_Answer = TypeVar("_Answer")


def failing_syncs(seed: int) -> dict[str, int]:
    """The same course once for each of its syncs, which fails, with and without the bytes being lost."""
    syncs = _course(seed, None).calls["sync"]
    for nth in range(1, syncs + 1):
        for drops in (False, True):
            fs = _course(seed, Fault("sync", nth, errno.EIO, drops_unsynced=drops))
            assert fs.hits
            _check_never_reused(fs, nth)
    return {"syncs that failed": 2 * syncs, "batches": 2 * syncs * BATCHES}


def failing_operations(seed: int) -> dict[str, int]:
    """The same course for each of its changes to the disk, which fails: once, for ever, after it was done, torn."""
    rng = random.Random(seed)
    changes = _course(seed, None).calls[ANY]
    for nth in range(1, changes + 1):
        _course(seed, Fault(ANY, nth, rng.choice((errno.EIO, errno.ENOSPC)), **rng.choice(KINDS)))
    return {"operations that failed": changes, "batches": changes * BATCHES}


def _course(seed: int, fault: Fault | None) -> FaultFileSystem:
    """Ingest through one fault; raises AssertionError unless everything is there exactly once at the end."""
    rng = random.Random(seed)
    disk = SimFileSystem()
    fs = FaultFileSystem(disk, [fault] if fault else [])
    clock = ManualClock()
    host = ShardHost(lambda: open_on(fs, clock=clock, file_ids=random_id), clock)
    opened = _answered(fs, clock, lambda: host.open_producer(TENANT, STREAM, "p"))
    for sequence in range(BATCHES):
        request = AppendRequest(TENANT, STREAM, "p", opened.epoch, sequence, body([2 * sequence, 2 * sequence + 1]))
        _answered(fs, clock, lambda request=request: host.append(request))  # type: ignore[misc]
        if rng.random() < 0.25:
            _answered(fs, clock, host.flush)
    fs.plan.clear()
    sent = set(range(2 * BATCHES))
    # What was acknowledged is on stable storage: nothing else is left after a power cut.
    for state in disk.crash_states(rng, 3):
        check_exactly_once(stored_rows(open_on(state), objects_on(state)), sent, sent)
    return fs


def _answered(fs: FaultFileSystem, clock: ManualClock, operation: Callable[[], _Answer]) -> _Answer:
    for attempt in range(2 * PATIENCE):
        if attempt == PATIENCE:
            fs.plan.clear()
        try:
            return operation()
        except (Unavailable, UnknownOutcome):
            clock.advance(2)
    raise AssertionError("never answered, although the disk was mended")


def _check_never_reused(fs: FaultFileSystem, nth: int) -> None:
    """A WAL file whose sync failed is not written or synced again."""
    syncs = [at for at, (operation, _) in enumerate(fs.log) if operation == "sync"]
    failed = syncs[nth - 1]
    path = fs.log[failed][1]
    if "/wal/" in path:
        later = [operation for operation, changed in fs.log[failed + 1 :] if changed == path]
        assert not {"write", "sync"} & set(later), f"{path} was used again: {later}"
