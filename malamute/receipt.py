"""Owns what a write returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.append import Ack


@dataclass(slots=True)
class Receipt:
    """What became of the events of one write.

    `accepted` events are stored, each exactly once, at the asked durability level. Of them, `duplicates` were already
    stored when a retry after a lost answer arrived, and were not stored again. `rejected` holds (line, byte offset,
    reason) of every event that could not be read. `timestamps_missing` and `timestamps_unreadable` count events that
    got their ingest time instead.
    """

    accepted: int = 0
    duplicates: int = 0
    rejected: list[tuple[int, int, str]] = field(default_factory=list)
    timestamps_missing: int = 0
    timestamps_unreadable: int = 0
    last_ack: Ack | None = None
