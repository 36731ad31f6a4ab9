"""The write side: group commit, rotation, removal, and what happens after a failure."""

from __future__ import annotations

import contextlib
import errno
import threading

import pytest

import storage.wal
from core.errors import Corrupt, InvalidRequest, InvariantViolation, Unavailable, UnknownOutcome
from storage.fs import LocalFileSystem
from storage.wal_file import ActiveFile
from storage.wal_format import FileHeader, encode_header
from storage.wal_recovery import inspect_wal
from tests.support.faultfs import ANY, Fault, FaultFileSystem
from tests.support.simfs import SimFileSystem
from tests.support.wal_scenario import DIRECTORY, SHARD, append, batch, open_wal, opened, replayed


def test_what_was_committed_is_replayed(tmp_path) -> None:
    fs, directory = LocalFileSystem(), str(tmp_path / "wal")
    committed = []
    wal = open_wal(fs, directory=directory, on_committed=committed.extend)
    records = [opened(1), batch(0), batch(1, rows=5), opened(2), batch(6, body=b"x" * 100_000)]
    for number, record in enumerate(records):
        append(wal, record, sync=number % 2 == 0)
    assert committed == records
    found = replayed(fs, directory=directory)
    assert found.records == records and all(found.synced)
    assert found.recovery.next_offset == found.recovery.base_offset == 7
    assert found.recovery.bytes == wal.bytes and found.recovery.records == 5
    wal.close()
    wal.close()
    with pytest.raises(Unavailable, match="closed"):
        wal.enqueue(batch(7), sync=True)
    with pytest.raises(Unavailable, match="closed"):
        wal.rotate()
    (name,) = fs.list(directory)
    types = [line["type"] for line in inspect_wal(fs, f"{directory}/{name}")]
    assert types[:3] == ["FILE", "OPEN_PRODUCER", "MARK"] and types[-1] == "SEAL"


def test_memory_level_is_written_but_not_synced_and_a_later_sync_covers_it() -> None:
    fs = FaultFileSystem(SimFileSystem())
    wal = open_wal(fs)
    before = fs.calls["sync"]
    append(wal, batch(0), sync=False)
    append(wal, batch(1), sync=False)
    assert fs.calls["sync"] == before
    assert replayed(fs).synced == [False, False]
    append(wal, batch(2), sync=True)
    append(wal, batch(3), sync=False)
    found = replayed(fs)
    assert found.synced == [True, True, True, False]
    assert (found.recovery.base_offset, found.recovery.next_offset) == (3, 4)


def test_one_record_that_asks_for_a_sync_syncs_its_whole_group() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    tickets = [wal.enqueue(batch(0), sync=False), wal.enqueue(batch(1), sync=True), wal.enqueue(batch(2), sync=False)]
    wal.commit(tickets[0])
    assert replayed(fs).synced == [True, True, True]
    for ticket in tickets:
        wal.commit(ticket)


def test_a_failed_or_sealed_file_refuses_to_be_written() -> None:
    fs = FaultFileSystem(SimFileSystem())
    fs.make_directories(DIRECTORY)
    failed = ActiveFile(fs, DIRECTORY, FileHeader(SHARD, 1, 0, 5, 0))
    fs.plan.append(Fault("write", fs.calls["write"] + 1, errno.ENOSPC))
    with pytest.raises(OSError):
        failed.append([(batch(0), encode_header(batch(0)))])
    sealed = ActiveFile(fs, DIRECTORY, FileHeader(SHARD, 1, 1, 6, 0))
    sealed.seal()
    for file in (failed, sealed):
        for act in (file.sync, file.seal, lambda file=file: file.append([(opened(1), encode_header(opened(1)))])):
            with pytest.raises(InvariantViolation, match="WAL-6"):
                act()


def test_waiting_committers_share_one_sync_in_offset_order() -> None:
    everyone_queued = threading.Event()
    opened_already = threading.Event()

    def before(operation: str, path: str) -> None:
        if operation == "write" and opened_already.is_set():
            assert everyone_queued.wait(30)

    fs = FaultFileSystem(SimFileSystem(), before=before)
    groups = []
    wal = open_wal(fs, on_committed=lambda records: groups.append(list(records)))
    opened_already.set()
    syncs, writes = fs.calls["sync"], fs.calls["write"]
    queue_lock = threading.Lock()
    offsets = iter(range(400))
    failures = []

    def work() -> None:
        try:
            for _ in range(50):
                with queue_lock:
                    offset = next(offsets)
                    ticket = wal.enqueue(batch(offset), sync=True)
                if offset == 7:
                    everyone_queued.set()
                wal.commit(ticket)
        except BaseException as error:
            failures.append(error)
            everyone_queued.set()
            raise

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures and not any(thread.is_alive() for thread in threads)
    assert [record.first_offset for group in groups for record in group] == list(range(400))
    assert fs.calls["sync"] - syncs == len(groups) < 400
    assert fs.calls["write"] - writes == 2 * len(groups)  # the group, and its mark
    assert [record.first_offset for record in replayed(fs).records] == list(range(400))


def test_files_rotate_by_size_and_go_when_below_the_floor() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs, file_bytes_target=600)
    for offset in range(20):
        append(wal, batch(offset))
    names = fs.list(DIRECTORY)
    assert len(names) > 3
    assert all(replayed(fs).synced) and len(replayed(fs).records) == 20
    needed = [file.needed_until for file in replayed(fs).recovery.files]
    assert wal.remove_below(needed[0] - 1) == 0
    assert wal.remove_below(needed[1]) == 2
    assert fs.list(DIRECTORY) == names[2:]
    found = replayed(fs, floor=needed[1])
    assert [record.first_offset for record in found.records] == list(range(needed[1], 20))
    assert found.recovery.bytes == wal.bytes
    assert wal.remove_below(10**9) == len(names) - 3
    assert fs.list(DIRECTORY) == names[-1:]
    with pytest.raises(Corrupt, match="restore older files"):
        replayed(fs, floor=needed[1])


def test_a_file_with_a_producer_opened_at_the_floor_stays() -> None:
    # The flush that moved the floor to 2 may have saved the producers before this one was opened.
    fs = SimFileSystem()
    wal = open_wal(fs)
    append(wal, batch(0, rows=2))
    append(wal, opened(5))
    wal.rotate()
    assert wal.remove_below(2) == 0
    assert replayed(fs, floor=2).records == [opened(5)]
    append(wal, batch(2))
    assert wal.remove_below(3) == 1


def test_a_file_that_cannot_be_removed_is_tried_again() -> None:
    fs = FaultFileSystem(SimFileSystem())
    wal = open_wal(fs)
    append(wal, batch(0))
    wal.rotate()
    fs.plan.append(Fault("unlink", 1, errno.EBUSY))
    with pytest.raises(Unavailable, match="it stays until retried"):
        wal.remove_below(1)
    assert wal.poisoned is None and wal.remove_below(1) == 1


def test_a_reopened_wal_carries_the_unsynced_tail_and_counts_older_files() -> None:
    fs = SimFileSystem()
    first = open_wal(fs, epoch=1)
    append(first, batch(0))
    for record in (batch(1, rows=3), opened(2), batch(4)):
        append(first, record, sync=False)
    committed = []
    second = open_wal(fs, epoch=2, on_committed=committed.extend)
    assert committed == []
    found = replayed(fs)
    assert found.batches == [batch(0), batch(1, rows=3), batch(4)] and all(found.synced)
    assert found.records.count(opened(2)) == 1
    assert second.bytes == found.recovery.bytes
    append(second, batch(5))
    assert second.remove_below(5) == 1
    assert replayed(fs, floor=5).batches == [batch(5)]


def test_an_epoch_is_used_once() -> None:
    fs = SimFileSystem()
    open_wal(fs, epoch=4)
    with pytest.raises(InvariantViolation, match="WAL-8"):
        open_wal(fs, epoch=4)


def test_offsets_must_be_dense_and_records_not_too_large(monkeypatch) -> None:
    wal = open_wal(SimFileSystem())
    append(wal, batch(0, rows=4))
    for offset in (3, 5):
        with pytest.raises(InvariantViolation, match="WAL-3"):
            wal.enqueue(batch(offset), sync=True)
    monkeypatch.setattr(storage.wal, "WAL_RECORD_BYTES_MAX", 1000)
    with pytest.raises(InvalidRequest, match="at most 1000"):
        wal.enqueue(batch(4, body=b"x" * 1000), sync=True)
    append(wal, batch(4))
    assert wal.poisoned is None


def test_a_callback_that_fails_poisons() -> None:
    def refuse(records) -> None:
        raise Corrupt("no")

    wal = open_wal(SimFileSystem(), on_committed=refuse)
    with pytest.raises(UnknownOutcome):
        append(wal, batch(0))
    assert wal.poisoned == "Corrupt: no"
    with pytest.raises(Unavailable):
        wal.enqueue(batch(1), sync=True)


def test_what_could_not_be_synced_is_never_said_to_be_committed() -> None:
    fs = FaultFileSystem(SimFileSystem())
    committed: list[object] = []
    wal = open_wal(fs, on_committed=committed.extend)
    append(wal, batch(0))
    fs.plan.append(Fault("sync", fs.calls["sync"] + 1, errno.EIO))
    with pytest.raises(UnknownOutcome):
        append(wal, batch(1))
    assert committed == [batch(0)]


def test_only_the_group_in_flight_has_an_unknown_outcome() -> None:
    reached, go_on = threading.Event(), threading.Event()

    def before(operation: str, path: str) -> None:
        if operation == "sync" and fs.plan:
            reached.set()
            assert go_on.wait(30)

    fs = FaultFileSystem(SimFileSystem(), before=before)
    wal = open_wal(fs)
    fs.plan.append(Fault("sync", fs.calls["sync"] + 1, errno.EIO))
    in_flight, queued = wal.enqueue(batch(0), sync=True), None
    outcomes = {}

    def commit(name: str, ticket) -> None:
        try:
            wal.commit(ticket)
        except (UnknownOutcome, Unavailable) as error:
            outcomes[name] = type(error)

    leader = threading.Thread(target=commit, args=("in flight", in_flight))
    leader.start()
    assert reached.wait(30)
    queued = wal.enqueue(batch(1), sync=True)
    follower = threading.Thread(target=commit, args=("queued", queued))
    follower.start()
    go_on.set()
    leader.join(30)
    follower.join(30)
    assert outcomes == {"in flight": UnknownOutcome, "queued": Unavailable}
    assert batch(1) not in replayed(fs).records


def run_until_failure(fs: FaultFileSystem) -> tuple[list, list]:
    """Append with rotation until something fails, then try everything again: (acknowledged, tried) offsets."""
    acknowledged, tried = [], []
    try:
        wal = open_wal(fs, file_bytes_target=500)
    except Unavailable:
        return acknowledged, tried
    for offset in range(12):
        tried.append(batch(offset))
        try:
            append(wal, batch(offset), sync=offset % 3 != 1)
            acknowledged.append(batch(offset))
            if offset == 8:
                wal.rotate()
        except (UnknownOutcome, Unavailable):
            break
    if wal.poisoned is not None:
        changes = fs.log[:]
        bytes_before = {name: fs.inner.size(f"{DIRECTORY}/{name}") for name in fs.list(DIRECTORY)}
        with pytest.raises(Unavailable):
            wal.enqueue(batch(len(tried)), sync=True)
        with pytest.raises(Unavailable):
            wal.rotate()
        wal.close()
        assert fs.log == changes, "a poisoned wal must not touch its files"
        assert bytes_before == {name: fs.inner.size(f"{DIRECTORY}/{name}") for name in fs.list(DIRECTORY)}
    else:
        with contextlib.suppress(Unavailable):
            wal.close()
    return acknowledged, tried


@pytest.mark.parametrize("drops_unsynced", [False, True])
def test_t9_after_a_failed_sync_nothing_is_acknowledged_or_written(drops_unsynced) -> None:
    nth, hits = 0, 1
    while hits:
        nth += 1
        fs = FaultFileSystem(SimFileSystem(), [Fault("sync", nth, errno.EIO, drops_unsynced=drops_unsynced)])
        acknowledged, tried = run_until_failure(fs)
        hits = len(fs.hits)
        fs.plan.clear()
        # memory level survives a failed sync only while the page cache keeps it
        durable = acknowledged if not drops_unsynced else [r for r in acknowledged if r.first_offset % 3 != 1]
        found = replayed(fs).records
        assert found == tried[: len(found)] and all(record in found for record in durable)
        reopened = open_wal(fs, epoch=2)
        append(reopened, batch(len(found)))
        assert replayed(fs).records == [*found, batch(len(found))] and all(replayed(fs).synced)
    assert nth > 12


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("fault", [{}, {"forever": True}, {"after": True}, {"written": 13}])
def test_t10_an_error_at_any_operation_loses_nothing_acknowledged(fault, code) -> None:
    nth, hits = 0, 1
    while hits:
        nth += 1
        fs = FaultFileSystem(SimFileSystem(), [Fault(ANY, nth, code, **fault)])
        acknowledged, tried = run_until_failure(fs)
        hits = len(fs.hits)
        fs.plan.clear()
        found = replayed(fs).records
        assert found == tried[: len(found)] and found[: len(acknowledged)] == acknowledged
        wal = open_wal(fs, epoch=2)
        append(wal, batch(len(found)))
        assert replayed(fs).records == [*found, batch(len(found))]
    assert nth > 40


def test_an_unreadable_disk_is_unavailable_not_corrupt() -> None:
    fs = FaultFileSystem(SimFileSystem())
    append(open_wal(fs), batch(0))
    fs.plan.append(Fault("read", fs.calls["read"] + 1, errno.EIO))
    with pytest.raises(Unavailable, match="check the disk"):
        replayed(fs)
