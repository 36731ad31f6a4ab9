"""Owns the list of a stream's files at one snapshot: what foreign readers of the Parquet files need. Opens none."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from core.limits import CONTROL_WAIT_S_MAX
from query.backend import Backend
from query.holdings import Ledger, take_snapshot
from storage.named_snapshot_format import NamedSnapshot
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


def stream_segments(
    backend: Backend, tenant: str, stream: str, past: NamedSnapshot | None
) -> tuple[list[Segment], int]:
    """The segments of a stream at one snapshot, oldest events first, and how many events are in none yet.

    The snapshot is `past`, or one that is taken now.
    """
    if past is not None:
        return _in_order(segment for segment in past.segments if segment.stream == stream), 0
    query_id = secrets.token_hex(8)
    try:
        held = take_snapshot(backend, Ledger(), query_id, tenant, [stream], CONTROL_WAIT_S_MAX)[stream]
    finally:
        backend.release(query_id)
    segments = _in_order(segment for holding in held for segment in holding.segments)
    return segments, sum(holding.memtable.rows for holding in held)


def _in_order(segments: Iterable[Segment]) -> list[Segment]:
    return sorted(segments, key=lambda segment: (segment.timestamp_min_us, segment.name))


def stream_files(
    backend: Backend, tenant: str, stream: str, storage: str, past: NamedSnapshot | None = None
) -> StreamFiles:
    """The files of a stream of the store at the URL or path `storage`; see stream_segments()."""
    segments, unflushed = stream_segments(backend, tenant, stream, past)
    return StreamFiles(
        paths=tuple(object_address(storage, segment.name) for segment in segments),
        rows=sum(segment.rows for segment in segments),
        bytes=sum(segment.bytes for segment in segments),
        rows_unflushed=unflushed,
    )
