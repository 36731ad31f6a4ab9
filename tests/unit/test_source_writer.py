"""The writer of a source over a store in memory: what a day without a word and a pause of a day do to it."""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest

from core.clock import ManualClock
from core.errors import Fenced
from core.limits import SOURCE_REOPEN_S
from ingest.shred import ShredSettings, shred_dicts
from malamute.sources.writer import Patience, Refused, SourceWriter
from tests.support.memory_store import MemoryStore


class At(NamedTuple):
    n: int

    def encode(self) -> bytes:
        return b"%d" % self.n


def writer(store: MemoryStore, clock: ManualClock) -> SourceWriter:
    made = SourceWriter(store, "logs", "source", Patience(threading.Event(), lambda why: None, clock), clock)
    made.open()
    return made


def write(to: SourceWriter, n: int) -> None:
    batch = shred_dicts([{"n": n}], ShredSettings(), ingest_time_us=0).batch
    to.write(batch, (), At(n))
    to.drain()


def refuse(to: SourceWriter, n: int) -> None:
    to.write(None, [Refused({"n": n}, At(n))], At(n))


@pytest.mark.parametrize("busy", [write, refuse])
def test_the_producer_that_is_idle_is_opened_again_while_the_other_one_writes(busy):
    """A shard forgets producers one by one: events do not keep that of refused records in mind, nor the other way."""
    store, clock = MemoryStore(), ManualClock()
    source = writer(store, clock)
    write(source, 0)
    refuse(source, 1)
    for n in range(2, 10):
        clock.advance(SOURCE_REOPEN_S / 4)
        source.keep()
        busy(source, n)
    assert {key[1]: state.epoch for key, state in store.producers.items()} == {"logs": 3, "logs_refused": 3}


def test_a_writer_that_was_paused_for_a_day_does_not_take_back_what_another_one_writes():
    store, clock = MemoryStore(), ManualClock()
    paused = writer(store, clock)
    write(paused, 0)
    write(writer(store, clock), 1)
    clock.advance(SOURCE_REOPEN_S)
    with pytest.raises(Fenced, match="another writer"):
        paused.keep()
    assert [event["n"] for event in store.events["logs"]] == [0, 1]
