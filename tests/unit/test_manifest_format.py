"""The manifest's bytes and its invariants."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack
import pytest

from core.columns import ColumnKey
from core.errors import Corrupt, InvariantViolation
from storage.envelope import seal, unseal
from storage.inspect_storage import inspect_manifest
from storage.manifest_format import (
    FORMAT_VERSION,
    FORMAT_VERSION_WITHOUT_IDS,
    MAGIC,
    Manifest,
    ManifestEdit,
    PackedSegments,
    RemovedSegment,
    apply_edit,
    check_successor,
    decode_manifest,
    encode_manifest,
)
from storage.producers import ProducerState
from storage.snapshot import ColumnStats, Segment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats" / "manifest.md"


def segment(name: str, first: int, last: int, stream: str = "logs", columns: int = 2) -> Segment:
    """A segment of all offsets from `first` to `last`."""
    stats = tuple(
        ColumnStats(f"column.{i}", ColumnKey(f"column.{i}", "int"), 5, -(2**63), 2**64 - 1) for i in range(columns)
    )
    span = last - first + 1
    return Segment(
        name, "default", stream, -(2**63), 2**63, span, 1_000, 2**32 - 1, -5, 5, first, last, True, ("a", "b"), stats
    )


def producer(epoch: int = 1, sequence: int = 0, position: bytes | None = b"\x00p") -> ProducerState:
    return ProducerState(epoch, sequence, 0, 9, position, 17)


BASE = Manifest(
    shard=3,
    version=7,
    epoch=2,
    wal_floor=20,
    segments=(segment("one", 0, 9), segment("two", 10, 19)),
    producers={("default", "logs", "p"): producer(), ("default", "logs", "q"): producer(5, -1, None)},
    created_at_us=1_000,
    writer=2**62,
)


def broken(edit: ManifestEdit, base: Manifest = BASE) -> str:
    with pytest.raises(InvariantViolation) as caught:
        apply_edit(base, edit, 0)
    return caught.value.invariant


def test_round_trip_of_every_value_a_column_may_be_bounded_by() -> None:
    values: list[Any] = [None, True, 0, -(2**63), 2**64 - 1, 1.5, float("inf"), "", "é\x00\U0001f600"]
    stats = tuple(ColumnStats(f"c{i}", ColumnKey("p::q", "str"), i, v, v) for i, v in enumerate(values))
    manifest = replace(
        BASE, segments=(replace(BASE.segments[0], name="other", columns=stats, has_rest=False), *BASE.segments)
    )
    assert decode_manifest(encode_manifest(manifest)) == manifest
    assert decode_manifest(encode_manifest(Manifest(0, 1, 1))) == Manifest(0, 1, 1)


def indexed(manifest: Manifest = BASE) -> Manifest:
    """`manifest` with an index of its first segment only."""
    first = replace(manifest.segments[0], index_bytes=300, index_crc32c=2**32 - 1)
    return replace(manifest, segments=(first, *manifest.segments[1:]))


def test_indexes_are_a_key_that_older_releases_pass_over() -> None:
    manifest = indexed()
    assert decode_manifest(encode_manifest(manifest)) == manifest
    version, body = unseal(MAGIC, FORMAT_VERSION, encode_manifest(manifest), "manifest")
    assert (version, body.pop("indexes")) == (1, [[300, 2**32 - 1], [0, 0]])
    # What is left is byte for byte what a release without indexes writes and reads.
    assert seal(MAGIC, FORMAT_VERSION_WITHOUT_IDS, body) == encode_manifest(BASE)
    assert decode_manifest(seal(MAGIC, FORMAT_VERSION, body)) == BASE


def test_levels_are_a_key_that_older_releases_pass_over() -> None:
    merged = replace(BASE.segments[0], level=2, first_key=("a", 1, None), last_key=("b", 2.5, True))
    manifest = replace(BASE, segments=(merged, BASE.segments[1]))
    assert decode_manifest(encode_manifest(manifest)) == manifest
    version, body = unseal(MAGIC, FORMAT_VERSION, encode_manifest(manifest), "manifest")
    assert (version, body.pop("levels")) == (1, [[2, ["a", 1, None], ["b", 2.5, True]], [0, [], []]])
    assert seal(MAGIC, FORMAT_VERSION_WITHOUT_IDS, body) == encode_manifest(BASE)


def test_a_manifest_with_removed_segments_is_refused_by_older_releases() -> None:
    manifest = replace(BASE, removed=(RemovedSegment("three", 900, 6),))
    assert decode_manifest(encode_manifest(manifest)) == manifest
    version, body = unseal(MAGIC, FORMAT_VERSION, encode_manifest(manifest), "manifest")
    assert (version, body.pop("removed")) == (3, [["three", 900, 6]])
    assert seal(MAGIC, FORMAT_VERSION_WITHOUT_IDS, body) == encode_manifest(BASE)


def test_what_an_edit_removes_is_remembered_until_it_is_forgotten() -> None:
    merged = apply_edit(BASE, ManifestEdit(add=(segment("merged", 0, 19),), remove=("one", "two")), 2_000)
    assert merged.removed == (RemovedSegment("one", 2_000, 8), RemovedSegment("two", 2_000, 8))
    later = apply_edit(merged, ManifestEdit(forget=("one",)), 3_000)
    assert later.removed == (RemovedSegment("two", 2_000, 8),)
    assert later.segments == merged.segments
    assert broken(ManifestEdit(forget=("one",)), later) == "MAN-11"
    assert broken(ManifestEdit(add=(segment("two", 20, 29),), wal_floor=30), later) == "MAN-11"


@pytest.mark.parametrize("indexes", [[[1, 2]], [[1, 2]] * 3, [[1]] * 2, [None] * 2, 5, None])
def test_indexes_of_another_shape_are_corrupt(indexes: Any) -> None:
    _, body = unseal(MAGIC, FORMAT_VERSION, encode_manifest(BASE), "manifest")
    with pytest.raises(Corrupt, match="unexpected shape"):
        decode_manifest(seal(MAGIC, FORMAT_VERSION, body | {"indexes": indexes}))


@pytest.mark.parametrize("manifest", [BASE, indexed()])
def test_each_flipped_byte_is_detected(manifest: Manifest) -> None:
    data = encode_manifest(manifest)
    for position in range(len(data)):
        for bit in (1, 128):
            damaged = bytearray(data)
            damaged[position] ^= bit
            with pytest.raises(Corrupt, match="shard 3"):
                decode_manifest(bytes(damaged), "manifest of shard 3")


def test_each_cut_and_a_tail_are_detected() -> None:
    data = encode_manifest(BASE)
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_manifest(data[:length])
    with pytest.raises(Corrupt):
        decode_manifest(data + b"\0")


def test_a_newer_format_is_refused_clearly() -> None:
    with pytest.raises(Corrupt, match="format version 5, this release reads up to 4: upgrade"):
        decode_manifest(seal(MAGIC, FORMAT_VERSION + 1, {}))


@pytest.mark.parametrize("body", [{}, [], None, 5, {"schemas": [[1]]}, {"schemas": [], "segments": [[0, b"x"]]}])
def test_a_body_of_another_shape_is_corrupt(body: Any) -> None:
    with pytest.raises(Corrupt, match="unexpected shape"):
        decode_manifest(seal(MAGIC, FORMAT_VERSION, body))


def test_a_body_of_a_foreign_msgpack_type_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        decode_manifest(seal(MAGIC, FORMAT_VERSION, msgpack.ExtType(5, b"x" * 9)))


def test_5000_segments_of_one_schema_stay_small() -> None:
    segments = tuple(segment(f"shards/0003/segments/default/logs/x-{i:08d}", i, i, columns=20) for i in range(5_000))
    manifest = Manifest(3, 1, 1, wal_floor=5_000, segments=segments)
    data = encode_manifest(manifest)
    assert len(data) < 100 * len(segments)
    assert decode_manifest(data) == manifest


def test_the_cache_of_packed_segments_changes_no_byte_and_is_bounded() -> None:
    packed = PackedSegments()
    for start in range(0, 1_000, 50):
        segments = tuple(segment(f"s{i}", i, i) for i in range(start, start + 10))
        manifest = replace(BASE, segments=segments, wal_floor=2_000)
        assert encode_manifest(manifest, packed) == encode_manifest(manifest)
    assert packed.held <= 2 * 10 + 64


def test_a_flush_edit() -> None:
    edit = ManifestEdit(
        add=(segment("three", 20, 24),), wal_floor=25, producers={("default", "logs", "p"): producer(1, 3)}
    )
    following = apply_edit(BASE, edit, 500)
    assert (following.version, following.epoch, following.wal_floor) == (8, 2, 25)
    assert [s.name for s in following.segments] == ["one", "two", "three"]
    assert list(following.producers) == [("default", "logs", "p")]
    assert following.created_at_us == 1_000  # time never steps back


def test_a_compaction_edit() -> None:
    following = apply_edit(BASE, ManifestEdit(add=(segment("merged", 0, 19),), remove=("one", "two")), 2_000)
    assert [s.name for s in following.segments] == ["merged"]
    assert (following.wal_floor, following.producers, following.created_at_us) == (20, BASE.producers, 2_000)


@pytest.mark.parametrize(
    ("edit", "invariant"),
    [
        (ManifestEdit(wal_floor=19), "MAN-8"),  # a floor below leaves no room either
        (ManifestEdit(add=(replace(segment("x", 20, 22), rows=0),), wal_floor=25), "MAN-4"),
        (ManifestEdit(add=(replace(segment("x", 20, 22), rows=4),), wal_floor=25), "MAN-4"),
        (ManifestEdit(add=(segment("one", 20, 22),), wal_floor=25), "MAN-5"),
        (ManifestEdit(add=(segment("x", 20, 21), segment("x", 22, 23)), wal_floor=25), "MAN-5"),
        (ManifestEdit(remove=("three",)), "MAN-6"),
        (ManifestEdit(producers={("default", "logs", "p"): producer(1, -1)}), "MAN-7"),
        (ManifestEdit(producers={("default", "logs", "p"): producer(0, 9)}), "MAN-7"),
        (ManifestEdit(add=(segment("x", 20, 25),), wal_floor=25), "MAN-8"),  # reaches the floor
        (ManifestEdit(add=(segment("x", 19, 22),), wal_floor=25), "MAN-8"),  # overlaps what is flushed
        (ManifestEdit(add=(segment("x", 20, 23), segment("y", 20, 23)), wal_floor=25), "MAN-8"),  # twice
        (ManifestEdit(add=(segment("x", 5, 12),)), "MAN-8"),  # replaces nothing
        (ManifestEdit(add=(segment("x", 5, 12),), remove=("one",)), "MAN-8"),
        (ManifestEdit(add=(segment("x", 0, 9, "other"),), remove=("one",)), "MAN-8"),
    ],
)
def test_edits_that_break_an_invariant(edit: ManifestEdit, invariant: str) -> None:
    assert broken(edit) == invariant


def test_versions_epochs_and_floors_never_go_back() -> None:
    for following, invariant in (
        (replace(BASE, version=9), "MAN-1"),
        (replace(BASE, version=7), "MAN-1"),
        (replace(BASE, version=8, epoch=1), "MAN-3"),
        (replace(BASE, version=8, wal_floor=19), "MAN-3"),
    ):
        with pytest.raises(InvariantViolation) as caught:
            check_successor(BASE, following)
        assert caught.value.invariant == invariant


def test_inspect_manifest() -> None:
    found = inspect_manifest(encode_manifest(BASE))
    assert (found["shard"], found["version"], found["rows"], found["bytes"]) == (3, 7, 20, 2_000)
    assert [p["producer"] for p in found["producers"]] == ["p", "q"]
    assert found["segments"][0]["columns"][0]["key"] == ColumnKey("column.0", "int")


def example() -> Manifest:
    """The manifest of the worked example in docs/formats/manifest.md."""
    name = "shards/0000/segments/default/logs/2026-01-01-00000001-00000001.parquet"
    stats = (ColumnStats("service", ColumnKey("service", "str"), 2, "api", "web"),)
    day = 1_767_225_600_000_000
    only = Segment(
        name, "default", "logs", day, day + 86_400_000_000, 2, 2_048, 0xE3069283, day + 1, day + 2, 0, 1, False,
        ("service", "timestamp"), stats,
    )  # fmt: skip
    producers = {("default", "logs", "p1"): ProducerState(1, 0, 0, 1, b"42", day)}
    return Manifest(0, 2, 1, 2, (only,), producers, day, 7)


def test_the_worked_example_of_the_page() -> None:
    blocks = re.findall(r"```hex\n(.*?)```", PAGE.read_text(), re.S)
    shown = bytes.fromhex("".join(line.split("  ", 1)[1].split("  ")[0] for line in blocks[0].splitlines()))
    assert shown == encode_manifest(example())
    assert decode_manifest(shown) == example()
