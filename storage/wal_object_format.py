"""Owns the bytes of a WAL object: header, records, what ends it (docs/formats/wal.md). Never talks to a store.

A data object is a WAL file in small: the same header and records, and a SEAL, so that a cut-off object never reads as a
whole one. A fence is an object without records that a newer owner put where the older one would have gone on. The
first number of a SEAL is here the count of confirmed objects, that of a FENCE the epoch of the newer owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa

from core.errors import Corrupt
from storage.wal_format import (
    FILE_HEADER_BYTES,
    FRAME_BYTES,
    BatchRecord,
    Control,
    FileHeader,
    Frame,
    RecordType,
    WalRecord,
    decode_control,
    decode_file_header,
    decode_frame,
    encode_control,
    encode_file_header,
    encode_record,
    read_frame,
)

# A fence and nothing else has this size: a data object has at least one record beside its SEAL.
FENCE_OBJECT_BYTES: Final = FILE_HEADER_BYTES + FRAME_BYTES + 16


@dataclass(frozen=True, slots=True)
class WalObject:
    """What an object says. `confirmed`: all objects of its epoch below this number were there when it was made.

    Of a fence, `fenced_by` is the epoch that put it; a data object has None and at least one record.
    """

    header: FileHeader
    records: tuple[WalRecord, ...]
    next_offset: int
    confirmed: int = 0
    fenced_by: int | None = None


def end_of(base_offset: int, records: Sequence[WalRecord]) -> int:
    """The offset after `records`, of which the first batch begins at `base_offset`."""
    return base_offset + sum(record.rows for record in records if isinstance(record, BatchRecord))


def needed_until(base_offset: int, records: Sequence[WalRecord]) -> int:
    """The WAL floor from which on an object with these records is no longer needed."""
    end = end_of(base_offset, records)
    # A flush up to exactly this offset may have saved the producers before this one was opened.
    return end if records and isinstance(records[-1], BatchRecord) else end + 1


def encode_object(
    header: FileHeader, records: Sequence[tuple[WalRecord, bytes]], confirmed: int
) -> list[bytes | memoryview]:
    """The bytes of a data object with `records`, given with their encoded headers; the bodies are not copied."""
    parts: list[bytes | memoryview] = [encode_file_header(header)]
    position = FILE_HEADER_BYTES
    for record, record_header in records:
        encoded = encode_record(header.file_id, position, record, record_header)
        position += sum(len(part) for part in encoded)
        parts += encoded
    end = end_of(header.base_offset, [record for record, _ in records])
    parts.append(encode_control(header.file_id, position, Control(RecordType.SEAL, confirmed, end)))
    return parts


def encode_fence(header: FileHeader, epoch: int) -> bytes:
    """The bytes of a fence of the owner of `epoch`; the header is of the epoch and number that it ends."""
    control = Control(RecordType.FENCE, epoch, header.base_offset)
    return encode_file_header(header) + encode_control(header.file_id, FILE_HEADER_BYTES, control)


def decode_object(data: bytes, key: str, shard: int, epoch: int, number: int) -> WalObject:
    """The object of `key`; raises Corrupt when a byte is wrong or missing, or when it is another object's content.

    Bodies are slices of `data`, not copies.
    """
    header = decode_file_header(data[:FILE_HEADER_BYTES], f"object {key!r}")
    if (header.shard, header.epoch, header.number) != (shard, epoch, number):
        raise Corrupt(f"object {key!r} is the one of shard {header.shard} {header.epoch}-{header.number}: restore it")
    if encode_file_header(header) != data[:FILE_HEADER_BYTES]:
        raise Corrupt(f"object {key!r} is damaged in the zeros of its header: restore it, nothing was changed")
    buffer, position = pa.py_buffer(data), FILE_HEADER_BYTES
    records: list[WalRecord] = []
    while True:
        frame = read_frame(buffer, header.file_id, position)
        if not isinstance(frame, Frame):
            raise Corrupt(f"object {key!r} is damaged at {position} ({frame}): restore it, nothing was changed")
        position = frame.end
        if frame.type in (RecordType.SEAL, RecordType.FENCE):
            break
        record = decode_frame(buffer, frame, f"object {key!r}")
        if isinstance(record, Control):
            raise Corrupt(f"object {key!r} has a mark at {frame.position}, which only files have: restore it")
        records.append(record)
    control, end = decode_control(buffer, frame), end_of(header.base_offset, records)
    fence = control.type is RecordType.FENCE
    if position != buffer.size or control.next_offset != end or fence == bool(records):
        raise Corrupt(f"object {key!r} does not end as it should at {position}: restore it, nothing was changed")
    if fence:
        return WalObject(header, (), end, fenced_by=control.synced_position)
    return WalObject(header, tuple(records), end, confirmed=control.synced_position)
