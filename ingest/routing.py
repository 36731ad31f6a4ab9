"""Owns where batches go: those of a writer to producers of its own, one per shard; those of a named producer to its
shard, or to the shards of their ids. No threads, no Ray.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterable

import pyarrow as pa

from core.errors import Moved
from core.limits import RETRY_SECONDS_DEFAULT
from core.placement import Placement
from ingest.keyed_sender import KeyedSender, split_by_id
from ingest.sender import Sender, Sent, Transport

ProducerSender = Sender | KeyedSender


def producer_sender(
    transport: Transport,
    placement: Placement,
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
            placement,
            tenant,
            stream,
            producer_id,
            dedup_key,
            level=level,
            retry_seconds=retry_seconds,
            on_sent=on_sent,
        )
    return Sender(
        transport, placement, tenant, stream, producer_id, level=level, retry_seconds=retry_seconds, on_sent=on_sent
    )


class SpreadSender:
    """Spreads batches over all shards through one anonymous producer per shard, so that wide writes use them all.

    With a `dedup_key` each batch is split by its ids. At most one batch per shard is in flight.
    """

    def __init__(
        self,
        transport: Transport,
        placement: Placement,
        tenant: str,
        stream: str,
        level: str,
        on_sent: Callable[[Sent], None],
        dedup_key: str | None = None,
    ) -> None:
        self._transport = transport
        self._stream = (tenant, stream)
        self._level = level
        self._on_sent = on_sent
        self._dedup_key = dedup_key
        self._senders: dict[int, Sender] = {}
        self._next = 0
        self._place(placement)

    def send(self, batch: pa.RecordBatch) -> None:
        """Send `batch` to the next shard in turn; with a dedup key only the events that have no id."""
        turn = self._placement.shards[self._next]
        self._next = (self._next + 1) % len(self._senders)
        if self._dedup_key is not None:
            self._send_parts([batch], turn)
            return
        sender = self._senders[turn]
        sender.send(batch)
        if sender.placement is not self._placement:
            self.drain()
            self._place(sender.placement)

    def drain(self) -> None:
        """Wait until everything sent is acknowledged."""
        while any(sender.in_flight for sender in self._senders.values()):
            try:
                for sender in self._senders.values():
                    sender.drain()
            except Moved:
                self._send_parts(self._follow(), self._placement.shards[0])

    def _send_parts(self, batches: Iterable[pa.RecordBatch], turn: int) -> None:
        waiting = deque(batches)
        while waiting:
            assert self._dedup_key is not None
            turn = turn if turn in self._senders else self._placement.shards[0]
            parts = deque(split_by_id(waiting.popleft(), self._dedup_key, self._placement.shards, turn))
            try:
                while parts:
                    shard, part = parts[0]
                    self._senders[shard].send(part)
                    parts.popleft()
            except Moved:
                waiting.extendleft([*(part for _, part in reversed(parts)), *self._follow()])

    def _follow(self) -> list[pa.RecordBatch]:
        """Go to the next placement with new producers; returns what those of the one before did not store."""
        placement = next(iter(self._senders.values())).next_placement()
        left = [back[0] for sender in self._senders.values() if (back := sender.take_back()) is not None]
        self._place(placement)
        return left

    def _place(self, placement: Placement) -> None:
        tenant, stream = self._stream
        self._placement = placement
        self._next = 0
        self._senders = {
            shard: Sender(
                self._transport,
                placement,
                tenant,
                stream,
                producer_id,
                bound=None if self._dedup_key is None else shard,
                level=self._level,
                on_sent=self._on_sent,
            )
            for shard, producer_id in _producer_ids(tenant, stream, placement).items()
        }


def _producer_ids(tenant: str, stream: str, placement: Placement) -> dict[int, str]:
    """One fresh producer id that the placement gives to each shard."""
    base, ids, attempt = f"auto-{uuid.uuid4().hex}", dict[int, str](), 0
    while len(ids) < len(placement.shards):
        candidate = f"{base}-{attempt}"
        ids.setdefault(placement.shard_of(tenant, stream, candidate), candidate)
        attempt += 1
    return ids
