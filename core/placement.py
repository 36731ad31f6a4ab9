"""Owns placements: which shards take the events of producers, and the rule that pins a producer to one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import google_crc32c

from core.errors import check
from core.ids import ShardId

FIRST: Final = 1  # the version of the placement that a new storage begins with


@dataclass(frozen=True, slots=True)
class Placement:
    """One version: from `from_us` on (UTC microseconds) producers are pinned to one of `shards`, ascending numbers.

    `heirs` names for each shard that this version retires the one, of a lower number, that its segments go to.
    """

    version: int
    shards: tuple[int, ...]
    from_us: int = 0
    heirs: Mapping[int, int] = field(default_factory=dict)

    def shard_of(self, tenant: str, stream: str, producer_id: str) -> ShardId:
        """The shard of a producer. Every process that knows the placement agrees."""
        value = google_crc32c.value(f"{tenant}/{stream}/{producer_id}".encode())
        return ShardId(self.shards[value % len(self.shards)])


def first_placement(shards: int) -> Placement:
    """What a new storage of so many shards begins with."""
    return Placement(FIRST, tuple(range(shards)))


def following(current: Placement, count: int, next_shard: int, from_us: int) -> Placement:
    """The placement of `count` shards that comes after `current`: the lowest numbers stay, new ones were never used.

    `next_shard` is the lowest number that no shard ever had. Heirs take turns.
    """
    kept = current.shards[:count]
    fresh = tuple(range(next_shard, next_shard + count - len(kept)))
    check(count > 0 and all(shard < next_shard for shard in kept), "PLC-1", "a shard number is used again: %s", fresh)
    shards = (*kept, *fresh)
    heirs = {shard: shards[turn % count] for turn, shard in enumerate(current.shards[count:])}
    return Placement(current.version + 1, shards, from_us, heirs)
