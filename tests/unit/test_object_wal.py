"""A shard whose WAL is on the object store: order, fences, lost answers, removal, refusal. In memory, no Ray."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from core.append import LOCAL, MEMORY, OBJECT, AppendRequest
from core.clock import ManualClock, SystemClock
from core.errors import Corrupt, Fenced, InvalidRequest, InvalidSettings, Unavailable, UnknownOutcome
from storage.keys import wal_key, wal_prefix
from storage.object_wal import ObjectWal, ObjectWalOptions
from storage.object_wal_recovery import ObjectRecovery, create_or_read
from storage.shard import Shard
from storage.shard_host import ShardHost
from storage.wal_format import WalRecord
from storage.wal_object_format import FENCE_OBJECT_BYTES
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.shards import (
    STREAM,
    TENANT,
    append,
    body,
    check_exactly_once,
    objects_on,
    open_on,
    open_on_objects,
    random_id,
    stored_rows,
)
from tests.support.simfs import SimFileSystem
from tests.support.wal_scenario import batch


def open_producer(shard: Shard, producer: str = "p") -> int:
    return shard.open_producer(TENANT, STREAM, producer).epoch


def logged(objects: FlakyObjectStore) -> list[str]:
    """Names of the data objects of the WAL, fences left out."""
    found = objects.list(wal_prefix(0))
    return [info.key.rpartition("/")[2] for info in found if info.size != FENCE_OBJECT_BYTES]


def numbers(shard: Shard, objects: FlakyObjectStore) -> list[int]:
    return [n for _, n in stored_rows(shard, objects)]


def log_on(
    objects: FlakyObjectStore,
    committed: list[WalRecord],
    options: ObjectWalOptions,
    on_committed: Callable[[list[WalRecord]], None] | None = None,
) -> ObjectWal:
    take = on_committed or committed.extend
    return ObjectWal(objects, 0, 1, ObjectRecovery(0), random_id, take, SystemClock(), options)


@pytest.mark.parametrize("level", [MEMORY, LOCAL, OBJECT])
def test_every_level_is_acknowledged_as_object_when_the_object_is_there(level: str) -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    ack = append(shard, "p", epoch, 0, [1, 2], level)
    assert (ack.level, ack.first_offset, ack.last_offset) == (OBJECT, 0, 1)
    assert append(shard, "p", epoch, 0, [1, 2], level).level == OBJECT
    assert numbers(open_on_objects(objects), objects) == [1, 2]


def test_a_shard_with_a_directory_refuses_object() -> None:
    shard = open_on(SimFileSystem())
    epoch = open_producer(shard)
    with pytest.raises(InvalidRequest, match="not offered by this deployment"):
        append(shard, "p", epoch, 0, [1], OBJECT)
    assert append(shard, "p", epoch, 0, [1], LOCAL).first_offset == 0


def test_a_shard_is_never_opened_without_its_log() -> None:
    fs = SimFileSystem()
    append(shard := open_on(fs), "p", open_producer(shard), 0, [1])
    shard.abandon()
    with pytest.raises(InvalidSettings, match="is on a local disk: set durability to 'local'"):
        open_on_objects(objects_on(fs))
    objects = FlakyObjectStore()
    append(shard := open_on_objects(objects), "p", open_producer(shard), 0, [1])
    fs = SimFileSystem()
    with pytest.raises(InvalidSettings, match="is on the object store: set durability to 'object'"):
        open_on(fs, objects=objects)
    fs.create("/store/wal/0000/SHARD").close()
    with pytest.raises(InvalidSettings, match="is on the object store: set durability to 'object'"):
        open_on(fs, objects=objects)
    assert numbers(open_on_objects(objects), objects) == [1]


def test_duplicates_positions_and_epochs_of_producers_survive_the_next_owner() -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    for sequence in range(4):
        append(shard, "p", epoch, sequence, [sequence], position=b"at %d" % sequence)
        if sequence == 1:
            shard.flush()
    again = open_on_objects(objects)
    assert append(again, "p", epoch, 3, [3]).duplicate
    assert not append(again, "p", epoch, 4, [4], position=b"at 4").duplicate
    third = open_on_objects(objects)
    opened = third.open_producer(TENANT, STREAM, "p")
    assert (opened.epoch, opened.position) == (epoch + 1, b"at 4")
    with pytest.raises(Fenced, match="producer"):
        append(third, "p", epoch, 5, [5])
    assert third.fenced is None
    assert numbers(third, objects) == [0, 1, 2, 3, 4]


def test_a_replaced_owner_is_fenced_at_its_next_append_and_for_good() -> None:
    objects = FlakyObjectStore()
    clock = ManualClock()
    host = ShardHost(lambda: open_on_objects(objects, clock=clock), clock)
    epoch = host.open_producer(TENANT, STREAM, "p").epoch
    host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([1])))
    successor = open_on_objects(objects)
    for _ in range(3):
        with pytest.raises(Fenced, match="was fenced by epoch 2"):
            host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([2])))
        clock.advance(5)
    with pytest.raises(Fenced):
        host.flush()
    assert (host.status()["state"], host.status()["opened"]) == ("fenced", 1)
    assert append(successor, "p", epoch, 1, [2]).first_offset == 1
    assert numbers(open_on_objects(objects), objects) == [1, 2]


def test_an_owner_that_failed_does_not_take_the_shard_back_from_its_successor() -> None:
    objects = FlakyObjectStore()
    clock = ManualClock()
    host = ShardHost(lambda: open_on_objects(objects, clock=clock), clock)
    epoch = host.open_producer(TENANT, STREAM, "p").epoch
    objects.hook = lambda operation, key: "before"
    with pytest.raises(UnknownOutcome):
        host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([0])))
    objects.hook = None
    successor = open_on_objects(objects)
    clock.advance(2)
    with pytest.raises(Fenced, match="owned by epoch 2 now"):
        host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([0])))
    assert host.status()["state"] == "fenced"
    assert append(successor, "p", epoch, 0, [0]).first_offset == 0


def test_an_owner_that_never_wrote_is_fenced_too() -> None:
    objects = FlakyObjectStore()
    first, second = open_on_objects(objects), open_on_objects(objects)
    third = open_on_objects(objects)
    for late in (first, second):
        with pytest.raises(Fenced):
            open_producer(late)
    assert open_producer(third) == 1


def test_a_flush_removes_what_is_below_the_floor_and_leaves_every_fence() -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    for number in range(3):
        append(shard, "p", epoch, number, [number])
    assert len(logged(objects)) == 4 and shard.status()["wal_bytes"] > 0
    shard.flush()
    assert logged(objects) == [] and shard.status()["wal_bytes"] == 0
    append(shard, "p", epoch, 3, [3])
    again = open_on_objects(objects)
    append(again, "p", epoch, 4, [4])
    assert len(logged(objects)) == 2
    again.flush()
    assert logged(objects) == []
    assert [info.key for info in objects.list(wal_prefix(0))] == [wal_key(0, 1, 5)]
    assert numbers(open_on_objects(objects), objects) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("opened_last", [False, True])
def test_an_old_owner_cannot_use_a_number_that_was_removed(opened_last: bool) -> None:
    """All its objects are gone, and its own next number is still taken."""
    objects = FlakyObjectStore()
    old = open_on_objects(objects)
    epoch = open_producer(old)
    append(old, "p", epoch, 0, [0])
    if opened_last:
        open_producer(old, "q")
    new = open_on_objects(objects)
    append(new, "p", epoch, 1, [1])
    new.flush()
    newest = open_on_objects(objects)
    append(newest, "p", epoch, 2, [2])
    newest.flush()
    assert logged(objects) == []
    with pytest.raises(Fenced):
        append(old, "p", epoch, 1, [1])
    assert numbers(open_on_objects(objects), objects) == [0, 1, 2]


def test_a_request_that_arrives_after_its_object_was_removed_changes_nothing() -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    append(shard, "p", epoch, 0, [0])
    copies = {key: data for key, data in objects.objects.items() if key.startswith(wal_prefix(0))}
    shard.flush()
    append(shard, "p", epoch, 1, [1])
    objects.objects.update(copies)  # the first attempts of creates that were repeated, delivered late
    again = open_on_objects(objects)
    assert numbers(again, objects) == [0, 1] and again.status()["replayed_rows"] == 1
    assert not set(copies) & set(objects.objects), "removed by the next owner"
    with pytest.raises(Fenced):
        append(shard, "p", epoch, 2, [2])


def test_an_object_of_another_owner_that_is_removed_before_it_is_read_is_for_a_retry() -> None:
    class Removed(FlakyObjectStore):
        def get(self, key: str) -> bytes:
            self.objects.pop(key, None)
            return super().get(key)

    objects, key = Removed(), wal_key(0, 1, 1)
    objects.put_new(key, b"of another owner")
    with pytest.raises(Unavailable, match="removed meanwhile"):
        create_or_read(objects, key, b"ours")
    assert objects.list("") == []


@pytest.mark.parametrize("how", ["after", "later"])
def test_a_lost_answer_is_settled_by_what_stands_there(how: str) -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    failures = iter([how])
    objects.hook = lambda operation, key: next(failures, None) if operation == "put_new" else None
    assert append(shard, "p", epoch, 0, [0]).first_offset == 0
    objects.deliver()
    assert append(shard, "p", epoch, 1, [1]).first_offset == 1
    assert numbers(open_on_objects(objects), objects) == [0, 1]


@pytest.mark.parametrize("how", ["before", "after", "later"])
def test_a_failure_that_lasts_poisons_and_the_next_opening_knows_what_was_stored(how: str) -> None:
    objects = FlakyObjectStore()
    clock = ManualClock()
    host = ShardHost(lambda: open_on_objects(objects, clock=clock), clock)
    epoch = host.open_producer(TENANT, STREAM, "p").epoch
    host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([0])))
    objects.hook = lambda operation, key: how if operation == "put_new" and "/wal/" in key else None
    if how == "after":  # the second attempt finds what the first one created
        assert host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([1]))).first_offset == 1
    else:
        with pytest.raises(UnknownOutcome):
            host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([1])))
        assert host.status()["state"] == "read-only"
    objects.hook = None
    objects.deliver()
    clock.advance(2)
    ack = host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([1])))
    assert ack.first_offset in (1, -1) and ack.duplicate == (how != "before")
    assert numbers(open_on_objects(objects), objects) == [0, 1]


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_object_is_reported_and_nothing_is_changed(lost: int) -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    epoch = open_producer(shard)
    for number in range(3):
        append(shard, "p", epoch, number, [number])
    del objects.objects[wal_key(0, 1, lost)]
    log = {key for key in objects.objects if "/wal/" in key}
    with pytest.raises(Corrupt, match="is not there although later ones are"):
        open_on_objects(objects)
    assert {key for key in objects.objects if "/wal/" in key} == log


def test_each_flipped_or_missing_byte_of_an_object_is_reported_or_harmless() -> None:
    objects = FlakyObjectStore()
    shard = open_on_objects(objects)
    append(shard, "p", open_producer(shard), 0, [1])
    open_on_objects(objects)
    harmless = 0
    for key in (wal_key(0, 1, 0), wal_key(0, 1, 2)):  # an OPEN_PRODUCER, a fence
        whole = objects.objects[key]
        for at in range(len(whole)):
            for damaged in (whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :], whole[:at]):
                objects.objects[key] = damaged
                try:
                    assert numbers(open_on_objects(objects), objects) == [1]
                    harmless += 1
                except Corrupt:
                    pass
        objects.objects[key] = whole
    assert harmless == 9, "three zeros in each of three records, which their checksums take as zeros"


def test_records_wait_for_each_other_and_become_one_object() -> None:
    objects = FlakyObjectStore()
    committed: list[WalRecord] = []
    log = log_on(objects, committed, ObjectWalOptions(interval_s=0.2))
    tickets = [log.enqueue(batch(number), True) for number in range(5)]
    threads = [threading.Thread(target=log.commit, args=(ticket,)) for ticket in tickets]
    started_s = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started_s >= 0.15
    assert [record.first_offset for record in committed if hasattr(record, "first_offset")] == list(range(5))
    assert list(objects.objects) == [wal_key(0, 1, 0)]


def test_a_full_queue_does_not_wait_and_objects_stay_near_their_size() -> None:
    objects = FlakyObjectStore()
    log = log_on(objects, [], ObjectWalOptions(interval_s=3600.0, bytes_target=1000))
    tickets = [log.enqueue(batch(number, body=b"x" * 400), True) for number in range(9)]
    threads = [threading.Thread(target=log.commit, args=(ticket,)) for ticket in tickets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert len(objects.objects) == 3 and max(map(len, objects.objects.values())) < 2000


def test_what_is_created_early_is_acknowledged_in_order_only() -> None:
    """The first of three objects is slow: the others are there before it, and nobody is told."""
    objects = FlakyObjectStore()
    committed: list[WalRecord] = []
    gate, arrived = threading.Event(), threading.Semaphore(0)

    def hook(operation: str, key: str) -> None:
        arrived.release()
        if key == wal_key(0, 1, 0):
            gate.wait(30)

    objects.hook = hook
    log = log_on(objects, committed, ObjectWalOptions(interval_s=0.0, in_flight_max=3))
    threads = []
    for number in range(5):
        ticket = log.enqueue(batch(number), True)
        threads.append(threading.Thread(target=log.commit, args=(ticket,)))
        threads[-1].start()
        if number < 3:
            assert arrived.acquire(timeout=30)
    deadline_s = time.monotonic() + 30
    while len(objects.objects) < 2 and time.monotonic() < deadline_s:
        time.sleep(0.001)
    assert sorted(objects.objects) == [wal_key(0, 1, 1), wal_key(0, 1, 2)], "and no fourth beside the three in flight"
    assert committed == [] and log.start_at(10**9).number == 0
    gate.set()
    for thread in threads:
        thread.join(30)
    assert [record.first_offset for record in committed if hasattr(record, "first_offset")] == list(range(5))


def test_close_commits_what_waits_and_refuses_the_rest() -> None:
    objects = FlakyObjectStore()
    log = log_on(objects, [], ObjectWalOptions(interval_s=3600.0))
    ticket = log.enqueue(batch(0), True)
    waiting = threading.Thread(target=log.commit, args=(ticket,))
    waiting.start()
    log.close()
    waiting.join(30)
    assert ticket.done and ticket.failure is None and len(objects.objects) == 1
    with pytest.raises(Unavailable, match="closed"):
        log.enqueue(batch(1), True)
    log.close()
    log.abandon()
    assert log.poisoned is None


def test_a_failing_listener_ends_the_log() -> None:
    objects = FlakyObjectStore()

    def fail(records: list[WalRecord]) -> None:
        raise Unavailable("no")

    log = log_on(objects, [], ObjectWalOptions(interval_s=0.0), fail)
    with pytest.raises(UnknownOutcome):
        log.commit(log.enqueue(batch(0), True))
    with pytest.raises(Unavailable):
        log.enqueue(batch(1), True)


def test_many_threads_and_flushes_stay_exactly_once_across_owners() -> None:
    objects = FlakyObjectStore()
    acknowledged: set[int] = set()
    for life in range(3):
        shard = open_on_objects(objects, clock=SystemClock(), wal_options=ObjectWalOptions(interval_s=0.002))

        def work(number: int, shard: Shard = shard, life: int = life) -> None:
            epoch = open_producer(shard, f"p{number}")
            for sequence in range(10):
                n = life * 10_000 + number * 100 + sequence
                append(shard, f"p{number}", epoch, sequence, [n])
                acknowledged.add(n)
                if sequence == 5 and number % 3 == 0:
                    shard.flush()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    shard = open_on_objects(objects)
    assert len(acknowledged) == 240
    check_exactly_once(stored_rows(shard, objects), acknowledged, acknowledged)
