"""Owns the list of a stream's files at one snapshot: what foreign readers of the Parquet files need. Opens none."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from core.limits import CONTROL_WAIT_S_MAX
from query.backend import Backend
from query.holdings import Ledger, take_snapshot
from storage.open_objects import object_address
from storage.snapshot import Segment


@dataclass(frozen=True, slots=True)
class StreamFiles:
    """The Parquet files of a stream at one snapshot: each event that is in files is in exactly one of them.

    `paths` are absolute paths, or URLs such as s3://bucket/key. `rows_unflushed` events are in no file yet.
    """

    paths: tuple[str, ...]
    rows: int
    bytes: int
    rows_unflushed: int


def stream_segments(backend: Backend, tenant: str, stream: str) -> tuple[list[Segment], int]:
    """The segments of a stream at one snapshot, oldest events first, and how many events are in none yet."""
    query_id = secrets.token_hex(8)
    try:
        held = take_snapshot(backend, Ledger(), query_id, tenant, [stream], CONTROL_WAIT_S_MAX)[stream]
    finally:
        backend.release(query_id)
    segments = [segment for holding in held for segment in holding.segments]
    segments.sort(key=lambda segment: (segment.timestamp_min_us, segment.name))
    return segments, sum(holding.memtable.rows for holding in held)


def stream_files(backend: Backend, tenant: str, stream: str, storage: str) -> StreamFiles:
    """The files of a stream of the store at the URL or path `storage`."""
    segments, unflushed = stream_segments(backend, tenant, stream)
    return StreamFiles(
        paths=tuple(object_address(storage, segment.name) for segment in segments),
        rows=sum(segment.rows for segment in segments),
        bytes=sum(segment.bytes for segment in segments),
        rows_unflushed=unflushed,
    )
