"""Snapshots that queries hold: taken once, kept while the query may still ask, let go of when it was forgotten."""

from __future__ import annotations

import pytest

from core.clock import ManualClock
from core.errors import Unavailable
from storage.pins import Pins
from tests.support.shards import STREAM, TENANT, append, open_on
from tests.support.simfs import SimFileSystem


def test_a_pinned_snapshot_stays_while_others_are_pinned_and_the_shard_goes_on() -> None:
    clock = ManualClock()
    shard, pins = open_on(SimFileSystem()), Pins(clock, seconds_max=10.0)
    epoch = shard.open_producer(TENANT, STREAM, "p").epoch
    append(shard, "p", epoch, 0, [0, 1])
    pins.pin("first", shard.snapshots(TENANT, [STREAM]))
    shard.flush()
    append(shard, "p", epoch, 1, [2])
    clock.advance(10)
    pins.pin("second", shard.snapshots(TENANT, [STREAM]))
    held = pins.take("first")[STREAM]
    assert (held.visible_offset, sum(batch.num_rows for batch in held.memtable), held.segments) == (2, 2, ())
    assert pins.take("second")[STREAM].visible_offset == 3
    with pytest.raises(Unavailable, match="run the query again"):
        pins.take("first")


def test_a_forgotten_or_released_snapshot_is_let_go_of() -> None:
    clock = ManualClock()
    pins = Pins(clock, seconds_max=10.0)
    for query in ("forgotten", "released"):
        pins.pin(query, {})
    pins.release("released")
    pins.release("never pinned")
    assert len(pins) == 1
    clock.advance(10.5)
    pins.expire()
    assert len(pins) == 0
