"""Owns what is known of the files of a directory: which were begun and which are stored, as events of their own stream.

The ledger is the memory of a source: producers remember one position, and only while they are used.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from core.clock import Clock
from core.errors import InvalidRequest, check
from ingest.shred import ShredSettings, shred_dicts
from malamute.sources.directory import EventFile
from malamute.sources.store import SourceStore
from malamute.sources.writer import Patience, SourceWriter

BEGUN: Final = "begun"
STORED: Final = "stored"
FAILED: Final = "failed"

_PATHS: Final = ("file.path", "file.size", "file.modified_ns", "file.device", "file.inode", "state", "at_us")


class FilePosition(NamedTuple):
    """How far a file is stored: `at` bytes of decompressed JSON, or rows of anything else; and what that came to."""

    path: str
    size: int
    modified_ns: int
    at: int
    events: int = 0
    refused: int = 0

    def encode(self) -> bytes:
        """The position as it is stored beside a batch."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> FilePosition:
        """The position of encode(); InvalidRequest when something else was stored."""
        try:
            values = json.loads(data)
            numbers = (int(values[name]) for name in cls._fields[1:])
            return cls(str(values["path"]), *numbers)
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest("the stored position was not left by a source of files") from error

    def is_in(self, file: EventFile) -> bool:
        """Whether it is a position in this version of the file."""
        return (self.path, self.size, self.modified_ns) == (file.path, file.size, file.modified_ns)


class Known(Enum):
    """What the ledger knows of a file."""

    NOTHING = "nothing"
    DONE = "done"
    MOVED = "moved"  # stored under another name
    CHANGED = "changed"  # stored, and not as it is now


@dataclass(frozen=True, slots=True)
class Entry:
    """The last that was written down of a file, and when, in microseconds since 1970."""

    file: EventFile
    state: str
    at_us: int


def ledger_stream(stream: str) -> str:
    """The stream that says which files the events of `stream` came from."""
    return f"{stream}_files"


class FileLedger:
    """The ledger of one directory. One thread."""

    def __init__(
        self, store: SourceStore, stream: str, directory: str, source_id: str, patience: Patience, clock: Clock
    ) -> None:
        self._store = store
        self._stream = ledger_stream(stream)
        self._directory = directory
        self._patience = patience
        self._clock = clock
        self._writer = SourceWriter(store, self._stream, source_id, patience, clock)
        self._entries: dict[str, Entry] = {}
        self._bodies: set[tuple[int, int, int, int]] = set()

    def open(self) -> Entry | None:
        """Fence older sources and read everything; the file that was begun and not finished."""
        self._writer.open()
        rows = self._patience.settled(lambda: self._store.select(self._stream, _PATHS, {"directory": self._directory}))
        for row in rows:
            modified_ns, size, device, inode = (
                int(row[f"file.{name}"]) for name in ("modified_ns", "size", "device", "inode")
            )
            file = EventFile(modified_ns, row["file.path"], size, device, inode)
            self._learn(Entry(file, row["state"], int(row["at_us"])))
        return next((entry for entry in self._entries.values() if entry.state == BEGUN), None)

    def knows(self, file: EventFile) -> Known:
        """What is known of a file as the directory has it."""
        entry = self._entries.get(file.path)
        if entry is not None and entry.state != BEGUN:
            return Known.DONE if entry.file.version == file.version else Known.CHANGED
        return Known.MOVED if file.body in self._bodies else Known.NOTHING

    def write(self, file: EventFile, state: str, position: FilePosition, reason: str = "") -> None:
        """Write down the state of a file and how far it is stored; that is stored when this returns."""
        entry = Entry(file, state, self._clock.now_us())
        event: dict[str, Any] = {
            "directory": self._directory,
            "state": state,
            "at_us": entry.at_us,
            "file": {
                "path": file.path,
                "size": file.size,
                "modified_ns": file.modified_ns,
                "device": file.device,
                "inode": file.inode,
            },
        }
        if state != BEGUN:
            event |= {"events": position.events, "refused": position.refused}
        if reason:
            event["reason"] = reason
        piece = shred_dicts([event], ShredSettings(), ingest_time_us=entry.at_us)
        check(piece.batch is not None, "SRC-3", "an entry of the ledger is refused")
        self._writer.write(piece.batch, (), position)
        self._writer.drain()
        self._learn(entry)

    def keep(self) -> None:
        """See SourceWriter.keep."""
        self._writer.keep()

    def _learn(self, entry: Entry) -> None:
        self._entries[entry.file.path] = entry
        if entry.state != BEGUN:
            self._bodies.add(entry.file.body)
