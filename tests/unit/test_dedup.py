"""Rules of dedup by id on one shard: who wins, what is late, what expires, what an acknowledgement says."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

from core.append import MEMORY, Ack, AppendRequest
from core.batch import encode_batch
from core.clock import ManualClock
from core.errors import Corrupt, InvalidRequest, InvalidSettings, NotFound, Unavailable, UnknownOutcome
from core.event_ids import event_ids
from ingest.shred import ShredSettings, shred_dicts
from storage.dedup import DedupRule, StreamIds, sorted_ids, times_of
from storage.dedup_index import IdIndex, SortedIds, order_of
from storage.dedup_run import IdRun, decode_run, encode_run
from storage.keys import ids_prefix
from storage.shard import Shard
from storage.stream_settings import Placement, StreamSettings, check_settings, settings_from_plain, settings_to_plain
from tests.support.dedup import (
    NOW_US,
    SECOND_US,
    SETTINGS,
    WINDOW_US,
    Sent,
    append_events,
    open_dedup,
    open_dedup_on_objects,
    stored_events,
)
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.shards import STREAM, TENANT, objects_on
from tests.support.simfs import SimFileSystem

NO_OFFSETS = (-1, -1)


@pytest.fixture
def fs() -> SimFileSystem:
    return SimFileSystem()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW_US)


@pytest.fixture
def shard(fs: SimFileSystem, clock: ManualClock) -> Shard:
    return open_dedup(fs, clock)


def opened(shard: Shard, producer: str = "p") -> int:
    return shard.open_producer(TENANT, STREAM, producer).epoch


def said(ack: Ack) -> tuple[bool, int, int, int]:
    return ack.duplicate, ack.duplicate_ids, ack.first_offset, ack.last_offset


def test_the_first_of_a_batch_wins_and_only_what_is_kept_has_offsets(fs: SimFileSystem, shard: Shard) -> None:
    epoch = opened(shard)
    ack = append_events(shard, "p", epoch, 0, [Sent(i, NOW_US, n) for n, i in enumerate("abacb")])
    assert said(ack) == (False, 2, 0, 2)
    ack = append_events(shard, "p", epoch, 1, [Sent(i, NOW_US, n) for n, i in enumerate("cd", 10)])
    assert said(ack) == (False, 1, 3, 3)
    assert [event.n for event in stored_events(shard, objects_on(fs))] == [0, 1, 3, 11]


def test_events_without_an_id_are_all_stored(fs: SimFileSystem, shard: Shard) -> None:
    epoch = opened(shard)
    for sequence in range(2):
        ack = append_events(shard, "p", epoch, sequence, [Sent(None, NOW_US, 1), Sent(True, NOW_US, 1)])
        assert ack.duplicate_ids == 0
    assert len(stored_events(shard, objects_on(fs))) == 4


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("flush", [False, True])
def test_a_batch_of_duplicates_only_moves_its_producer(fs, clock, shard, restart: bool, flush: bool) -> None:
    epoch = opened(shard)
    events = [Sent("a", NOW_US, 1), Sent("b", NOW_US, 2)]
    append_events(shard, "p", epoch, 0, events)
    if flush:
        shard.flush()
    assert said(append_events(shard, "p", epoch, 1, events, position=b"far")) == (False, 2, *NO_OFFSETS)
    if restart:
        shard.abandon()
        shard = open_dedup(fs.killed(), clock)
    assert said(append_events(shard, "p", epoch, 1, events)) == (True, 2, *NO_OFFSETS)
    assert said(append_events(shard, "p", epoch, 2, [Sent("c", NOW_US, 3)])) == (False, 0, 2, 2)
    assert shard.open_producer(TENANT, STREAM, "p").position == b"far"


def test_an_unsynced_batch_of_duplicates_lost_in_a_power_cut_does_not_take_the_producer_back(fs, clock, shard) -> None:
    epoch, events = opened(shard), [Sent("a", NOW_US, 1)]
    append_events(shard, "p", epoch, 0, events)
    append_events(shard, "p", epoch, 1, events, MEMORY)
    append_events(shard, "p", epoch, 2, events, MEMORY)
    states: list[SimFileSystem] = []
    fs.after_operation = lambda operation, path: states.extend(fs.crash_states(random.Random(0), 16))
    shard.flush()
    published = 0
    for state in states:
        again = open_dedup(state, clock)
        known = again._manifest.producers.get((TENANT, STREAM, "p"))
        if known is not None and known.last_sequence == 2:  # its record may be gone all the same
            published += 1
            assert append_events(again, "p", epoch, 2, events).duplicate
            assert append_events(again, "p", epoch, 3, events).duplicate_ids == 1
    assert published > 10


def test_equal_ids_in_concurrent_batches_are_stored_once(fs: SimFileSystem, shard: Shard) -> None:
    producers = [f"p{number}" for number in range(4)]
    epochs = {producer: opened(shard, producer) for producer in producers}
    acks: list[Ack] = []

    def send(producer: str) -> None:
        for sequence in range(10):
            events = [Sent(f"{sequence}-{i}", NOW_US, 100 * sequence + i) for i in range(20)]
            acks.append(append_events(shard, producer, epochs[producer], sequence, events))

    threads = [threading.Thread(target=send, args=(producer,)) for producer in producers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(ack.duplicate_ids for ack in acks) == 3 * 200
    numbers = [event.n for event in stored_events(shard, objects_on(fs))]
    assert len(numbers) == len(set(numbers)) == 200


def test_late_events_are_stored_marked_and_counted(fs, clock, shard) -> None:
    epoch, old = opened(shard), Sent("old", NOW_US - WINDOW_US - SECOND_US, 2)
    append_events(shard, "p", epoch, 0, [Sent("a", NOW_US, 1)])
    for sequence in (1, 2):
        ack = append_events(shard, "p", epoch, sequence, [old, Sent("b", NOW_US, 3)])
        assert (ack.late, ack.duplicate_ids) == (1, sequence - 1)
    retried = append_events(shard, "p", epoch, 2, [old, Sent("b", NOW_US, 3)])
    assert (retried.duplicate, retried.late, retried.duplicate_ids) == (True, 1, 1)
    shard.flush()
    assert [(e.n, e.late) for e in stored_events(shard, objects_on(fs))] == [
        (1, False),
        (2, True),
        (3, False),
        (2, True),
    ]


def test_ids_expire_by_event_time_in_memory_and_on_storage(fs, clock, shard) -> None:
    epoch = opened(shard)
    append_events(shard, "p", epoch, 0, [Sent("a", NOW_US, 1)])
    shard.flush()
    clock.advance(WINDOW_US / SECOND_US + 9)  # the slice of "a" ends 1 s within the window
    append_events(shard, "p", epoch, 1, [Sent("b", clock.now_us(), 2)])
    assert append_events(shard, "p", epoch, 2, [Sent("a", clock.now_us(), 3)]).duplicate_ids == 1
    clock.advance(2)
    append_events(shard, "p", epoch, 3, [Sent("c", clock.now_us(), 4)])
    assert append_events(shard, "p", epoch, 4, [Sent("a", clock.now_us(), 5)]).duplicate_ids == 0
    assert shard.status()["dedup_ids"] == 3
    shard.flush()
    runs = shard._manifest.id_runs[TENANT, STREAM].runs
    assert [run.ids for run in runs] == [1, 2] and runs[0].start_us == NOW_US + 80 * SECOND_US
    assert {info.key for info in objects_on(fs).list(ids_prefix(0))} == {run.name for run in runs}


def test_a_time_in_the_future_expires_nothing(fs, clock, shard) -> None:
    epoch = opened(shard)
    append_events(shard, "p", epoch, 0, [Sent("a", NOW_US, 1), Sent("z", NOW_US + 10**15, 2)])
    ack = append_events(shard, "p", epoch, 1, [Sent("a", NOW_US, 3), Sent("z", NOW_US, 4)])
    assert (ack.duplicate_ids, ack.late) == (2, 0)


def test_an_id_that_expires_with_the_batch_that_brings_it_is_not_known_again(fs, clock, shard) -> None:
    epoch = opened(shard)
    ago_us = [slices * WINDOW_US // 8 for slices in (10, 20_000, 40_000, 60_000, 80_000)]  # 16 bits tell slices apart
    sent = [Sent(f"{ago}", NOW_US - ago, 1) for ago in ago_us]
    assert append_events(shard, "p", epoch, 0, [*sent, Sent("now", NOW_US, 2)]).late == 0
    ack = append_events(shard, "p", epoch, 1, [Sent(f"{ago}", NOW_US, 3) for ago in ago_us])
    assert ack.duplicate_ids == 0


def test_a_flush_that_replaces_a_run_while_it_is_read_does_no_harm(clock) -> None:
    objects = FlakyObjectStore()
    shard = open_dedup_on_objects(objects, clock)
    append_events(shard, "p", opened(shard), 0, [Sent("a", NOW_US, 1)])
    shard.flush()
    append_events(shard, "p", 1, 1, [Sent("b", NOW_US, 2)])
    again = open_dedup_on_objects(objects, clock)
    epoch, flushed = opened(again), []

    def flush_first(operation: str, key: str) -> None:
        if operation == "get" and key.endswith(".ids") and not flushed:
            flushed.append(key)
            assert again.flush() == 1 and key not in objects.objects

    objects.hook = flush_first
    ack = append_events(again, "p", epoch, 0, [Sent("a", NOW_US, 3), Sent("b", NOW_US, 4)])
    assert flushed and ack.duplicate_ids == 2


def test_runs_are_few_and_read_when_the_stream_is_first_written_to(fs, clock, shard) -> None:
    epoch = opened(shard)
    for sequence in range(20):
        append_events(shard, "p", epoch, sequence, [Sent(f"{sequence}", NOW_US, sequence)])
        shard.flush()
    assert len(objects_on(fs).list(ids_prefix(0))) <= 5  # 16 + 4 ids in runs that halve
    shard.abandon()
    reads: list[str] = []
    objects = FlakyObjectStore(lambda operation, key: reads.append(key) if operation == "get" else None)
    objects.objects = {info.key: objects_on(fs).get(info.key) for info in objects_on(fs).list("shards/")}
    again = open_dedup(fs.killed(), clock, objects=objects)
    assert not [key for key in reads if key.endswith(".ids")]
    ack = append_events(again, "q", opened(again, "q"), 0, [Sent(f"{i}", NOW_US, i) for i in range(25)])
    assert ack.duplicate_ids == 20
    assert [key for key in reads if key.endswith(".ids")]


def test_a_run_that_cannot_be_read_refuses_appends_and_is_tried_again(fs, clock, shard) -> None:
    append_events(shard, "p", opened(shard), 0, [Sent("a", NOW_US, 1)])
    shard.flush()
    shard.abandon()
    objects = FlakyObjectStore()
    objects.objects = {info.key: objects_on(fs).get(info.key) for info in objects_on(fs).list("shards/")}
    again = open_dedup(fs.killed(), clock, objects=objects)
    epoch = opened(again)
    objects.hook = lambda operation, key: "before" if key.endswith(".ids") else None
    with pytest.raises(Unavailable):
        append_events(again, "p", epoch, 0, [Sent("a", NOW_US, 2)])
    objects.hook = None
    assert append_events(again, "p", epoch, 0, [Sent("a", NOW_US, 2)]).duplicate_ids == 1
    run = next(key for key in objects.objects if key.endswith(".ids"))
    again.abandon()
    for damage, error in (({}, NotFound), ({run: objects.objects[run][:-1] + b"x"}, Corrupt)):
        broken = FlakyObjectStore()
        broken.objects = {key: data for key, data in objects.objects.items() if key != run} | damage
        third = open_dedup(fs.killed(), clock, objects=broken)
        with pytest.raises(error, match="restore it"):
            append_events(third, "p", opened(third), 0, [Sent("a", NOW_US, 2)])
        third.abandon()


@pytest.mark.parametrize("failure", ["before", "after"])
@pytest.mark.parametrize("what", ["ids/", "manifest/", "segments/"])
def test_a_flush_that_fails_anywhere_is_tried_again_without_harm(clock, what: str, failure: str) -> None:
    objects = FlakyObjectStore()
    shard = open_dedup_on_objects(objects, clock)
    epoch = opened(shard)
    append_events(shard, "p", epoch, 0, [Sent("a", NOW_US, 1)])
    objects.hook = lambda operation, key: failure if operation == "put_new" and what in key else None
    with pytest.raises((Unavailable, UnknownOutcome)):
        shard.flush()
    assert append_events(shard, "p", epoch, 1, [Sent("a", NOW_US, 2), Sent("b", NOW_US, 3)]).duplicate_ids == 1
    objects.hook = None
    shard.flush()
    shard.flush()
    successor = open_dedup_on_objects(objects, clock)
    ack = append_events(successor, "p", opened(successor), 0, [Sent("a", NOW_US, 4), Sent("b", NOW_US, 5)])
    assert ack.duplicate_ids == 2
    named = {run.name for ids in successor._manifest.id_runs.values() for run in ids.runs}
    assert {key for key in objects.objects if key.endswith(".ids")} == named


def test_a_successor_knows_the_ids_that_the_wal_objects_hold(clock) -> None:
    objects = FlakyObjectStore()
    first = open_dedup_on_objects(objects, clock)
    append_events(first, "p", opened(first), 0, [Sent("a", NOW_US, 1)])
    second = open_dedup_on_objects(objects, clock)  # the first is alive, and fenced
    assert append_events(second, "q", opened(second, "q"), 0, [Sent("a", NOW_US, 2)]).duplicate_ids == 1


def test_a_batch_for_another_shard_is_refused(fs, clock) -> None:
    settings = StreamSettings(STREAM, dedup_key="id", placements=(Placement(1, 0, 4),))
    shard = open_dedup(fs, clock, settings=settings)
    with pytest.raises(InvalidRequest, match="must go to the shard of their id"):
        append_events(shard, "p", opened(shard), 0, [Sent(f"{i}", NOW_US, i) for i in range(20)])


def test_an_attribute_named_as_the_mark_is_refused_when_it_is_a_truth(shard) -> None:
    batch = shred_dicts([{"id": "a", "_late": True}], ShredSettings(), ingest_time_us=NOW_US).batch
    assert batch is not None
    with pytest.raises(InvalidRequest, match="rename yours"):
        shard.append(AppendRequest(TENANT, STREAM, "p", opened(shard), 0, encode_batch(batch)))


def test_too_many_ids_make_the_oldest_late(fs, clock) -> None:
    known = StreamIds(DedupRule("id", WINDOW_US), ids_max=100)
    for second in range(0, 70, 10):
        events = [{"id": f"{second}-{i}", "timestamp": (NOW_US + second * SECOND_US) // 10**6} for i in range(20)]
        batch = shred_dicts(events, ShredSettings(), ingest_time_us=NOW_US).batch
        assert batch is not None
        ids = sorted_ids(event_ids(batch, "id"), times_of(batch))
        judged = known.judge(ids, NOW_US + second * SECOND_US)
        assert (judged.duplicates, judged.late) == (0, 0)
        known.take(judged)
    assert len(known.index) == 100
    assert known.late_before_us == NOW_US + 20 * SECOND_US


def test_settings_are_checked_and_absent_from_catalogs_without_them() -> None:
    for wrong in ({"dedup_key": ""}, {"dedup_key": "id", "dedup_window": 10}, {"dedup_window": WINDOW_US}):
        with pytest.raises(InvalidSettings):
            check_settings(StreamSettings(STREAM, **wrong))
    assert check_settings(SETTINGS) == settings_from_plain(settings_to_plain(SETTINGS))
    assert not [name for name in settings_to_plain(StreamSettings(STREAM)) if name.startswith("dedup")]


def test_order_and_index_agree_with_sets_also_when_hashes_crowd() -> None:
    rng = np.random.default_rng(7)
    for bits in (64, 3):  # of the hashes; with few bits, most are equal or share their topmost
        index, known, oldest = IdIndex(), dict[tuple[int, int], int](), 0
        for turn in range(60):
            high = rng.integers(0, 2**bits, 300, dtype=np.uint64)
            low = rng.integers(0, 50, 300, dtype=np.uint64)
            order = order_of(high, low)
            assert order.tolist() == np.lexsort((low, high)).tolist()
            high, low = high[order], low[order]
            pairs = list(zip(high.tolist(), low.tolist(), strict=True))
            found = index.known(high, low)
            assert found.tolist() == [pair in known for pair in pairs]
            fresh = ~found
            fresh[1:] &= (high[1:] != high[:-1]) | (low[1:] != low[:-1])
            index.add(SortedIds(high[fresh], low[fresh], np.full(fresh.sum(), turn, np.uint16)))
            known |= {pair: turn for pair, new in zip(pairs, fresh.tolist(), strict=True) if new}
            if turn % 10 == 9:
                oldest = turn - 5
                index.forget_before(oldest)
                known = {pair: at for pair, at in known.items() if at >= oldest}
            assert len(index) == len(known)


def test_the_worked_example_of_the_format_page_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "formats" / "ids.md").read_text("utf-8")
    lines = page.split("```hex\n")[1].split("```")[0].splitlines()
    high, low = (np.array([one, other], np.uint64) for one, other in ((1, 0x0102030405060708), (3, 0x1112131415161718)))
    data, _ = encode_run(NOW_US, NOW_US + 10 * SECOND_US, high, low)
    assert data == bytes.fromhex("".join(line.split("  ")[1] for line in lines))


def test_every_flipped_byte_of_a_run_is_noticed() -> None:
    high, low = np.array([1, 2, 2], np.uint64), np.array([9, 1, 3], np.uint64)
    data, crc = encode_run(0, 10, high, low)
    run = IdRun("shards/0000/ids/x", 0, 10, 3, crc)
    assert [column.tolist() for column in decode_run(data, run)] == [[1, 2, 2], [9, 1, 3]]
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(Corrupt):
            decode_run(bytes(damaged), run)
    with pytest.raises(Corrupt):
        decode_run(data[:-1], run)
