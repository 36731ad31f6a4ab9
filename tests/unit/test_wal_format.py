"""The bytes of WAL records and file headers."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

from core.batch import TIMESTAMP, TIMESTAMP_INFERRED, decode_batch, encode_batch
from core.columns import TIMESTAMP_TYPE
from core.errors import Corrupt
from storage.wal_format import (
    FILE_HEADER_BYTES,
    Control,
    FileHeader,
    Frame,
    RecordType,
    decode_file_header,
    decode_frame,
    encode_control,
    encode_file_header,
    encode_header,
    encode_record,
    find_control,
    parse_name,
    read_frame,
)
from tests.support.wal_scenario import batch, opened, plain

FILE_ID = 0x0123456789ABCDEF
HEADER = FileHeader(shard=3, epoch=2, number=5, file_id=FILE_ID, base_offset=40)


def record_bytes(record, position: int, file_id: int = FILE_ID) -> bytes:
    return b"".join(bytes(part) for part in encode_record(file_id, position, record, encode_header(record)))


def test_a_file_header_reads_back_and_names_its_file() -> None:
    data = encode_file_header(HEADER)
    assert len(data) == FILE_HEADER_BYTES and FILE_HEADER_BYTES % 8 == 0
    assert decode_file_header(data, "f") == HEADER
    assert HEADER.name == "00000002-00000005.wal"
    assert parse_name(HEADER.name) == (2, 5)
    assert parse_name("00000002-00000005.wal.new") is None


def test_every_flipped_bit_of_a_file_header_is_noticed() -> None:
    data = encode_file_header(HEADER)
    for at in range(FILE_HEADER_BYTES - 4):  # the last four bytes are padding
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            with pytest.raises(Corrupt):
                decode_file_header(bytes(damaged), "f")


def test_a_newer_format_is_refused_by_name() -> None:
    data = bytearray(encode_file_header(HEADER))
    data[8] = 2
    with pytest.raises(Corrupt, match="wal format 2"):
        decode_file_header(bytes(data), "f")


@pytest.mark.parametrize("record", [batch(7), batch(8, rows=100, body=b"x" * 1000), opened(4)])
def test_a_record_reads_back_at_its_own_place_only(record) -> None:
    data = record_bytes(record, 64)
    assert len(data) % 8 == 0
    image = pa.py_buffer(bytes(64) + data)
    frame = read_frame(image, FILE_ID, 64)
    assert isinstance(frame, Frame) and frame.end == image.size
    assert plain(decode_frame(image, frame, "f")) == record
    assert read_frame(image, FILE_ID + 1, 64) == "wrong checksum"
    moved = pa.py_buffer(bytes(72) + data)
    assert read_frame(moved, FILE_ID, 72) == "wrong checksum"


def test_a_body_is_written_from_and_read_as_a_view() -> None:
    columns = [pa.array([1, 2], TIMESTAMP_TYPE), pa.array([False, True])]
    events = pa.record_batch(columns, names=[TIMESTAMP, TIMESTAMP_INFERRED])
    body = encode_batch(events)
    record = batch(0, rows=2, body=body)
    parts = encode_record(FILE_ID, 64, record, encode_header(record))
    assert pa.py_buffer(parts[1]).address == body.address
    image = pa.py_buffer(bytes(64) + b"".join(parts))
    decoded = decode_frame(image, read_frame(image, FILE_ID, 64), "f")
    assert image.address < decoded.body.address < image.address + image.size
    assert decoded.body.address % 8 == image.address % 8
    assert decode_batch(decoded.body).equals(events)


def test_an_unknown_record_type_is_refused() -> None:
    image = pa.py_buffer(bytes(64) + control_bytes(64, 9, 1))
    with pytest.raises(Corrupt, match="unknown type 9"):
        decode_frame(image, read_frame(image, FILE_ID, 64), "some/file")


def test_the_last_control_is_found_behind_garbage() -> None:
    garbage = bytes(range(256)) + b"\x03\0\0\0\x10\0\0\0" * 4
    first = control_bytes(len(garbage), RecordType.MARK, 11)
    second = control_bytes(len(garbage) + len(first) + 16, RecordType.SEAL, 12)
    stale = control_bytes(0, RecordType.SEAL, 99)
    image = pa.py_buffer(garbage + first + bytes(16) + second + stale)
    found = find_control(image, FILE_ID, 0)
    assert found is not None and (found.type, found.next_offset) == (RecordType.SEAL, 12)
    assert find_control(image, FILE_ID + 1, 0) is None


def control_bytes(position: int, type_: int, next_offset: int) -> bytes:
    return encode_control(FILE_ID, position, Control(type_, position, next_offset))


def worked_example() -> str:
    """The hexdump in docs/formats/wal.md."""
    data = encode_file_header(HEADER)
    data += record_bytes(opened(2), len(data))
    data += record_bytes(batch(40, rows=2, body=b"arrow stream"), len(data))
    data += control_bytes(len(data), RecordType.MARK, 42)
    data += encode_control(FILE_ID, len(data), Control(RecordType.SEAL, len(data) - 32, 42))
    lines = []
    for at in range(0, len(data), 16):
        row = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{at:04x}  {row.hex(' '):<47}  {text}".rstrip())
    return "\n".join(lines)


def test_the_worked_example_of_the_format_page_is_true() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "formats" / "wal.md"
    blocks = re.findall(r"```hexdump\n(.*?)\n```", page.read_text(), re.DOTALL)
    assert blocks == [worked_example()]
