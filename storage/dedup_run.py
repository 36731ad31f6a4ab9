"""Owns the run of ids on storage: its bytes, and what the manifest says of it (docs/formats/ids.md). No time, no rules.

A run is immutable: the hashes of the ids of one slice of time, sorted, each once.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import google_crc32c
import numpy as np

from core.errors import Corrupt, NotFound
from storage.objects import ObjectStore

MAGIC: Final = b"MLMT-IDS"
FORMAT_VERSION: Final = 1

_HEADER: Final = struct.Struct("<8sIIqqQ")  # magic, version, crc32c of all else, slice start and end, ids
HEADER_BYTES: Final = _HEADER.size
CHECKED_FROM: Final = 16
_ID_BYTES: Final = 16


class IdRun(NamedTuple):
    """A run as the manifest names it: `ids` hashes of events with times from start_us up to and without end_us."""

    name: str
    start_us: int
    end_us: int
    ids: int
    crc32c: int

    @property
    def bytes(self) -> int:
        """The size of its object."""
        return HEADER_BYTES + _ID_BYTES * self.ids


@dataclass(frozen=True, slots=True)
class StreamIdRuns:
    """What a manifest says of the ids of one stream: all runs below the WAL floor, and the watermark at it."""

    watermark_us: int
    runs: tuple[IdRun, ...] = ()


def run_names(streams: Mapping[tuple[str, str], StreamIdRuns]) -> set[str]:
    """The names of all runs of a manifest."""
    return {run.name for stream in streams.values() for run in stream.runs}


def encode_run(start_us: int, end_us: int, high: Any, low: Any) -> tuple[bytes, int]:
    """(the bytes of a run, their checksum); `high` and `low` (uint64) are sorted and hold no hash twice."""
    body = high.astype("<u8", copy=False).tobytes() + low.astype("<u8", copy=False).tobytes()
    head = _HEADER.pack(MAGIC, FORMAT_VERSION, 0, start_us, end_us, len(high))
    crc = google_crc32c.extend(google_crc32c.value(head[CHECKED_FROM:]), body)
    return _HEADER.pack(MAGIC, FORMAT_VERSION, crc, start_us, end_us, len(high)) + body, crc


def decode_run(data: bytes, run: IdRun) -> tuple[Any, Any]:
    """(high, low) of encode_run (read-only); raises Corrupt when these are not the bytes of `run`."""
    if len(data) < HEADER_BYTES or data[: len(MAGIC)] != MAGIC:
        raise Corrupt(f"{run.name!r} is no run of ids: its first {HEADER_BYTES} bytes are no header; restore it")
    _, version, crc, start_us, end_us, ids = _HEADER.unpack_from(data)
    if version != FORMAT_VERSION:
        raise Corrupt(f"{run.name!r} has format {version}, this version reads {FORMAT_VERSION}: use a newer malamute")
    if google_crc32c.value(data[CHECKED_FROM:]) != crc:
        raise Corrupt(f"{run.name!r} fails its checksum: restore it")
    if (start_us, end_us, ids, crc) != run[1:] or len(data) != run.bytes:
        raise Corrupt(f"{run.name!r} is not the run that the manifest names: it was replaced; restore it")
    values = np.frombuffer(data, "<u8", 2 * ids, HEADER_BYTES)
    return values[:ids], values[ids:]


def read_run(objects: ObjectStore, run: IdRun) -> tuple[Any, Any]:
    """(high, low) of a run; raises NotFound, Corrupt, Unavailable."""
    try:
        return decode_run(objects.get(run.name), run)
    except NotFound as error:
        raise NotFound(f"run of ids {run.name!r} is not there: restore it, or events may be stored twice") from error
