"""Owns the rule that pins a producer to a shard. Pure: every process that knows the placement agrees."""

from __future__ import annotations

import google_crc32c

from core.ids import ShardId


def shard_of(tenant: str, stream: str, producer_id: str, shards: int) -> ShardId:
    """The shard of a producer in a placement of `shards` shards."""
    return ShardId(google_crc32c.value(f"{tenant}/{stream}/{producer_id}".encode()) % shards)
