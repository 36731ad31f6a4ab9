"""Owns following text files as they grow: the new whole lines of every file in a directory, each exactly once.

Forgets nothing while it lives and keeps nothing after it; never waits: whoever follows asks again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHUNK_BYTES = 1024 * 1024

# What tells one process of a component from another: ids, hashes and numbers at the end of a file's name.
_INSTANCE = re.compile(r"([-_.]?([0-9a-f]{8,}|\d+))+$")


@dataclass(slots=True)
class Tail:
    """Follows the files directly in `directory` whose names end in one of `suffixes`."""

    directory: Path
    suffixes: tuple[str, ...] = (".log", ".out", ".err")
    _offsets: dict[str, int] = field(default_factory=dict)

    def lines(self, *, at_end: bool = False) -> list[dict[str, Any]]:
        """Events of the lines written since the last call; a line without its end waits, unless `at_end`."""
        found = []
        for path in sorted(self.directory.iterdir()):
            if path.suffix in self.suffixes and path.is_file():
                found += self._new_lines(path, at_end)
        return found

    def _new_lines(self, path: Path, at_end: bool) -> list[dict[str, Any]]:
        offset = self._offsets.get(path.name, 0)
        service, found = component(path.name), []
        with path.open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                end = len(chunk) if at_end else chunk.rfind(b"\n") + 1
                if end == 0 and len(chunk) < CHUNK_BYTES:
                    break
                end = end or len(chunk)  # a line longer than a chunk is cut
                offset += end
                file.seek(offset)
                for line in chunk[:end].split(b"\n"):
                    if text := line.decode(errors="replace").rstrip():
                        found.append({"message": text, "file": path.name, "service": service})
        self._offsets[path.name] = offset
        return found


def component(file_name: str) -> str:
    """The part of a system that writes a log file, by its name: worker-2f…-01000000-77.out → "worker"."""
    stem = file_name.rpartition(".")[0] or file_name
    while (shorter := _INSTANCE.sub("", stem)) != stem and shorter:
        stem = shorter
    return stem
