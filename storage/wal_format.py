"""Owns the bytes of a WAL file: names, file header, records, checksums (docs/formats/wal.md). Never touches a disk."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple

import google_crc32c
import msgpack
import pyarrow as pa

from core.errors import Corrupt
from core.limits import WAL_RECORD_BYTES_MAX

FORMAT_VERSION: Final = 1
MAGIC: Final = b"MLMT-WAL"
SUFFIX: Final = ".wal"
UNNAMED_SUFFIX: Final = ".wal.new"  # a file that nothing refers to yet

_FILE_HEADER: Final = struct.Struct("<8sIIQQQQI4x")  # magic, version, shard, epoch, number, file id, base offset, crc
_FILE_HEADER_CHECKED: Final = 48
FILE_HEADER_BYTES: Final = _FILE_HEADER.size

_FRAME: Final = struct.Struct("<IIB3xI")  # payload length, crc32c, type, msgpack header length
FRAME_BYTES: Final = _FRAME.size
_SEED: Final = struct.Struct("<QQIB3xI")  # file id, position, payload length, type, msgpack header length
_CONTROL: Final = struct.Struct("<QQ")  # synced position (see Control), next offset
_ALIGNMENT: Final = 8
_BATCH: Final = (str, str, str, int, int, (bytes, type(None)), int, int, int)  # the header of a BATCH
_NAME: Final = re.compile(r"(\d{8,})-(\d{8,})\.wal\Z")


class RecordType(IntEnum):
    """What a record is; any other number is of a newer format."""

    BATCH = 1
    OPEN_PRODUCER = 2
    MARK = 3  # up to where the file was synced
    SEAL = 4  # the same, and nothing follows
    FENCE = 5  # in an object: a newer owner ended the log of this epoch here
    JUDGED_BATCH = 6  # a batch with what was decided of its events by their ids
    DUPLICATES = 7  # a batch of which no event was stored


class IdVerdict(NamedTuple):
    """What was decided of a batch of a stream with a dedup key, so that a replay needs no ids to decide it again.

    `dropped` has a bit for each event of the body, lowest first, set where it is a duplicate; no bytes when none is.
    Events with a time before `late_before_us` were stored without looking for their ids.
    """

    dropped: bytes
    late_before_us: int

    @property
    def duplicates(self) -> int:
        """How many events of the body are not stored."""
        return int.from_bytes(self.dropped, "little").bit_count()


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """One accepted batch: `rows` events from `first_offset` on; `body` is core.batch.encode_batch's bytes.

    With a verdict, `rows` of the events in the body are stored.
    """

    tenant: str
    stream: str
    producer: str
    producer_epoch: int
    sequence: int
    position: bytes | None  # the producer's opaque place in its source
    first_offset: int
    rows: int
    ingested_at_us: int
    body: pa.Buffer | bytes | memoryview
    verdict: IdVerdict | None = None  # None: the stream has no dedup key


@dataclass(frozen=True, slots=True)
class OpenProducerRecord:
    """A producer began `producer_epoch`. Replaying it twice changes nothing: the largest epoch wins."""

    tenant: str
    stream: str
    producer: str
    producer_epoch: int


@dataclass(frozen=True, slots=True)
class DuplicatesRecord:
    """A batch all of whose `duplicates` events were there already: its producer went on, and nothing was stored.

    Replaying it twice changes nothing: the largest (epoch, sequence) wins.
    """

    tenant: str
    stream: str
    producer: str
    producer_epoch: int
    sequence: int
    position: bytes | None
    ingested_at_us: int
    duplicates: int


WalRecord = BatchRecord | OpenProducerRecord | DuplicatesRecord


@dataclass(frozen=True, slots=True)
class Control:
    """A MARK or SEAL: the bytes before `synced_position` are on stable storage, and `next_offset` comes next.

    In objects, which are stored whole, that number means something else: see storage/wal_object_format.py.
    """

    type: RecordType
    synced_position: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The first bytes of a file. `base_offset` is the first offset that the file may hold."""

    shard: int
    epoch: int
    number: int
    file_id: int  # random: bytes of another file, or of a recycled one, fail every checksum
    base_offset: int

    @property
    def name(self) -> str:
        return f"{self.epoch:08d}-{self.number:08d}{SUFFIX}"


class Frame(NamedTuple):
    """Where a record with a valid checksum lies: file positions in bytes."""

    position: int
    type: int
    header_bytes: int
    body_start: int
    body_end: int
    end: int


def parse_name(name: str) -> tuple[int, int] | None:
    """The (epoch, number) of a WAL file's name, or None when it is no such name."""
    match = _NAME.match(name)
    return (int(match[1]), int(match[2])) if match else None


def encode_file_header(header: FileHeader) -> bytes:
    """The FILE_HEADER_BYTES bytes that begin a file."""
    fields = (MAGIC, FORMAT_VERSION, header.shard, header.epoch, header.number, header.file_id, header.base_offset)
    crc = google_crc32c.value(_FILE_HEADER.pack(*fields, 0)[:_FILE_HEADER_CHECKED])
    return _FILE_HEADER.pack(*fields, crc)


def decode_file_header(data: bytes, path: str) -> FileHeader:
    """The header in the first bytes of a file; raises Corrupt naming `path` when it is damaged or of a newer format."""
    if len(data) < FILE_HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise Corrupt(f"{path} is not a wal file: its first {FILE_HEADER_BYTES} bytes are no header; restore it")
    _, version, shard, epoch, number, file_id, base_offset, crc = _FILE_HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise Corrupt(f"{path} has wal format {version}, this version reads {FORMAT_VERSION}: use a newer malamute")
    if google_crc32c.value(data[:_FILE_HEADER_CHECKED]) != crc:
        raise Corrupt(f"{path} has a damaged header: its checksum does not match; restore the file")
    return FileHeader(shard, epoch, number, file_id, base_offset)


def encode_header(record: WalRecord) -> bytes:
    """The msgpack header of a record, without its body."""
    values: tuple[Any, ...] = (record.tenant, record.stream, record.producer, record.producer_epoch)
    if isinstance(record, DuplicatesRecord):
        values += (record.sequence, record.position, record.ingested_at_us, record.duplicates)
    elif isinstance(record, BatchRecord):
        values += (record.sequence, record.position, record.first_offset, record.rows, record.ingested_at_us)
        values += record.verdict or ()
    packed: bytes = msgpack.packb(values)
    return packed


def payload_bytes(record: WalRecord, header: bytes) -> int:
    """The length of a record's payload in bytes; at most WAL_RECORD_BYTES_MAX is legal."""
    return _align(len(header)) + (memoryview(record.body).nbytes if isinstance(record, BatchRecord) else 0)


def encode_record(file_id: int, position: int, record: WalRecord, header: bytes) -> list[bytes | memoryview]:
    """The bytes of a record at `position`, a multiple of 8 in all; the body is not copied."""
    if isinstance(record, OpenProducerRecord):
        return _encode(file_id, position, RecordType.OPEN_PRODUCER, header, b"")
    if isinstance(record, DuplicatesRecord):
        return _encode(file_id, position, RecordType.DUPLICATES, header, b"")
    type_ = RecordType.BATCH if record.verdict is None else RecordType.JUDGED_BATCH
    return _encode(file_id, position, type_, header, record.body)


def encode_control(file_id: int, position: int, control: Control) -> bytes:
    """A MARK or SEAL at `position`."""
    header = _CONTROL.pack(control.synced_position, control.next_offset)
    return b"".join(_encode(file_id, position, control.type, header, b""))


def _encode(
    file_id: int, position: int, type_: RecordType, header: bytes, body: pa.Buffer | bytes | memoryview
) -> list[bytes | memoryview]:
    padded_header = header.ljust(_align(len(header)), b"\0")
    view = memoryview(body).cast("B")
    length = len(padded_header) + view.nbytes
    padding = bytes(-length % _ALIGNMENT)
    crc = google_crc32c.value(_SEED.pack(file_id, position, length, type_, len(header)))
    # google_crc32c refuses memoryviews but takes an Arrow buffer over one.
    for part in (padded_header, pa.py_buffer(body), padding):
        crc = google_crc32c.extend(crc, part)
    return [_FRAME.pack(length, crc, type_, len(header)) + padded_header, view, padding]


def read_frame(data: pa.Buffer, file_id: int, position: int) -> Frame | str:
    """The record at `position` of a file's bytes, or why there is none."""
    size = data.size
    if position + FRAME_BYTES > size:
        return "end of the file" if position == size else "the file ends inside a record"
    length, crc, type_, header_bytes = _FRAME.unpack_from(data, position)
    if length == 0:
        return "zero length"
    start = position + FRAME_BYTES
    end = start + _align(length)
    if length > WAL_RECORD_BYTES_MAX or _align(header_bytes) > length:
        return "impossible length"
    if end > size:
        return "the file ends inside a record"
    expected = google_crc32c.value(_SEED.pack(file_id, position, length, type_, header_bytes))
    if google_crc32c.extend(expected, data.slice(start, end - start)) != crc:
        return "wrong checksum"
    return Frame(position, type_, header_bytes, start + _align(header_bytes), start + length, end)


def decode_frame(data: pa.Buffer, frame: Frame, path: str) -> WalRecord | Control:
    """The record in `frame`; its body is a slice of `data`, not a copy. Corrupt (naming `path`) for a newer format."""
    header = data.slice(frame.position + FRAME_BYTES, frame.header_bytes)
    if frame.type in (RecordType.MARK, RecordType.SEAL) and header.size == _CONTROL.size:
        return decode_control(data, frame)
    try:
        body = data.slice(frame.body_start, frame.body_end - frame.body_start)
        if frame.type == RecordType.BATCH:
            return BatchRecord(*(*_typed(header, _BATCH), body))
        if frame.type == RecordType.JUDGED_BATCH:
            *values, dropped, late_before_us = _typed(header, (*_BATCH, bytes, int))
            return BatchRecord(*(*values, body, IdVerdict(dropped, late_before_us)))
        if frame.type == RecordType.DUPLICATES:
            return DuplicatesRecord(*_typed(header, (str, str, str, int, int, (bytes, type(None)), int, int)))
        if frame.type == RecordType.OPEN_PRODUCER:
            return OpenProducerRecord(*_typed(header, (str, str, str, int)))
    except ValueError as error:
        raise Corrupt(f"{path} has an unreadable record header at {frame.position}: {error}; restore it") from error
    raise Corrupt(f"{path} has a record of unknown type {frame.type} at {frame.position}: use a newer malamute")


def decode_control(data: pa.Buffer, frame: Frame) -> Control:
    """The MARK, SEAL or FENCE in `frame`."""
    return Control(RecordType(frame.type), *_CONTROL.unpack(data.slice(frame.position + FRAME_BYTES, _CONTROL.size)))


def find_control(data: pa.Buffer, file_id: int, start: int) -> Control | None:
    """Of the valid MARKs and SEALs at or after `start`, the one that proves most bytes synced; None without any."""
    tail = data.slice(start).to_pybytes()
    found: Control | None = None
    for type_ in (RecordType.MARK, RecordType.SEAL):
        for at in _occurrences(tail, _FRAME.pack(0, 0, type_, _CONTROL.size)[8:]):
            position = start + at - 8  # the pattern is the second half of a frame
            if at < 8 or position % _ALIGNMENT or _FRAME.unpack_from(data, position)[0] != _CONTROL.size:
                continue
            if isinstance(read_frame(data, file_id, position), Frame):
                control = Control(type_, *_CONTROL.unpack_from(data, position + FRAME_BYTES))
                if found is None or control.synced_position > found.synced_position:
                    found = control
    return found


def _occurrences(data: bytes, pattern: bytes) -> Iterable[int]:
    at = data.find(pattern)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1)


def _typed(header: pa.Buffer, types: tuple[Any, ...]) -> tuple[Any, ...]:
    values = msgpack.unpackb(header, use_list=False)
    if not isinstance(values, tuple) or len(values) != len(types) or not all(map(isinstance, values, types)):
        raise ValueError(f"not the {len(types)} values expected")
    return values


def _align(length: int) -> int:
    return -(-length // _ALIGNMENT) * _ALIGNMENT
