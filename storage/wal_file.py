"""Owns the one WAL file being written: its creation, appends, marks and seal. Never reads, never queues.

A file gets its name only when its header and everything carried over from an older epoch are synced, so a named
file is complete up to there (WAL-2). After any failure not one more byte is written (WAL-6).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from core.errors import check
from storage.fs import FileSystem
from storage.wal_format import (
    FILE_HEADER_BYTES,
    SUFFIX,
    UNNAMED_SUFFIX,
    BatchRecord,
    Control,
    FileHeader,
    RecordType,
    WalRecord,
    encode_control,
    encode_file_header,
    encode_header,
    encode_record,
)


class ActiveFile:
    """An open WAL file. Not thread-safe. Every method may raise OSError, which ends the file's life.

    `bytes` is its length, `next_offset` what the next batch must begin with, `needed_until` the WAL floor from which
    on the file is no longer needed.
    """

    def __init__(self, fs: FileSystem, directory: str, header: FileHeader, carried: Iterable[WalRecord] = ()) -> None:
        """Create the file durably, with `carried` as its first records, synced."""
        self.name = header.name
        self.bytes = 0
        self.next_offset = self.needed_until = header.base_offset
        self._file_id = header.file_id
        self._usable = True
        self._dirty = False  # data, not only a mark, written since the last sync
        self._synced_position = 0
        unnamed = f"{directory}/{self.name.removesuffix(SUFFIX)}{UNNAMED_SUFFIX}"
        self._file = fs.create(unnamed)
        with ExitStack() as on_failure:
            on_failure.callback(self._file.close)
            self._write([encode_file_header(header)])
            self.append((record, encode_header(record)) for record in carried)
            self._sync()
            if self.bytes > FILE_HEADER_BYTES:
                self._write_control(RecordType.MARK)
            fs.rename(unnamed, f"{directory}/{self.name}")
            fs.sync_directory(directory)
            on_failure.pop_all()

    def append(self, records: Iterable[tuple[WalRecord, bytes]]) -> None:
        """Write records, given with their encoded headers, to the operating system."""
        buffers: list[bytes | memoryview] = []
        position = self.bytes
        for record, header in records:
            if isinstance(record, BatchRecord):
                offset, expected = record.first_offset, self.next_offset
                check(offset == expected, "WAL-3", "%s got offset %s, expected %s", self.name, offset, expected)
                self.next_offset += record.rows
                self.needed_until = self.next_offset
            else:
                # A flush up to exactly next_offset may have saved the producers before this one was opened.
                self.needed_until = self.next_offset + 1
            parts = encode_record(self._file_id, position, record, header)
            position += sum(len(part) for part in parts)
            buffers += parts
        if buffers:
            self._dirty = True
            self._write(buffers)

    def sync(self) -> None:
        """Put everything written so far on stable storage and mark it so; the mark itself needs no sync."""
        self._sync()
        self._write_control(RecordType.MARK)

    def seal(self) -> None:
        """End the file durably and close it. The seal proves the data synced, so it is written after their sync."""
        if self._dirty:
            self._sync()
        self._write_control(RecordType.SEAL)
        self._sync()
        self.close()

    def close(self) -> None:
        """Give the descriptor back without writing."""
        self._usable = False
        self._file.close()

    def _write_control(self, type_: RecordType) -> None:
        # Not self.bytes: a mark before a seal may itself not be synced, and a power cut may leave only the seal.
        control = Control(type_, self._synced_position, self.next_offset)
        self._write([encode_control(self._file_id, self.bytes, control)])

    def _sync(self) -> None:
        with self._unusable_on_failure():
            self._file.sync()
        self._dirty = False
        self._synced_position = self.bytes

    def _write(self, buffers: list[bytes | memoryview]) -> None:
        with self._unusable_on_failure():
            self._file.write_all(buffers)
        self.bytes += sum(len(buffer) for buffer in buffers)

    @contextmanager
    def _unusable_on_failure(self) -> Iterator[None]:
        # After a failed fsync Linux may report success on retry while the data are gone.
        check(self._usable, "WAL-6", "wal file %s is closed or failed and must not be written", self.name)
        self._usable = False
        yield
        self._usable = True
