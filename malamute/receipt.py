"""Owns what a write returns."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.append import Ack


@dataclass(slots=True)
class Receipt:
    """What became of the events of one write.

    `accepted` events are stored, each exactly once, at the asked durability level. Of them, `duplicates` were already
    stored when a retry after a lost answer arrived, and were not stored again. In a stream with a `dedup_key`,
    `duplicate_ids` of them were not stored because an event of the same id was, and `late` were stored without looking
    for their ids, because they are older than its `dedup_window`. `rejected` holds (line, byte offset,
    reason) of every event that could not be read. `timestamps_missing` and `timestamps_unreadable` count events that
    got their ingest time instead.
    """

    accepted: int = 0
    duplicates: int = 0
    duplicate_ids: int = 0
    late: int = 0
    rejected: list[tuple[int, int, str]] = field(default_factory=list)
    timestamps_missing: int = 0
    timestamps_unreadable: int = 0
    last_ack: Ack | None = None
