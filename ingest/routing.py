"""Owns where a writer's batches go: producers of its own, one per shard, taken in turn. No threads, no Ray."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pyarrow as pa

from core.placement import shard_of
from ingest.sender import Sender, Sent, Transport

SenderFactory = Callable[[int, str], Sender]  # shard, producer id


class SpreadSender:
    """Spreads batches over all shards through one anonymous producer per shard, so that wide writes use them all.

    At most one batch per shard is in flight.
    """

    def __init__(
        self,
        transport: Transport,
        shards: int,
        tenant: str,
        stream: str,
        level: str,
        on_sent: Callable[[Sent], None],
    ) -> None:
        ids = _producer_ids(tenant, stream, shards)
        self._senders = [
            Sender(transport, shard, tenant, stream, ids[shard], level=level, on_sent=on_sent)
            for shard in range(shards)
        ]
        self._next = 0

    def send(self, batch: pa.RecordBatch) -> None:
        """Send `batch` to the next shard in turn."""
        sender = self._senders[self._next]
        self._next = (self._next + 1) % len(self._senders)
        sender.send(batch)

    def drain(self) -> None:
        """Wait until everything sent is acknowledged."""
        for sender in self._senders:
            sender.drain()


def _producer_ids(tenant: str, stream: str, shards: int) -> dict[int, str]:
    """One fresh producer id that the placement pins to each shard."""
    base, ids, attempt = f"auto-{uuid.uuid4().hex}", dict[int, str](), 0
    while len(ids) < shards:
        candidate = f"{base}-{attempt}"
        ids.setdefault(shard_of(tenant, stream, candidate, shards), candidate)
        attempt += 1
    return ids
