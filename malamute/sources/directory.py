"""Owns what a directory of event files holds: which files there are, which are complete. Never reads them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

JSON_SUFFIXES: Final = (".ndjson", ".jsonl", ".json")
TABLE_SUFFIXES: Final = (".parquet", ".arrow")
COMPRESSED_SUFFIXES: Final = (".gz", ".zst", ".lz4")


@dataclass(frozen=True, slots=True, order=True)
class EventFile:
    """A file as the directory had it; files are read in this order. `path` is relative to the directory."""

    modified_ns: int
    path: str
    size: int
    device: int
    inode: int

    @property
    def version(self) -> tuple[int, int]:
        """What changes when the file does."""
        return self.size, self.modified_ns

    @property
    def body(self) -> tuple[int, int, int, int]:
        """What stays when the file is renamed."""
        return self.device, self.inode, self.size, self.modified_ns

    def is_settled(self, now_ns: int, settle_s: float) -> bool:
        """Whether nobody has written to it for `settle_s` seconds; a time in the future is another clock's."""
        return abs(now_ns - self.modified_ns) >= settle_s * 1e9


def event_files(directory: Path) -> Iterator[EventFile]:
    """The event files in `directory` and below it, in no order. Links to directories are not followed.

    Names that begin with "." or "_" are somebody's work in progress and left out, as are those with other suffixes.
    """
    pending = [directory]
    while pending:
        with os.scandir(pending.pop()) as entries:
            for entry in entries:
                if entry.name.startswith((".", "_")):
                    continue
                try:
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(Path(entry.path))
                    elif _is_event_name(entry.name) and entry.is_file():
                        status = entry.stat()
                        path = os.path.relpath(entry.path, directory)
                        yield EventFile(status.st_mtime_ns, path, status.st_size, status.st_dev, status.st_ino)
                except FileNotFoundError:
                    continue  # taken away since it was listed


def file_at(directory: Path, path: str) -> EventFile | None:
    """The file at a path of event_files now, None when it is gone."""
    try:
        status = (directory / path).stat()
    except FileNotFoundError:
        return None
    return EventFile(status.st_mtime_ns, path, status.st_size, status.st_dev, status.st_ino)


def _is_event_name(name: str) -> bool:
    stem, suffix = os.path.splitext(name.lower())
    return suffix in JSON_SUFFIXES + TABLE_SUFFIXES or (suffix in COMPRESSED_SUFFIXES and stem.endswith(JSON_SUFFIXES))
