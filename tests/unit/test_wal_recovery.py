"""Reading back: cuts, flipped bytes, superseded tails, stale bytes, missing files."""

from __future__ import annotations

import pytest

from core.errors import Corrupt
from storage.wal_file import ActiveFile
from storage.wal_format import FILE_HEADER_BYTES, FileHeader, encode_header
from storage.wal_recovery import inspect_wal
from tests.support.simfs import SimFileSystem
from tests.support.wal_scenario import DIRECTORY, SHARD, append, batch, open_wal, opened, replayed


def put(fs: SimFileSystem, name: str, data: bytes) -> None:
    """Replace a file's bytes."""
    path = f"{DIRECTORY}/{name}"
    if fs.exists(path):
        fs.unlink(path)
    fs.make_directories(DIRECTORY)
    fs.create(path).write(data)


def files(fs: SimFileSystem) -> dict[str, bytes]:
    return {name: fs.read(f"{DIRECTORY}/{name}") for name in fs.list(DIRECTORY)}


def with_files(contents: dict[str, bytes]) -> SimFileSystem:
    fs = SimFileSystem()
    for name, data in contents.items():
        put(fs, name, data)
    return fs


def raw_file(fs: SimFileSystem, epoch: int, number: int, base_offset: int) -> ActiveFile:
    fs.make_directories(DIRECTORY)
    return ActiveFile(fs, DIRECTORY, FileHeader(SHARD, epoch, number, epoch * 100 + number, base_offset))


def write(file: ActiveFile, *records) -> None:
    file.append((record, encode_header(record)) for record in records)


def test_an_empty_or_absent_directory_begins_at_the_floor() -> None:
    found = replayed(SimFileSystem(), floor=17)
    assert found.records == []
    assert (found.recovery.next_offset, found.recovery.next_file_number, found.recovery.last_epoch) == (17, 0, 0)


def test_t7_a_wal_cut_at_any_byte_gives_the_whole_records_before_the_cut() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    (name,) = fs.list(DIRECTORY)
    ends, records = [], []
    for offset in range(30):
        record = opened(offset) if offset % 7 == 3 else batch(sum(1 for r in records if hasattr(r, "rows")))
        append(wal, record, sync=False)
        records.append(record)
        ends.append(fs.size(f"{DIRECTORY}/{name}"))
    data = fs.read(f"{DIRECTORY}/{name}")
    for cut in range(FILE_HEADER_BYTES, len(data) + 1):
        found = replayed(with_files({name: data[:cut]}))
        whole = sum(end <= cut for end in ends)
        assert found.records == records[:whole] and not any(found.synced)
        kept = ends[whole - 1] if whole else FILE_HEADER_BYTES
        assert [(tail.position, tail.bytes) for tail in found.recovery.torn] == (
            [(kept, cut - kept)] if cut > kept else []
        )
    for cut in range(FILE_HEADER_BYTES):
        with pytest.raises(Corrupt, match="header"):
            replayed(with_files({name: data[:cut]}))


def test_t7_a_synced_wal_cut_at_any_byte_keeps_every_whole_record() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    (name,) = fs.list(DIRECTORY)
    ends = []
    for offset in range(12):
        append(wal, batch(offset))
        ends.append(fs.size(f"{DIRECTORY}/{name}") - 32)  # its mark follows
    data = fs.read(f"{DIRECTORY}/{name}")
    for cut in range(FILE_HEADER_BYTES, len(data) + 1):
        found = replayed(with_files({name: data[:cut]}))
        assert found.records == [batch(offset) for offset in range(sum(end <= cut for end in ends))]


def flips(contents: dict[str, bytes]):
    for name, data in contents.items():
        for at in range(len(data)):
            for mask in (0x01, 0x80, 0xFF):
                damaged = bytearray(data)
                damaged[at] ^= mask
                yield name, at, {**contents, name: bytes(damaged)}


def test_t8_a_flipped_byte_is_reported_or_harmless() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    for offset in range(3):
        append(wal, batch(offset))
    wal.rotate()
    append(wal, opened(2))
    append(wal, batch(3))
    append(wal, batch(4), sync=False)
    second = open_wal(fs, epoch=2)
    append(second, batch(5))
    append(second, batch(6), sync=False)
    append(second, batch(7), sync=False)
    contents = files(fs)
    before = replayed(fs)
    last = max(contents)
    outcomes = {"corrupt": 0, "same": 0, "unsynced lost": 0}
    for name, at, damaged in flips(contents):
        try:
            found = replayed(with_files(damaged))
        except Corrupt:
            outcomes["corrupt"] += 1
            continue
        if found.records == before.records:
            outcomes["same"] += 1
            continue
        outcomes["unsynced lost"] += 1
        assert name == last, (name, at)
        assert found.records == before.records[: len(found.records)], (name, at)
        assert len(found.records) >= sum(before.synced), (name, at)
        assert found.recovery.torn, (name, at)
    assert all(outcomes.values()), outcomes


def test_damage_before_a_mark_names_file_place_offsets_and_next_step() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    for offset in range(4):
        append(wal, batch(offset))
    (name,) = fs.list(DIRECTORY)
    data = bytearray(fs.read(f"{DIRECTORY}/{name}"))
    data[FILE_HEADER_BYTES + 20] ^= 1
    damaged = with_files({name: bytes(data)})
    with pytest.raises(Corrupt) as caught:
        replayed(damaged)
    for part in (f"{DIRECTORY}/{name}", f"damaged at {FILE_HEADER_BYTES}", "up to offset 3", "restore it"):
        assert part in str(caught.value)
    assert files(damaged) == {name: bytes(data)}
    lines = list(inspect_wal(damaged, f"{DIRECTORY}/{name}"))
    assert [line["ok"] for line in lines] == [True, False] and "damage" in lines[-1]["reason"]


def test_a_zeroed_length_in_the_middle_is_damage_not_the_end() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    for offset in range(3):
        append(wal, batch(offset))
    (name,) = fs.list(DIRECTORY)
    data = bytearray(fs.read(f"{DIRECTORY}/{name}"))
    data[FILE_HEADER_BYTES : FILE_HEADER_BYTES + 4] = bytes(4)
    with pytest.raises(Corrupt, match="zero length"):
        replayed(with_files({name: bytes(data)}))


def test_zeros_after_the_last_record_are_the_end() -> None:
    fs = SimFileSystem()
    append(open_wal(fs), batch(0))
    (name,) = fs.list(DIRECTORY)
    found = replayed(with_files({name: fs.read(f"{DIRECTORY}/{name}") + bytes(4096)}))
    assert found.records == [batch(0)] and found.recovery.torn[0].bytes == 4096


def test_stale_bytes_of_a_recycled_file_are_no_records() -> None:
    fs = SimFileSystem()
    old = raw_file(fs, epoch=1, number=0, base_offset=0)
    write(old, *(batch(offset) for offset in range(5)))
    old.sync()
    stale = fs.read(f"{DIRECTORY}/{old.name}")
    fresh = SimFileSystem()
    new = raw_file(fresh, epoch=2, number=1, base_offset=0)
    write(new, batch(0))
    new.sync()
    data = fresh.read(f"{DIRECTORY}/{new.name}")
    found = replayed(with_files({new.name: data + stale[len(data) :]}))
    assert found.records == [batch(0)] and found.synced == [True]
    # the same bytes, misdirected to another place of their own file
    moved = stale[:FILE_HEADER_BYTES] + bytes(8) + stale[FILE_HEADER_BYTES:]
    assert replayed(with_files({old.name: moved})).records == []


def test_a_tail_that_a_newer_epoch_replaced_is_ignored() -> None:
    fs = SimFileSystem()
    old = raw_file(fs, epoch=1, number=0, base_offset=0)
    write(old, batch(0), batch(1))
    old.sync()
    write(old, batch(2), opened(9), batch(3))  # a paused owner's late writes
    new = raw_file(fs, epoch=2, number=1, base_offset=2)
    mine = batch(2, rows=4, body=b"of epoch 2")
    write(new, mine)
    new.sync()
    found = replayed(fs)
    assert found.records == [batch(0), batch(1), mine] and found.recovery.next_offset == 6


def test_every_old_tail_is_taken_once_across_many_reopenings() -> None:
    fs = SimFileSystem()
    expected = []
    for epoch in range(1, 8):
        wal = open_wal(fs, epoch=epoch)
        for level in (True, False, False):
            record = batch(len(expected))
            append(wal, record, sync=level)
            expected.append(record)
        assert replayed(fs).records == expected
    found = replayed(fs)
    assert found.synced == [True] * (len(expected) - 2) + [False] * 2
    assert len(found.recovery.files) == 7


def test_a_same_epoch_file_without_seal_or_with_a_gap_is_damage() -> None:
    fs = SimFileSystem()
    first = raw_file(fs, epoch=1, number=0, base_offset=0)
    write(first, batch(0))
    first.sync()
    raw_file(fs, epoch=1, number=1, base_offset=1)
    with pytest.raises(Corrupt, match="no seal"):
        replayed(fs)
    first.seal()
    assert replayed(fs).records == [batch(0)]
    put(fs, first.name, fs.read(f"{DIRECTORY}/{first.name}")[:FILE_HEADER_BYTES])
    with pytest.raises(Corrupt, match="no seal"):
        replayed(fs, floor=1)


def test_offsets_missing_between_epochs_are_damage_unless_below_the_floor() -> None:
    fs = SimFileSystem()
    old = raw_file(fs, epoch=1, number=0, base_offset=0)
    write(old, batch(0))
    new = raw_file(fs, epoch=2, number=1, base_offset=3)
    write(new, batch(3))
    for floor in (0, 1, 2):
        with pytest.raises(Corrupt, match=f"{old.name}.* begins at offset 3"):
            replayed(fs, floor=floor)
    assert replayed(fs, floor=3).records == [batch(3)]
    assert replayed(fs, floor=4).records == []
    assert replayed(fs, floor=9).recovery.next_offset == 9


def test_a_missing_middle_file_is_damage() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs, file_bytes_target=1)
    for offset in range(4):
        append(wal, batch(offset))
    names = fs.list(DIRECTORY)
    fs.unlink(f"{DIRECTORY}/{names[1]}")
    with pytest.raises(Corrupt, match=names[0]):
        replayed(fs)


def test_a_file_of_another_shard_or_name_is_refused() -> None:
    fs = SimFileSystem()
    append(open_wal(fs), batch(0))
    (data,) = files(fs).values()
    with pytest.raises(Corrupt, match="put it back"):
        replayed(with_files({"00000001-00000009.wal": data}))
    alien = SimFileSystem()
    alien.make_directories(DIRECTORY)
    ActiveFile(alien, DIRECTORY, FileHeader(SHARD + 1, 1, 0, 5, 0))
    with pytest.raises(Corrupt, match=f"belongs to shard {SHARD + 1}"):
        replayed(alien)


def test_a_floor_inside_a_batch_is_refused() -> None:
    fs = SimFileSystem()
    append(open_wal(fs), batch(0, rows=4))
    with pytest.raises(Corrupt, match="floor is 2"):
        replayed(fs, floor=2)


def test_unnamed_leftovers_are_ignored_and_swept() -> None:
    fs = SimFileSystem()
    append(open_wal(fs), batch(0))
    put(fs, "00000002-00000001.wal.new", b"half a header")
    assert replayed(fs).records == [batch(0)]
    append(open_wal(fs, epoch=2), batch(1))
    assert replayed(fs).records == [batch(0), batch(1)]
    assert not [name for name in fs.list(DIRECTORY) if name.endswith(".new")]


def test_a_seal_that_outlives_an_unsynced_mark_is_no_damage() -> None:
    # Sync, mark, seal, power cut: the mark's sector is lost, the seal's is not; the data are all there.
    fs = SimFileSystem()
    file = raw_file(fs, epoch=1, number=0, base_offset=0)
    write(file, batch(0))
    file.sync()
    mark_end = file.bytes
    file.seal()
    data = bytearray(fs.read(f"{DIRECTORY}/{file.name}"))
    data[mark_end - 32 : mark_end] = bytes(32)
    found = replayed(with_files({file.name: bytes(data)}))
    assert found.records == [batch(0)] and found.recovery.torn[0].position == mark_end - 32


def test_t8_a_flipped_byte_of_a_closed_wal_never_loses_a_record() -> None:
    fs = SimFileSystem()
    wal = open_wal(fs)
    for offset in range(4):
        append(wal, batch(offset), sync=offset == 1)
    wal.close()
    before, corrupt = replayed(fs), 0
    assert all(before.synced)
    for _, _, damaged in flips(files(fs)):
        try:
            assert replayed(with_files(damaged)).records == before.records
        except Corrupt:
            corrupt += 1
    assert corrupt > 500


def test_inspecting_a_file_shorter_than_its_header_is_a_typed_error():
    fs = SimFileSystem()
    fs.make_directories("/wal")
    fs.create("/wal/00000001-00000001.wal").write(b"MLMT")
    with pytest.raises(Corrupt, match="is not a wal file"):
        list(inspect_wal(fs, "/wal/00000001-00000001.wal"))
