"""Owns the partial states that are kept per (segment, normalized leaf): in memory, and behind it on a local disk.

Correct because a segment never changes: the key names the segment, and the text of the leaf over it says everything
else. A file that is damaged or cut is a miss. The directory belongs to one process.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from typing import Final

import duckdb
import google_crc32c
import pyarrow as pa

from core.limits import STATE_BYTES_MAX
from storage.fs import FileSystem
from storage.snapshot import Segment

_CRC_BYTES: Final = 4
# What an entry costs beyond its buffers: schema, Python objects, the key.
_ENTRY_BYTES: Final = 2_048
_ASKED_MAX: Final = 10_000  # questions that are remembered to have been asked
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression="lz4")


class StateCache:
    """Arrow tables by key, least recently used first out of memory and then off the disk. Thread-safe."""

    def __init__(self, bytes_max: int, fs: FileSystem, directory: str = "", disk_bytes_max: int = 0) -> None:
        """`bytes_max` bounds the memory, `disk_bytes_max` the files in `directory`; 0 turns either off."""
        self._bytes_max = bytes_max
        self._fs = fs
        self._directory = directory
        self._disk_bytes_max = disk_bytes_max if directory else 0
        self._asked: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._files: OrderedDict[str, int] | None = None
        self.bytes = 0
        self.disk_bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: str) -> pa.Table | None:
        """The table that was put under `key`, None when it is not there any more."""
        with self._lock:
            table = self._tables.get(key)
            if table is None:
                table = self._read(key)
            if table is None:
                self.misses += 1
                return None
            self.hits += 1
            if key in self._tables:
                self._tables.move_to_end(key)
            else:
                self._remember(key, table)
            return table

    def put(self, key: str, table: pa.Table) -> None:
        """Keep `table`, unless it is larger than STATE_BYTES_MAX."""
        if self._bytes_max == 0 or table.nbytes > STATE_BYTES_MAX:
            return
        with self._lock:
            if key not in self._tables:
                self._remember(key, table)
                self._write(key, table)

    def is_new(self, question: str) -> bool:
        """Whether `question` is asked for the first time, as far as is remembered: not worth an entry yet."""
        with self._lock:
            new = question not in self._asked
            self._asked[question] = None
            self._asked.move_to_end(question)
            while len(self._asked) > _ASKED_MAX:
                self._asked.popitem(last=False)
            return new

    def status(self) -> dict[str, int]:
        """Numbers for people: hits and misses since the start, entries and bytes now."""
        with self._lock:
            return {
                "hits": self.hits,
                "misses": self.misses,
                "entries": len(self._tables),
                "bytes": self.bytes,
                "disk_bytes": self.disk_bytes,
            }

    def _remember(self, key: str, table: pa.Table) -> None:
        self._tables[key] = table
        self.bytes += table.nbytes + _ENTRY_BYTES
        while self.bytes > self._bytes_max and len(self._tables) > 1:
            _, oldest = self._tables.popitem(last=False)
            self.bytes -= oldest.nbytes + _ENTRY_BYTES

    # --- the disk behind it -------------------------------------------------------------------------------------

    def _open_directory(self) -> OrderedDict[str, int]:
        if self._files is None:
            self._files = OrderedDict()
            # A directory that cannot be read is an empty one.
            with suppress(OSError):
                self._fs.make_directories(self._directory)
                for name in self._fs.list(self._directory):
                    self._files[name] = self._fs.size(f"{self._directory}/{name}")
            self.disk_bytes = sum(self._files.values())
        return self._files

    def _read(self, key: str) -> pa.Table | None:
        if self._disk_bytes_max == 0 or key not in self._open_directory():
            return None
        path = f"{self._directory}/{key}"
        with suppress(OSError, pa.ArrowException):
            data = self._fs.read_range(path, 0, self._fs.size(path))
            body = data[_CRC_BYTES:]
            if google_crc32c.value(body) == int.from_bytes(data[:_CRC_BYTES], "little"):
                self._open_directory().move_to_end(key)
                return pa.ipc.open_stream(body).read_all()
        self._drop(key)
        return None

    def _write(self, key: str, table: pa.Table) -> None:
        if self._disk_bytes_max == 0:
            return
        files = self._open_directory()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema, options=_OPTIONS) as writer:
            writer.write_table(table)
        body = sink.getvalue().to_pybytes()
        temporary = f"{self._directory}/{secrets.token_hex(8)}"
        # A cache: what cannot be written is computed again, and nothing is synced.
        with suppress(OSError):
            self._write_file(temporary, f"{self._directory}/{key}", body)
            self.disk_bytes += len(body) + _CRC_BYTES - files.pop(key, 0)
            files[key] = len(body) + _CRC_BYTES
        while self.disk_bytes > self._disk_bytes_max and len(files) > 1:
            self._drop(next(iter(files)))

    def _write_file(self, temporary: str, path: str, body: bytes) -> None:
        file = self._fs.create(temporary)
        try:
            file.write(google_crc32c.value(body).to_bytes(_CRC_BYTES, "little") + body)
            self._fs.rename(temporary, path)
        except OSError:
            # A full disk must not fill up with what did not fit.
            with suppress(OSError):
                self._fs.unlink(temporary)
            raise
        finally:
            file.close()

    def _drop(self, key: str) -> None:
        self.disk_bytes -= self._open_directory().pop(key, 0)
        with suppress(OSError):
            self._fs.unlink(f"{self._directory}/{key}")


def state_key(segment: Segment, leaf_sql: str) -> str:
    """The key of what `leaf_sql` (without the file's path) gives over a segment, with this version of the engine.

    The checksum tells it from a segment of the same name in a store that was made anew in the same place.
    """
    text = "\0".join((duckdb.__version__, segment.name, str(segment.crc32c), str(segment.bytes), leaf_sql))
    return hashlib.sha256(text.encode()).hexdigest()[:40]
