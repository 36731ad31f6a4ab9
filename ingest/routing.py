"""Owns where batches go: those of a writer to producers of its own, one per shard; those of a named producer to its
shard, or to the shards of their ids. No threads, no Ray.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pyarrow as pa

from core.limits import RETRY_SECONDS_DEFAULT
from core.placement import shard_of
from ingest.keyed_sender import KeyedSender, split_by_id
from ingest.sender import Sender, Sent, Transport

ProducerSender = Sender | KeyedSender


def producer_sender(
    transport: Transport,
    shards: int,
    tenant: str,
    stream: str,
    producer_id: str,
    dedup_key: str | None,
    *,
    level: str,
    on_sent: Callable[[Sent], None] | None = None,
    retry_seconds: float = RETRY_SECONDS_DEFAULT,
) -> ProducerSender:
    """The sender of a named producer, as the stream's `dedup_key` needs it."""
    if dedup_key is not None:
        return KeyedSender(
            transport,
            shards,
            tenant,
            stream,
            producer_id,
            dedup_key,
            level=level,
            retry_seconds=retry_seconds,
            on_sent=on_sent,
        )
    shard = shard_of(tenant, stream, producer_id, shards)
    return Sender(
        transport, shard, tenant, stream, producer_id, level=level, retry_seconds=retry_seconds, on_sent=on_sent
    )


class SpreadSender:
    """Spreads batches over all shards through one anonymous producer per shard, so that wide writes use them all.

    With a `dedup_key` each batch is split by its ids. At most one batch per shard is in flight.
    """

    def __init__(
        self,
        transport: Transport,
        shards: int,
        tenant: str,
        stream: str,
        level: str,
        on_sent: Callable[[Sent], None],
        dedup_key: str | None = None,
    ) -> None:
        self._dedup_key = dedup_key
        ids = _producer_ids(tenant, stream, shards)
        self._senders = [
            Sender(transport, shard, tenant, stream, ids[shard], level=level, on_sent=on_sent)
            for shard in range(shards)
        ]
        self._next = 0

    def send(self, batch: pa.RecordBatch) -> None:
        """Send `batch` to the next shard in turn; with a dedup key only the events that have no id."""
        turn = self._next
        self._next = (turn + 1) % len(self._senders)
        if self._dedup_key is None:
            self._senders[turn].send(batch)
            return
        for shard, part in split_by_id(batch, self._dedup_key, len(self._senders), turn):
            self._senders[shard].send(part)

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
