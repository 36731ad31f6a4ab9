"""Owns reading a WAL back: replay, and the line between a torn tail and damage. Never modifies a file.

A torn tail is what a crash may leave after the last synced byte: it is cut. Anything else that does not read back is
damage: it is reported as Corrupt, and nothing is served (docs/formats/wal.md, "Recovery").
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from core.errors import Corrupt, Unavailable
from storage.fs import FileSystem
from storage.wal_format import (
    FILE_HEADER_BYTES,
    BatchRecord,
    Control,
    FileHeader,
    Frame,
    RecordType,
    WalRecord,
    decode_control,
    decode_file_header,
    decode_frame,
    find_control,
    parse_name,
    read_frame,
)

Sink = Callable[[WalRecord, bool], None]  # the record, and whether it is known to be on stable storage


@dataclass(frozen=True, slots=True)
class WalFile:
    """A file of the WAL: from the WAL floor `needed_until` on, it may be removed."""

    name: str
    needed_until: int
    bytes: int


@dataclass(frozen=True, slots=True)
class TornTail:
    """`bytes` bytes of `file` from `position` on that were never synced and are no whole records: cut."""

    file: str
    position: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """What replay found. `unsynced` must be carried over into the next writer's first file: Wal does it.

    `next_offset` is the next event's; `base_offset` is where the next writer's first file begins: at the first
    unsynced offset. `last_epoch` is 0 when there is no file. `records` counts what the sink got.
    """

    next_offset: int
    base_offset: int
    last_epoch: int
    next_file_number: int
    unsynced: tuple[WalRecord, ...]
    torn: tuple[TornTail, ...]
    files: tuple[WalFile, ...]
    bytes: int
    records: int


def replay(fs: FileSystem, directory: str, shard: int, floor: int, sink: Sink) -> Recovery:
    """Give `sink` every record of the shard's WAL in order: each offset from `floor` on once, and all producer opens.

    Bodies are slices of the file's bytes. Raises Corrupt when synced bytes are missing, damaged or of another format
    (the sink may have got records by then: discard them), and Unavailable when a file cannot be read.
    """
    try:
        run = _Replay(fs, directory, floor, sink)
        headers = _file_headers(fs, directory, shard)
        for header, following in zip_longest(headers, headers[1:]):
            run.file(header, following)
    except OSError as error:
        raise Unavailable(f"cannot read the wal in {directory}: {error}; check the disk, then open again") from error
    return run.result(headers)


def _file_headers(fs: FileSystem, directory: str, shard: int) -> list[FileHeader]:
    """Headers of all files in the order they were written, checked against their names and each other."""
    headers: list[FileHeader] = []
    for _, name in sorted((key, name) for name in fs.list(directory) if (key := parse_name(name))):
        path = f"{directory}/{name}"
        header = decode_file_header(fs.read_range(path, 0, FILE_HEADER_BYTES), path)
        if header.name != name or header.shard != shard:
            raise Corrupt(f"{path} belongs to shard {header.shard} as {header.name}: put it back where it was")
        if headers and (headers[-1].number >= header.number or headers[-1].base_offset > header.base_offset):
            raise Corrupt(f"{path} does not follow {headers[-1].name}: number or base offset went back; restore both")
        headers.append(header)
    return headers


class _Replay:
    """The state of one replay between files."""

    def __init__(self, fs: FileSystem, directory: str, floor: int, sink: Sink) -> None:
        self._fs = fs
        self._directory = directory
        self._floor = floor
        self._sink = sink
        self._next = floor  # next offset expected
        self._needed_until = 0
        self._unsynced: list[WalRecord] = []
        self._torn: list[TornTail] = []
        self._files: list[WalFile] = []
        self._bytes = 0
        self._records = 0

    def file(self, header: FileHeader, following: FileHeader | None) -> None:
        """Replay one file; `following` is the next one's header, or None for the last."""
        path = f"{self._directory}/{header.name}"
        if header.base_offset > max(self._next, self._floor):
            raise Corrupt(f"{path} begins at offset {header.base_offset}, floor is {self._floor}: restore older files")
        self._next = self._needed_until = header.base_offset
        data = pa.py_buffer(self._fs.read(path))
        frames, stop = _scan(data, header.file_id)
        self._check_tail(data, header, stop, path)
        superseded_from = following.base_offset if following and following.epoch > header.epoch else None
        last = next((frame for frame in reversed(frames) if frame.type in (RecordType.MARK, RecordType.SEAL)), None)
        proof = decode_frame(data, last, path) if last else None
        synced_position = proof.synced_position if isinstance(proof, Control) else 0
        for frame in frames:
            record = decode_frame(data, frame, path)
            if isinstance(record, Control):
                self._check_control(record, frame, path)
            elif isinstance(record, BatchRecord) and record.first_offset == superseded_from:
                break  # the next epoch carried this record and all after it into its own file
            else:
                self._deliver(record, path, following is not None or frame.end <= synced_position)
        if following is None:
            if stop < data.size:
                self._torn.append(TornTail(header.name, stop, data.size - stop))
        else:
            sealed = isinstance(proof, Control) and proof.type == RecordType.SEAL
            self._check_following(header, following, sealed, stop, path)
        self._files.append(WalFile(header.name, self._needed_until, data.size))
        self._bytes += data.size

    def _check_tail(self, data: pa.Buffer, header: FileHeader, stop: int, path: str) -> None:
        later = find_control(data, header.file_id, stop) if stop < data.size else None
        if later is not None and later.synced_position > stop:
            raise Corrupt(
                f"{path} is damaged at {stop} ({_why(data, header.file_id, stop)}): bytes up to "
                f"{later.synced_position}, with the events up to offset {later.next_offset - 1}, had been synced; "
                "restore it, nothing was changed"
            )

    def _check_following(self, header: FileHeader, following: FileHeader, sealed: bool, stop: int, path: str) -> None:
        base = following.base_offset
        # A gap below the floor is harmless: those events are in segments, and of two files that were removed a power
        # cut may bring back the older one.
        complete = self._next == base or self._next < base <= self._floor
        if following.epoch == header.epoch:
            complete = complete and sealed
        if not complete:
            raise Corrupt(
                f"{path} ends at {stop} with {'a' if sealed else 'no'} seal and offset {self._next}, but "
                f"{following.name} begins at offset {base}: what is between was synced; restore it, nothing was changed"
            )

    def _check_control(self, control: Control, frame: Frame, path: str) -> None:
        if control.next_offset != self._next or control.synced_position > frame.position:
            raise Corrupt(
                f"{path} marks offset {control.next_offset} at {frame.position} but its records end at offset "
                f"{self._next}; restore it, nothing was changed"
            )

    def _deliver(self, record: WalRecord, path: str, synced: bool) -> None:
        if isinstance(record, BatchRecord):
            first, end = record.first_offset, record.first_offset + record.rows
            if first != self._next or end <= first or first < self._floor < end:
                raise Corrupt(
                    f"{path} holds a batch of offsets {first}-{end - 1} where {self._next} must come next and the "
                    f"floor is {self._floor}; restore it, nothing was changed"
                )
            self._next = self._needed_until = end
            if end <= self._floor:
                return
        else:
            # A flush up to exactly this offset may have saved the producers before this one was opened.
            self._needed_until = self._next + 1
        self._records += 1
        if not synced:
            self._unsynced.append(record)
        self._sink(record, synced)

    def result(self, headers: list[FileHeader]) -> Recovery:
        next_offset = max(self._next, self._floor)
        firsts = (record.first_offset for record in self._unsynced if isinstance(record, BatchRecord))
        return Recovery(
            next_offset=next_offset,
            base_offset=next(firsts, next_offset),
            last_epoch=headers[-1].epoch if headers else 0,
            next_file_number=headers[-1].number + 1 if headers else 0,
            unsynced=tuple(self._unsynced),
            torn=tuple(self._torn),
            files=tuple(self._files),
            bytes=self._bytes,
            records=self._records,
        )


def _scan(data: pa.Buffer, file_id: int) -> tuple[list[Frame], int]:
    """All valid records from the start of a file, and the position of the first byte that is none."""
    frames: list[Frame] = []
    position = FILE_HEADER_BYTES
    while isinstance(frame := read_frame(data, file_id, position), Frame):
        frames.append(frame)
        position = frame.end
        if frame.type in (RecordType.SEAL, RecordType.FENCE):
            break
    return frames, position


def _why(data: pa.Buffer, file_id: int, position: int) -> str:
    frame = read_frame(data, file_id, position)
    return "bytes after the seal" if isinstance(frame, Frame) else frame


def inspect_wal(fs: FileSystem, path: str) -> Iterator[dict[str, Any]]:
    """Describe a WAL file or object for people: header, each record, and what ends it. Stops at the first bad one."""
    data = pa.py_buffer(fs.read(path))
    header = decode_file_header(data.slice(0, min(FILE_HEADER_BYTES, data.size)).to_pybytes(), path)
    yield {"position": 0, "type": "FILE", "ok": True, "header": _fields(header), "body_bytes": 0}
    frames, stop = _scan(data, header.file_id)
    for frame in frames:
        try:
            fence = frame.type == RecordType.FENCE
            fields = _fields(decode_control(data, frame) if fence else decode_frame(data, frame, path))
        except Corrupt as error:
            yield {"position": frame.position, "type": frame.type, "ok": False, "reason": str(error)}
            continue
        yield {
            "position": frame.position,
            "type": RecordType(frame.type).name,
            "ok": True,
            "header": fields,
            "body_bytes": frame.body_end - frame.body_start,
        }
    if stop < data.size:
        later = find_control(data, header.file_id, stop)
        damage = (
            f"damage: synced up to {later.synced_position}" if later and later.synced_position > stop else "torn tail"
        )
        reason = _why(data, header.file_id, stop)
        yield {"position": stop, "type": "BAD", "ok": False, "reason": f"{reason}; {damage}"}


def _fields(value: FileHeader | WalRecord | Control) -> dict[str, Any]:
    names = (name for name in value.__dataclass_fields__ if name not in ("body", "type"))
    return {name: getattr(value, name) for name in names}
