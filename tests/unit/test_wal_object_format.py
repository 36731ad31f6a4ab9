"""The bytes of WAL objects, and the examples of their format page."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import Corrupt
from storage.fs import LocalFileSystem
from storage.keys import wal_key, wal_position_of
from storage.objects import joined
from storage.wal_format import Control, FileHeader, RecordType, encode_control, encode_file_header, encode_header
from storage.wal_object_format import (
    FENCE_OBJECT_BYTES,
    decode_object,
    encode_fence,
    encode_object,
    needed_until,
)
from storage.wal_recovery import inspect_wal
from tests.support.wal_scenario import batch, opened, plain

HEADER = FileHeader(shard=3, epoch=2, number=5, file_id=0x0123456789ABCDEF, base_offset=40)
KEY = wal_key(3, 2, 5)
RECORDS = (batch(40, rows=2, body=b"arrow stream"),)


def data() -> bytes:
    return joined(encode_object(HEADER, [(record, encode_header(record)) for record in RECORDS], confirmed=5))


def fence() -> bytes:
    return encode_fence(replace(HEADER, number=6, base_offset=42), 4)


def hexdump(content: bytes) -> str:
    lines = []
    for at in range(0, len(content), 16):
        row = content[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):<47}  {text}".rstrip())
    return "\n".join(lines)


@pytest.mark.parametrize(("kind", "content"), [("object", data()), ("fence", fence())])
def test_the_worked_examples_of_the_format_page_are_true(kind: str, content: bytes) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "formats" / "wal.md"
    assert re.findall(rf"```{kind}\n(.*?)\n```", page.read_text(), re.DOTALL) == [hexdump(content)]


def test_objects_come_back_as_they_were() -> None:
    found = decode_object(data(), KEY, 3, 2, 5)
    assert (found.header, found.next_offset, found.confirmed, found.fenced_by) == (HEADER, 42, 5, None)
    assert [plain(record) for record in found.records] == list(RECORDS)
    found = decode_object(fence(), KEY, 3, 2, 6)
    assert (found.records, found.next_offset, found.fenced_by) == ((), 42, 4)
    assert (
        len(fence())
        == FENCE_OBJECT_BYTES
        < len(joined(encode_object(HEADER, [(opened(1), encode_header(opened(1)))], 0)))
    )


@pytest.mark.parametrize("other", [(4, 2, 5), (3, 1, 5), (3, 2, 6)])
def test_an_object_in_the_place_of_another_is_refused(other: tuple[int, int, int]) -> None:
    with pytest.raises(Corrupt, match="is the one of shard 3 2-5"):
        decode_object(data(), KEY, *other)


def test_what_is_no_object_is_refused() -> None:
    head = encode_file_header(HEADER)
    for content, told in (
        (b"", "is not a wal file"),
        (head, "end of the file"),
        (data() + bytes(8), "does not end as it should"),
        (head + encode_control(HEADER.file_id, len(head), control(RecordType.MARK)), "has a mark"),
        (head + encode_control(HEADER.file_id, len(head), control(RecordType.SEAL)), "does not end"),
    ):
        with pytest.raises(Corrupt, match=told):
            decode_object(content, KEY, 3, 2, 5)


def control(type_: RecordType) -> Control:
    return Control(type_, 0, 40)


def test_an_object_is_needed_until_its_last_record_is_covered() -> None:
    assert needed_until(40, [batch(40, rows=2)]) == 42
    assert needed_until(40, [opened(1), batch(40, rows=2)]) == 42
    # A flush up to exactly 42 may have saved the producers before this one was opened.
    assert needed_until(40, [batch(40, rows=2), opened(1)]) == 43


def test_keys_sort_as_their_numbers() -> None:
    positions = [(1, 0), (1, 9), (1, 10), (2, 0), (10, 0), (99_999, 123_456_789)]
    keys = [wal_key(0, *position) for position in positions]
    assert keys == sorted(keys) and [wal_position_of(key) for key in keys] == positions
    assert wal_position_of("shards/0000/wal/x") is None


def test_objects_are_described_like_files(tmp_path: Path) -> None:
    for name, content in (("data", data()), ("fence", fence())):
        (tmp_path / name).write_bytes(content)
    found = [list(inspect_wal(LocalFileSystem(), str(tmp_path / name))) for name in ("data", "fence")]
    assert [[item["type"] for item in items] for items in found] == [["FILE", "BATCH", "SEAL"], ["FILE", "FENCE"]]
    assert all(item["ok"] for items in found for item in items)
