"""Owns `malamute inspect`: what a stored file holds, read without a running deployment."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import InvalidRequest, NotFound
from storage.fs import LocalFileSystem
from storage.inspect_storage import (
    inspect_catalog,
    inspect_manifest,
    inspect_placements,
    inspect_segment,
    inspect_snapshot,
)
from storage.wal_recovery import inspect_wal


def run(kind: str, path: str) -> None:
    """Print what the file of the given kind holds, as JSON. Raises NotFound, Corrupt."""
    if kind not in KINDS:
        raise InvalidRequest(f"there is no file kind {kind!r}: use one of {', '.join(KINDS)}")
    if not Path(path).is_file():
        raise NotFound(f"there is no file {path!r}")
    json.dump(KINDS[kind](path), sys.stdout, indent=2, default=_plain)
    sys.stdout.write("\n")


def _plain(value: Any) -> Any:
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)


KINDS: dict[str, Callable[[str], Any]] = {
    "wal": lambda path: list(inspect_wal(LocalFileSystem(), path)),
    "segment": inspect_segment,
    "manifest": lambda path: inspect_manifest(Path(path).read_bytes()),
    "catalog": lambda path: inspect_catalog(Path(path).read_bytes()),
    "placements": lambda path: inspect_placements(Path(path).read_bytes()),
    "snapshot": lambda path: inspect_snapshot(Path(path).read_bytes()),
}
