"""The verification of a storage: a sound one has no findings, and every kind of damage is named as what it is."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import google_crc32c
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.clock import ManualClock
from core.errors import NotFound, Unavailable
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.manifest import Manifest
from storage.open_objects import open_object_store
from storage.segment_index_format import ColumnIndex, decode_index, encode_index
from storage.string_zone_maps import string_zone_map
from storage.verify import verify_storage
from storage.verify_report import (
    CORRUPT,
    DOUBLE,
    FINDINGS_MAX,
    GAP,
    MISSING,
    ORPHAN,
    TORN,
    UNREADABLE,
    WRONG,
    Findings,
    Report,
)
from storage.wal_recovery import inspect_wal
from tests.support.s3 import moto
from tests.support.shards import append, open_on, open_on_objects
from tests.support.verify_store import START_US, SmallStore, begin, fill, kinds, place_of

GOLDEN = sorted((Path(__file__).resolve().parents[1] / "golden").glob("format-*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    root = tmp_path_factory.mktemp("made")
    return {on: SmallStore(root / f"{on}", on).make().root for on in (False, True)}


@pytest.fixture(params=[False, True], ids=["directory", "objects"])
def either(request: pytest.FixtureRequest, made: dict[bool, Path], tmp_path: Path) -> SmallStore:
    """A sound store, with its WAL in a directory or on the object store."""
    shutil.copytree(made[request.param], tmp_path / "store")
    return SmallStore(tmp_path / "store", request.param)


@pytest.fixture
def store(made: dict[bool, Path], tmp_path: Path) -> SmallStore:
    """A sound store with its WAL in a directory."""
    shutil.copytree(made[False], tmp_path / "store")
    return SmallStore(tmp_path / "store")


# --- sound ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_store_has_no_findings_and_is_not_changed(either: SmallStore, deep: bool) -> None:
    before = either.files()
    report = either.verify(deep)
    assert (report.findings, report.exit_code) == ([], 0)
    plain = report.to_plain()
    assert plain["sound"] and plain["events"] == 140 and not plain["live"]
    (shard,) = report.shards
    assert (shard.segments, shard.indexes, shard.manifests, shard.next_offset) == (8, 8, 3, 140)
    assert (shard.segment_events, shard.wal_events, shard.producers) == (100, 40, 2)
    assert either.files() == before
    assert plain["bytes"] == sum(map(len, before.values()))


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda path: path.name)
def test_stores_of_released_formats_are_sound(golden: Path) -> None:
    report = SmallStore(golden).verify()
    assert (report.findings, report.to_plain()["events"]) == ([], 25)


def test_no_storage_is_not_a_sound_one(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no malamute in"):
        SmallStore(tmp_path / "nothing").verify()


def test_a_store_that_was_opened_again_and_again_is_sound(either: SmallStore) -> None:
    for turn in range(3):
        objects, clock = either.objects, ManualClock(START_US + turn)
        fs, wal = LocalFileSystem(), str(either.wal)
        shard = (
            open_on_objects(objects, clock=clock)
            if either.on_objects
            else open_on(fs, clock=clock, objects=objects, wal_directory=wal, file_ids=lambda turn=turn: 77 + turn)
        )
        epoch = shard.open_producer("default", "logs", "a").epoch
        level = "object" if either.on_objects else "local"
        append(shard, "a", epoch, 0, range(5), level)
        if turn == 1:
            shard.flush()
        shard.abandon()
        report = either.verify()
        assert (report.findings, report.to_plain()["events"]) == ([], 145 + 5 * turn)


# --- flipped bytes ----------------------------------------------------------------------------------------------------


def flip(store: SmallStore, path: Path, positions: range) -> list[tuple[int, set[str]]]:
    """(position, kinds) of each flip that is not found as damage of this very object."""
    data, missed = path.read_bytes(), []
    for at in positions:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        report = store.verify(deep=False)
        named = {finding.kind for finding in report.findings if path.name in finding.where}
        if not (named & {CORRUPT, TORN, WRONG} or ("format" in path.name and report.exit_code)):
            missed.append((at, kinds(report)))
    path.write_bytes(data)
    return missed


@pytest.fixture
def tiny(tmp_path: Path) -> SmallStore:
    """As little as a store can hold: one segment, two manifests, one batch in the WAL."""
    tiny = SmallStore(tmp_path / "tiny")
    shard = begin(tiny.objects, str(tiny.wal))
    epoch = shard.open_producer("default", "logs", "a").epoch
    append(shard, "a", epoch, 0, range(3))
    shard.flush()
    append(shard, "a", epoch, 1, range(3))
    shard.abandon()
    return tiny


@pytest.mark.parametrize(
    "pattern", ["format.json", "catalog/*1", "catalog/*2", "shards/0000/manifest/*1", "shards/0000/manifest/*2"]
)
def test_every_flipped_byte_of_small_metadata_is_found(tiny: SmallStore, pattern: str) -> None:
    path = tiny.one(pattern)
    assert flip(tiny, path, range(path.stat().st_size)) == []
    assert tiny.verify().findings == []


@pytest.mark.parametrize(("pattern", "step"), [("**/*.index", 1), ("**/*.parquet", 17)])
def test_flipped_bytes_of_index_and_segment_are_found(tiny: SmallStore, pattern: str, step: int) -> None:
    path = tiny.one(pattern)
    assert flip(tiny, path, range(0, path.stat().st_size, step)) == []


def test_flipped_bytes_of_a_wal_file_are_found_but_for_those_that_mean_nothing(tiny: SmallStore) -> None:
    path = tiny.one("wal/0000/*.wal")
    records = [shown["position"] for shown in inspect_wal(LocalFileSystem(), str(path))][1:]
    # Three bytes of each record's head are zeros that no reader looks at.
    meaningless = {position + 9 + at for position in records for at in range(3)}
    missed = flip(tiny, path, range(0, path.stat().st_size, 3))
    assert {at for at, _ in missed} <= meaningless and all(not found for _, found in missed)


def test_flipped_bytes_of_wal_objects_are_found(either: SmallStore) -> None:
    if not either.on_objects:
        pytest.skip("its WAL is in a directory")
    path = either.one("shards/0000/wal/*")
    data = path.read_bytes()
    for at in range(0, len(data), 61):
        path.write_bytes(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :])
        assert CORRUPT in kinds(either.verify(deep=False)), at


# --- objects that are not there, or too many ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("format.json", {MISSING}),
        ("shards/0000/manifest/*1", set()),  # an old version that nothing needs
        ("shards/0000/segments/default/logs/*1.parquet", {MISSING}),
        ("shards/0000/segments/default/spans/*7.index", {MISSING}),
        ("wal/0000/*.wal", {MISSING}),
        ("wal/0000/SHARD", {MISSING}),
    ],
)
def test_what_was_deleted_is_missing(store: SmallStore, pattern: str, expected: set[str]) -> None:
    path = store.one(pattern)
    path.unlink()
    report = store.verify()
    assert kinds(report) == expected
    assert report.exit_code == (1 if expected else 0)
    assert all(finding.advice for finding in report.findings)
    if expected and path.parent.name != "0000":
        assert [path.name] == [finding.where.rpartition("/")[2] for finding in report.findings]


def test_a_catalog_that_is_gone_is_missing_and_an_old_one_lacks_streams(store: SmallStore) -> None:
    store.one("catalog/*2").unlink()
    report = store.verify()
    assert kinds(report) == {WRONG} and "default/spans is not in the catalog" in report.findings[0].message
    store.one("catalog/*1").unlink()
    assert [(finding.kind, finding.where) for finding in store.verify().findings] == [(MISSING, "catalog/")]


def test_an_old_manifest_in_the_place_of_the_newest_leaves_gaps_and_orphans(store: SmallStore) -> None:
    store.manifest_path().unlink()
    report = store.verify()
    assert kinds(report) == {GAP, ORPHAN}
    assert "offsets 60-99" in next(finding.message for finding in report.findings if finding.kind == GAP)


def test_a_shard_without_any_manifest_is_missing(store: SmallStore) -> None:
    for path in store.root.glob("shards/0000/manifest/*"):
        path.unlink()
    assert kinds(store.verify()) == {MISSING}


def test_a_damaged_newest_manifest_says_that_the_rest_was_not_verified(store: SmallStore) -> None:
    store.manifest_path().write_bytes(b"nothing")
    report = store.verify()
    assert kinds(report) == {CORRUPT, UNREADABLE} and report.exit_code == 1


def test_wal_objects_that_are_gone_are_missing_except_the_last(made: dict[bool, Path], tmp_path: Path) -> None:
    shutil.copytree(made[True], tmp_path / "store")
    store = SmallStore(tmp_path / "store", True)
    names = sorted(path.name for path in store.root.glob("shards/0000/wal/*"))
    for name in names[:-1]:
        path = store.one(f"shards/0000/wal/{name}")
        data = path.read_bytes()
        path.unlink()
        assert [(finding.kind, Path(finding.where).name) for finding in store.verify().findings] == [(MISSING, name)]
        path.write_bytes(data)
    # Nothing says that there was one more: a log of objects ends where the numbers end.
    store.one(f"shards/0000/wal/{names[-1]}").unlink()
    assert store.verify().findings == []


def test_what_nothing_names_is_an_orphan_and_only_a_warning(either: SmallStore) -> None:
    segment = either.one("**/*.parquet")
    for name in ("2023-11-14-00000001-00000099.parquet", "2023-11-14-00000001-00000099.index"):
        (segment.parent / name).write_bytes(b"never published")
    stranger = either.root / "shards" / "0007" / "segments" / "x"
    report = either.verify()
    assert [finding.kind for finding in report.findings] == [ORPHAN, ORPHAN]
    assert report.exit_code == 0 and report.shards[0].warnings == 2
    stranger.parent.mkdir(parents=True)
    stranger.write_bytes(b"")
    assert either.verify().exit_code == 1  # format.json says one shard


# --- manifests of right checksum that say what is not so --------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rows": 9}, {WRONG}),
        ({"bytes": 5}, {CORRUPT}),
        ({"crc32c": 5}, {CORRUPT}),
        ({"first_offset": 1}, {WRONG}),
        ({"last_offset": 70}, {WRONG}),
        ({"timestamp_min_us": START_US - 1}, {WRONG}),
        ({"timestamp_max_us": START_US + 7}, {WRONG}),
        ({"window_start_us": START_US + 1}, {WRONG}),
        ({"has_rest": True}, {WRONG}),
        ({"sort_key": ("n",)}, {WRONG}),
        ({"stream": "spans"}, {WRONG}),
        ({"stream": "other"}, {WRONG}),
        ({"index_bytes": 5}, {CORRUPT}),
        ({"index_crc32c": 5}, {CORRUPT}),
        ({"columns": ()}, {WRONG}),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_a_manifest_that_says_something_else_of_a_segment(
    store: SmallStore, values: dict[str, object], expected: set[str]
) -> None:
    store.change_segment(0, **values)
    assert kinds(store.verify(deep=False)) == expected


@pytest.mark.parametrize("values", [{"values": 1}, {"minimum": 10**6}, {"maximum": -1}], ids=lambda values: str(values))
@pytest.mark.parametrize("indexed", [True, False])
def test_a_zone_map_that_is_not_true(store: SmallStore, values: dict[str, int], indexed: bool) -> None:
    columns = list(store.manifest().segments[0].columns)
    at = [column.name for column in columns].index("n")
    columns[at] = replace(columns[at], **values)
    without = {} if indexed else {"index_bytes": 0, "index_crc32c": 0}
    store.change_segment(0, columns=tuple(columns), **without)
    assert {finding.kind for finding in store.verify().errors} == {WRONG}


def floor(limit: int) -> Callable[[Manifest], Manifest]:
    return lambda manifest: replace(manifest, wal_floor=limit)


def test_a_wrong_wal_floor(store: SmallStore) -> None:
    good = store.manifest()
    for limit, expected in ((120, {GAP}), (105, {GAP, WRONG}), (90, {WRONG})):
        store.change_manifest(lambda _, limit=limit: floor(limit)(good))
        assert kinds(store.verify()) >= expected, limit


def test_a_segment_that_is_not_named_leaves_a_gap(store: SmallStore) -> None:
    store.change_manifest(lambda manifest: replace(manifest, segments=manifest.segments[1:]))
    report = store.verify()
    assert kinds(report) == {GAP, ORPHAN}
    assert "20 events below the WAL floor 100 are in no segment: offsets 0-9, 40-49" in report.errors[0].message


def test_a_segment_that_is_named_twice_is_double(store: SmallStore) -> None:
    store.change_manifest(lambda manifest: replace(manifest, segments=(*manifest.segments, manifest.segments[2])))
    assert kinds(store.verify()) == {DOUBLE}


def test_events_in_two_segments_are_double(store: SmallStore) -> None:
    first = store.manifest().segments[0]
    copy = first.name.replace("-00000001.", "-00000050.")
    shutil.copy(store.root / first.name, store.root / copy)
    again = replace(first, name=copy, index_bytes=0, index_crc32c=0)
    store.change_manifest(lambda manifest: replace(manifest, segments=(*manifest.segments, again)))
    report = store.verify()
    assert kinds(report) == {DOUBLE}
    assert "20 events are in it and in another segment: offsets 0-9, 40-49" in report.findings[0].message
    assert first.name in report.findings[0].message or copy in report.findings[0].message


def test_swapped_segments_are_corrupt(store: SmallStore) -> None:
    one, other = sorted(store.root.glob("**/logs/*.parquet"))[:2]
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)
    report = store.verify()
    assert [finding.kind for finding in report.findings] == [CORRUPT, CORRUPT]


def test_entries_with_swapped_names_and_checksums_are_wrong(store: SmallStore) -> None:
    one, other = store.manifest().segments[:2]
    names = ("name", "bytes", "crc32c", "index_bytes", "index_crc32c")
    store.change_segment(0, **{name: getattr(other, name) for name in names})
    store.change_segment(1, **{name: getattr(one, name) for name in names})
    assert {finding.kind for finding in store.verify().errors} == {WRONG}


def rewrite(store: SmallStore, change: Callable[[pa.Table], pa.Table]) -> None:
    """Put other rows into the first segment, with the checksum that goes with them, and without an index."""
    segment = store.manifest().segments[0]
    path = store.root / segment.name
    pq.write_table(change(pq.read_table(path)), path)
    data = path.read_bytes()
    crc = google_crc32c.value(data)
    store.change_segment(0, bytes=len(data), crc32c=crc, index_bytes=0, index_crc32c=0)
    path.with_suffix(".index").unlink()


def test_rows_that_are_not_sorted(store: SmallStore) -> None:
    rewrite(store, lambda table: table.take(list(range(table.num_rows))[::-1]))
    (finding,) = store.verify(deep=False).findings
    assert finding.kind == WRONG and "order of its sort key service, timestamp" in finding.message


def test_the_same_row_twice(store: SmallStore) -> None:
    rewrite(store, lambda table: table.take([0, 0, *range(2, table.num_rows)]))
    assert kinds(store.verify()) >= {DOUBLE, GAP}


def test_a_file_that_is_no_parquet_although_its_checksum_is_right(store: SmallStore) -> None:
    path = store.root / store.manifest().segments[0].name
    for data in (b"", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(data)
        store.change_segment(0, bytes=len(data), crc32c=google_crc32c.value(data))
        assert kinds(store.verify()) == {CORRUPT}


def reindex(store: SmallStore, change: Callable[[ColumnIndex], ColumnIndex]) -> None:
    """Put another index beside the first segment, with the checksum that goes with it."""
    path = (store.root / store.manifest().segments[0].name).with_suffix(".index")
    contents = decode_index(path.read_bytes())
    data = encode_index(replace(contents, columns=tuple(map(change, contents.columns))))
    path.write_bytes(data)
    store.change_segment(0, index_bytes=len(data), index_crc32c=google_crc32c.value(data))


def test_a_filter_that_denies_words_is_found_by_a_deep_look(store: SmallStore) -> None:
    reindex(store, lambda c: replace(c, blooms=tuple(b and bytes(len(b)) for b in c.blooms)))
    assert store.verify(deep=False).findings == []
    report = store.verify(deep=True)
    assert kinds(report) == {WRONG} and "words of column 'message' are not in the filter" in str(report.findings)


def test_a_list_that_lacks_a_value_is_found(store: SmallStore) -> None:
    reindex(store, lambda c: replace(c, lists=(("web",),)) if c.name == "service" else c)
    report = store.verify(deep=False)
    assert kinds(report) == {WRONG} and "values of column 'service' are not in the list" in str(report.findings)


def test_a_string_zone_map_that_denies_a_text_is_found_by_a_deep_look(store: SmallStore) -> None:
    reindex(
        store, lambda c: replace(c, string_zones=(string_zone_map(pa.array(["no"])),)) if c.name == "message" else c
    )
    assert store.verify(deep=False).findings == []
    report = store.verify(deep=True)
    assert kinds(report) == {WRONG} and "'message' are not in the string zone map" in str(report.findings)


# --- the WAL and producers --------------------------------------------------------------------------------------------


def test_a_cut_wal_is_a_torn_tail_or_ends_at_a_record(store: SmallStore) -> None:
    path = store.one("wal/0000/*.wal")
    data = path.read_bytes()
    events = []
    for size in range(len(data) - 1, 56, -97):
        path.write_bytes(data[:size])
        report = store.verify(deep=False)
        assert kinds(report) <= {TORN} and report.exit_code == 0
        events.append(report.shards[0].wal_events)
    assert events == sorted(events, reverse=True) and events[-1] == 0
    path.write_bytes(data[:40])
    assert kinds(store.verify()) == {CORRUPT}


def test_a_damaged_byte_within_the_wal_is_not_a_torn_tail(store: SmallStore) -> None:
    path = store.one("wal/0000/*.wal")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    report = store.verify()
    assert kinds(report) == {CORRUPT} and "had been synced" in report.findings[0].message


def test_a_wal_of_another_shard_or_a_newer_epoch(store: SmallStore) -> None:
    path = store.one("wal/0000/*.wal")
    path.rename(path.with_name("00000001-00000009.wal"))
    assert kinds(store.verify()) == {CORRUPT}
    path.with_name("00000001-00000009.wal").rename(path)
    store.change_manifest(lambda manifest: replace(manifest, epoch=0))
    assert WRONG in kinds(store.verify())


@pytest.mark.parametrize(("change", "expected"), [(1, DOUBLE), (-1, GAP)])
def test_sequences_that_do_not_go_on_in_the_wal(either: SmallStore, change: int, expected: str) -> None:
    def changed(manifest: Manifest) -> Manifest:
        key, state = sorted(manifest.producers.items())[0]
        state = replace(state, last_sequence=state.last_sequence + change)
        return replace(manifest, producers={**manifest.producers, key: state})

    either.change_manifest(changed)
    report = either.verify()
    assert expected in kinds(report) and report.exit_code == 1
    assert "producer 'a' of stream default/logs" in str(report.findings)


@pytest.mark.parametrize("values", [{"epoch": 0}, {"last_offset": 110}, {"first_offset": -1}, {"last_sequence": -2}])
def test_impossible_states_of_producers(store: SmallStore, values: dict[str, int]) -> None:
    def changed(manifest: Manifest) -> Manifest:
        key, state = sorted(manifest.producers.items())[0]
        return replace(manifest, producers={**manifest.producers, key: replace(state, **values)})

    store.change_manifest(changed)
    assert WRONG in kinds(store.verify())


def test_a_manifest_that_forgot_what_the_wal_below_its_floor_says(tmp_path: Path) -> None:
    """A power cut may bring back a WAL file whose removal was not durable yet."""
    store = SmallStore(tmp_path / "store")
    shard = begin(store.objects, str(store.wal))
    epoch = shard.open_producer("default", "logs", "a").epoch
    append(shard, "a", epoch, 0, range(3), position=b"three")
    old = store.one("wal/0000/*.wal")
    os.link(old, tmp_path / "kept")
    shard.flush()
    shard.abandon()
    shutil.move(tmp_path / "kept", old)
    assert store.verify().errors == []

    def changed(manifest: Manifest) -> Manifest:
        ((key, state),) = manifest.producers.items()
        return replace(manifest, producers={key: replace(state, position=b"two")})

    store.change_manifest(changed)
    assert kinds(store.verify()) >= {WRONG}


# --- a deployment that runs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_objects", [False, True])
def test_a_shard_that_is_served_is_said_to_be_and_its_changes_are_no_findings(tmp_path: Path, on_objects: bool) -> None:
    store = SmallStore(tmp_path / "store", on_objects)
    shard = begin(store.objects, None if on_objects else str(store.wal))
    epoch = shard.open_producer("default", "logs", "a").epoch
    stop, sent = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            append(shard, "a", epoch, len(sent), range(10), "object" if on_objects else "local")
            sent.append(10)
            if len(sent) % 3 == 0:
                shard.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(15):
            before = sum(sent)
            report = store.verify()
            # Without a lock that tells of the shard, a flush under way looks like one that was cut off.
            assert kinds(report) <= ({ORPHAN} if on_objects else set()) and report.exit_code == 0
            assert report.shards[0].live == report.to_plain()["live"] == (not on_objects)
            assert before <= report.to_plain()["events"] <= sum(sent) + 10
    finally:
        stop.set()
        writer.join()
        shard.close()
    assert not store.verify().shards[0].live


def test_a_wal_on_a_disk_that_was_not_named_is_not_verified(store: SmallStore) -> None:
    report = verify_storage(place_of(store.objects, None), deep=False)
    assert kinds(report) == {UNREADABLE} and report.exit_code == 2
    assert verify_storage(place_of(store.objects, None), deep=False, read_wal=False).exit_code == 0


class Refusing(LocalObjectStore):
    """Reads no segments."""

    def get(self, key: str) -> bytes:
        if key.endswith(".parquet"):
            raise Unavailable(f"cannot read {key}: retry")
        return super().get(key)


def test_what_cannot_be_read_is_not_called_damaged(store: SmallStore) -> None:
    place = place_of(Refusing(str(store.root), LocalFileSystem()), str(store.root / "wal"))
    report = verify_storage(place, deep=False)
    assert kinds(report) == {UNREADABLE} and report.exit_code == 2


def test_findings_are_bounded() -> None:
    found, report = Findings(0), Report("x", False)
    for number in range(FINDINGS_MAX + 10):
        found.add(WRONG, str(number), "wrong")
    assert report.take(found) == (FINDINGS_MAX + 10, 0)
    assert (len(report.findings), report.not_shown, report.exit_code) == (FINDINGS_MAX, 10, 1)


# --- S3 -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("on_objects", [False, True])
def test_a_storage_on_s3(tmp_path: Path, on_objects: bool) -> None:
    with moto(tmp_path) as server:
        objects = open_object_store(f"s3://{server.bucket}/store", LocalFileSystem(), server.options())
        wal = tmp_path / "wal"
        shard = begin(objects, None if on_objects else str(wal / "0000"))
        fill(shard, "object" if on_objects else "local")
        shard.abandon()
        place = place_of(objects, None if on_objects else str(wal))
        keys = [info.key for info in objects.list("")]
        report = verify_storage(place, deep=True)
        assert (report.findings, report.to_plain()["events"]) == ([], 140)
        assert [info.key for info in objects.list("")] == keys
        lost = [key for key in keys if key.endswith((".parquet", ".index"))][:2]
        objects.delete(lost)
        objects.put_new("shards/0000/segments/default/logs/x-00000001-00000999.parquet", b"x")
        report = verify_storage(place, deep=True)
        assert sorted(finding.kind for finding in report.findings) == [MISSING, MISSING, ORPHAN]
