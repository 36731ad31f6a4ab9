"""Owns what a client is told of a named snapshot, and how it says for how long."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from core.errors import InvalidRequest
from query.written_times import as_datetime, length_us
from storage.named_snapshot_format import SnapshotSummary


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named snapshot; times are UTC, `expires_at` None = never. `bytes` are those of its compressed segments."""

    name: str
    created_at: datetime
    expires_at: datetime | None
    events: int
    bytes: int


def snapshot_of(summary: SnapshotSummary) -> Snapshot:
    """`summary` for a client."""
    expires_at = None if summary.expires_at_us is None else as_datetime(summary.expires_at_us)
    return Snapshot(summary.name, as_datetime(summary.created_at_us), expires_at, summary.events, summary.bytes)


def ttl_us(ttl: str | timedelta) -> int:
    """Microseconds of a length such as "7d" or a timedelta; raises InvalidRequest."""
    if not isinstance(ttl, timedelta):
        return length_us(ttl, "ttl")
    if ttl <= timedelta(0):
        raise InvalidRequest(f"ttl {ttl} is not allowed: a length above 0")
    return ttl // timedelta(microseconds=1)
