"""One shard without Ray: append, duplicates, fencing, flush, recovery, back-pressure, poison."""

from __future__ import annotations

import errno
import os
import random
import threading
from dataclasses import replace

import pytest

from core.append import LOCAL, MEMORY, AppendRequest
from core.clock import ManualClock
from core.errors import (
    Fenced,
    InvalidRequest,
    MalamuteError,
    Overloaded,
    SequenceGap,
    StorageInUse,
    Unavailable,
    UnknownOutcome,
)
from storage.fs import LocalFileSystem
from storage.keys import index_key
from storage.local_objects import LocalObjectStore
from storage.shard_host import ShardHost
from tests.support.faultfs import Fault, FaultFileSystem
from tests.support.shards import OPTIONS, STREAM, TENANT, WAL_DIRECTORY, append, body, objects_on, open_on, stored_rows
from tests.support.simfs import SimFileSystem


def open_producer(shard, producer="p"):
    return shard.open_producer(TENANT, STREAM, producer)


def test_acknowledged_is_visible_at_once_with_dense_offsets():
    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    first = append(shard, "p", epoch, 0, [1, 2, 3])
    second = append(shard, "p", epoch, 1, [4])
    assert (first.first_offset, first.last_offset, first.level, first.duplicate) == (0, 2, LOCAL, False)
    assert (second.first_offset, second.last_offset) == (3, 3)
    assert stored_rows(shard, objects_on(fs)) == [(0, 1), (1, 2), (2, 3), (3, 4)]


def test_a_repeated_sequence_is_acknowledged_as_duplicate_and_a_gap_is_refused():
    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [1])
    append(shard, "p", epoch, 1, [2])
    again = append(shard, "p", epoch, 1, [2])
    assert again.duplicate and (again.first_offset, again.last_offset) == (1, 1)
    older = append(shard, "p", epoch, 0, [1])
    assert older.duplicate and older.first_offset == -1
    with pytest.raises(SequenceGap) as gap:
        append(shard, "p", epoch, 5, [6])
    assert gap.value.expected == 2
    assert [n for _, n in stored_rows(shard, objects_on(fs))] == [1, 2]


@pytest.mark.parametrize("flushed", [False, True])
def test_duplicates_are_known_after_flush_and_restart(flushed):
    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    for sequence in range(5):
        append(shard, "p", epoch, sequence, [sequence], position=b"at %d" % sequence)
    if flushed:
        shard.flush()
    shard.abandon()
    again = open_on(fs)
    assert append(again, "p", epoch, 4, [4]).duplicate
    assert not append(again, "p", epoch, 5, [5]).duplicate
    assert [n for _, n in stored_rows(again, objects_on(fs))] == [0, 1, 2, 3, 4, 5]
    assert open_producer(again).position == b"at 4"


def test_a_flush_publishes_the_producers_of_its_floor_not_of_its_end():
    fs = SimFileSystem()
    meanwhile = FaultFileSystem(fs)
    shard = open_on(meanwhile)
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [0])

    def append_during_the_upload(operation: str, path: str) -> None:
        if operation == "link" and path.endswith(".parquet"):
            append(shard, "p", epoch, 1, [1], MEMORY)

    states: list[SimFileSystem] = []

    def cut_power_after_the_manifest(operation: str, path: str) -> None:
        if operation == "sync_directory" and path.endswith("/manifest"):
            states.extend(fs.crash_states(random.Random(0), 20))

    meanwhile.before, fs.after_operation = append_during_the_upload, cut_power_after_the_manifest
    shard.flush()
    shard.abandon()
    lost = [state for state in states if rows_after(state) == [(0, 0)]]
    assert lost
    for state in lost:
        assert not append(open_on(state), "p", epoch, 1, [1]).duplicate


def rows_after(state: SimFileSystem) -> list[tuple[int, int]]:
    shard = open_on(state)
    rows = stored_rows(shard, objects_on(state))
    shard.abandon()
    return rows


def test_reopened_producer_fences_its_older_epoch_and_begins_at_sequence_zero():
    fs = SimFileSystem()
    shard = open_on(fs)
    old = open_producer(shard)
    append(shard, "p", old.epoch, 0, [1], position=b"x")
    new = open_producer(shard)
    assert new.epoch == old.epoch + 1 and new.position == b"x"
    with pytest.raises(Fenced):
        append(shard, "p", old.epoch, 1, [2])
    assert append(shard, "p", new.epoch, 0, [2]).first_offset == 1


def test_producer_opened_just_before_a_flush_stays_fenced_after_restart():
    fs = SimFileSystem()
    shard = open_on(fs)
    old = open_producer(shard)
    append(shard, "p", old.epoch, 0, [1])
    open_producer(shard)
    shard.flush()
    shard.flush()
    shard.abandon()
    again = open_on(fs)
    with pytest.raises(Fenced):
        append(again, "p", old.epoch, 1, [2])


def test_flush_moves_everything_to_segments_and_drops_the_wal():
    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    before = shard.status()["wal_bytes"]
    for sequence in range(20):
        append(shard, "p", epoch, sequence, range(100 * sequence, 100 * sequence + 100))
    assert shard.status()["wal_bytes"] > before
    assert shard.flush() == 2000
    status = shard.status()
    assert status["memtable_rows"] == 0 and status["segments"] == 1 and status["wal_floor"] == 2000
    assert status["wal_bytes"] < 1000 and len([n for n in fs.list(WAL_DIRECTORY) if n.endswith(".wal")]) == 1
    assert [n for _, n in stored_rows(shard, objects_on(fs))] == list(range(2000))


def test_snapshot_taken_before_a_flush_keeps_its_rows():
    shard = open_on(SimFileSystem())
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [1, 2])
    snapshot = shard.snapshot(TENANT, STREAM)
    shard.flush()
    append(shard, "p", epoch, 1, [3])
    assert sum(b.num_rows for b in snapshot.memtable) == 2 and snapshot.segments == () and snapshot.visible_offset == 2


def test_streams_and_tenants_do_not_share_segments():
    shard = open_on(SimFileSystem())
    for tenant, stream in [("default", "logs"), ("default", "traces"), ("other", "logs")]:
        opened = shard.open_producer(tenant, stream, "p")
        shard.append(AppendRequest(tenant, stream, "p", opened.epoch, 0, body([1])))
    shard.flush()
    assert shard.streams() == {("default", "logs"): 1, ("default", "traces"): 1, ("other", "logs"): 1}
    assert shard.status()["segments"] == 3


def test_flush_is_due_by_size_and_by_age():
    clock = ManualClock()
    shard = open_on(SimFileSystem(), clock=clock, options=replace(OPTIONS, memtable_bytes_target=100_000))
    assert not shard.flush_due()
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [1])
    assert not shard.flush_due()
    clock.advance(61)
    assert shard.flush_due()
    shard.flush()
    append(shard, "p", epoch, 1, range(2000))
    assert shard.flush_due()


def test_a_full_memtable_refuses_and_takes_again_after_a_flush():
    shard = open_on(SimFileSystem(), options=replace(OPTIONS, memtable_bytes_max=200_000))
    epoch = open_producer(shard).epoch
    sequence = 0
    with pytest.raises(Overloaded) as refused:
        while True:
            append(shard, "p", epoch, sequence, range(500))
            sequence += 1
    assert refused.value.retry_after > 0 and sequence >= 1
    shard.flush()
    assert append(shard, "p", epoch, sequence, range(500)).duplicate is False


def test_what_a_shard_holds_stays_below_its_bound_however_long_it_runs():
    most = 300_000
    shard = open_on(SimFileSystem(), options=replace(OPTIONS, memtable_bytes_max=most))
    epoch = open_producer(shard).epoch
    held, sequence, refused = [], 0, 0
    while refused < 20:
        try:
            append(shard, "p", epoch, sequence, range(300))
            sequence += 1
        except Overloaded:
            refused += 1
            shard.flush()
            assert shard.status()["memtable_bytes"] == 0
        held.append(shard.status()["memtable_bytes"])
    assert most / 2 < max(held) <= most


def test_a_second_owner_on_the_same_host_is_refused_until_the_first_lets_go():
    fs = SimFileSystem()
    shard = open_on(fs)
    with pytest.raises(StorageInUse):
        open_on(fs)
    shard.abandon()
    open_on(fs)


def test_a_replaced_owner_cannot_publish():
    fs = SimFileSystem()
    old = open_on(fs)
    epoch = open_producer(old).epoch
    append(old, "p", epoch, 0, [1])
    old.abandon()
    new = open_on(fs)
    assert new.status()["epoch"] == old.status()["epoch"] + 1
    with pytest.raises(Fenced):
        old.flush()
    assert [n for _, n in stored_rows(new, objects_on(fs))] == [1]


def test_a_shard_without_its_wal_directory_is_not_served():
    fs = SimFileSystem()
    shard = open_on(fs)
    append(shard, "p", open_producer(shard).epoch, 0, [1])
    shard.abandon()
    with pytest.raises(Unavailable, match="bring the disk back"):
        open_on(fs, wal_directory="/new-disk")


def test_orphan_segments_of_a_crashed_flush_are_removed_at_open():
    fs = SimFileSystem()
    shard = open_on(fs)
    append(shard, "p", open_producer(shard).epoch, 0, [1])
    shard.flush()
    objects = objects_on(fs)
    live = shard.snapshot(TENANT, STREAM).segments[0].name
    orphan = live.replace("00000001.parquet", "00000099.parquet")
    objects.put_new(orphan, b"never published")
    objects.put_new(index_key(orphan), b"nor this")
    unfinished = f"{objects.local_path(live).rpartition('/')[0]}/.tmp-00000000000000aa"
    fs.create(unfinished)
    shard.close()
    open_on(fs)
    names = [info.key for info in objects.list("shards/0000/segments/")]
    assert names == [index_key(live), live] and not fs.exists(unfinished)


def test_clean_close_leaves_nothing_to_replay():
    fs = SimFileSystem()
    shard = open_on(fs)
    append(shard, "p", open_producer(shard).epoch, 0, range(10))
    shard.close()
    again = open_on(fs)
    assert again.status()["replayed_rows"] == 0 and again.status()["events"] == 10


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tenant": "Bad"}, "tenant name"),
        ({"stream": "../x"}, "stream name"),
        ({"level": "object"}, "durability level"),
        ({"producer": ""}, "producer id"),
        ({"body": b"junk"}, "not an arrow stream"),
        ({"sequence": -1}, "negative"),
        ({"epoch": 9}, "has not opened epoch"),
        ({"position": b"x" * 5000}, "position of 5000 bytes"),
    ],
)
def test_bad_requests_name_what_is_wrong(change, message):
    shard = open_on(SimFileSystem())
    epoch = open_producer(shard).epoch
    good = AppendRequest(TENANT, STREAM, "p", epoch, 0, body([1]))
    with pytest.raises(InvalidRequest, match=message):
        shard.append(replace(good, **change))
    assert append(shard, "p", epoch, 0, [1]).first_offset == 0


def test_memory_level_survives_a_kill_and_local_survives_a_power_cut():
    import random

    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [1], level=LOCAL)
    append(shard, "p", epoch, 1, [2], level=MEMORY)
    killed = open_on(fs.killed())
    assert [n for _, n in stored_rows(killed, objects_on(fs))] == [1, 2]
    for state in fs.crash_states(random.Random(1), 50):
        rows = [n for _, n in stored_rows(open_on(state), objects_on(state))]
        assert rows in ([1], [1, 2])


def test_a_duplicate_of_a_memory_level_batch_is_synced_before_it_is_acknowledged_as_local():
    import random

    fs = SimFileSystem()
    shard = open_on(fs)
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, [1], level=MEMORY)
    assert append(shard, "p", epoch, 0, [1], level=LOCAL).duplicate
    for state in fs.crash_states(random.Random(1), 50):
        assert [n for _, n in stored_rows(open_on(state), objects_on(state))] == [1]


def test_concurrent_appends_share_syncs_and_stay_exactly_once():
    fs = FaultFileSystem(SimFileSystem())
    shard = open_on(fs)
    threads, batches = 8, 25

    def work(name):
        epoch = open_producer(shard, name).epoch
        for sequence in range(batches):
            append(shard, name, epoch, sequence, [1000 * int(name[1:]) + sequence])

    workers = [threading.Thread(target=work, args=(f"p{i}",)) for i in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    rows = stored_rows(shard, objects_on(fs))
    assert [offset for offset, _ in rows] == list(range(threads * batches))
    assert len({n for _, n in rows}) == threads * batches


def test_failed_sync_poisons_and_the_host_recovers_without_loss_or_double():
    clock = ManualClock()
    sim = SimFileSystem()
    fs = FaultFileSystem(sim)
    host = ShardHost(lambda: open_on(fs, clock=clock), clock)
    epoch = host.open_producer(TENANT, STREAM, "p").epoch
    host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([1])))
    fs.plan.append(Fault("sync", fs.calls["sync"] + 1, errno.EIO, drops_unsynced=True))
    with pytest.raises(UnknownOutcome):
        host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([2])))
    clock.advance(2)
    ack = host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([2])))
    assert ack.first_offset in (1, -1)
    assert host.status()["opened"] == 2
    rows = stored_rows(host._shard, objects_on(fs))
    assert [n for _, n in rows] == [1, 2]


def test_full_disk_refuses_writes_serves_reads_and_resumes():
    clock = ManualClock()
    fs = FaultFileSystem(SimFileSystem())
    host = ShardHost(lambda: open_on(fs, clock=clock), clock)
    epoch = host.open_producer(TENANT, STREAM, "p").epoch
    host.append(AppendRequest(TENANT, STREAM, "p", epoch, 0, body([1])))
    fs.plan.append(Fault("write", fs.calls["write"] + 1, errno.ENOSPC, forever=True, written=7))
    for _ in range(5):
        clock.advance(2)
        with pytest.raises(MalamuteError):
            host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([2])))
        assert [n for _, n in stored_rows(host._shard, objects_on(fs))] == [1]
    fs.plan.clear()
    clock.advance(2)
    host.append(AppendRequest(TENANT, STREAM, "p", epoch, 1, body([2])))
    assert [n for _, n in stored_rows(host._shard, objects_on(fs))] == [1, 2]


def test_an_append_that_finds_no_room_waits_for_the_flush():
    shard = open_on(SimFileSystem(), options=replace(OPTIONS, memtable_bytes_max=10_000, admission_wait_s=30.0))
    epoch = open_producer(shard).epoch
    append(shard, "p", epoch, 0, range(700))
    acks: list[object] = []
    waiting = threading.Thread(target=lambda: acks.append(append(shard, "p", epoch, 1, range(700, 1400))))
    waiting.start()
    waiting.join(timeout=0.2)
    assert waiting.is_alive() and not acks
    shard.flush()
    waiting.join(timeout=20)
    assert len(acks) == 1 and shard.status()["overloaded"] == 0


def test_an_abandoned_shard_keeps_no_file_open(tmp_path):
    directory = str(tmp_path / "store")
    objects = LocalObjectStore(directory, LocalFileSystem())

    def open_files() -> list[str]:
        links = [os.path.realpath(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
        return [link for link in links if link.startswith(str(tmp_path))]

    for number in range(3):
        shard = open_on(LocalFileSystem(), objects=objects, wal_directory=f"{directory}/wal/0000")
        epoch = shard.open_producer(TENANT, STREAM, "p").epoch
        append(shard, "p", epoch, 0, [number])
        assert open_files()
        shard.abandon()
        assert open_files() == []
