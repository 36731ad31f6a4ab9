"""Owns a producer of a stream with a dedup key: its batches go to the shards of their ids. No threads, no Ray.

Equal ids must meet at one shard, so the producer has an epoch and sequences on every shard, and a batch is split.
Events without an id go to the producer's home shard. A position is stored in the same commit as the last part of its
batch, sent when all other parts are acknowledged, and that is the part of the home shard when there is one: after a
crash the source begins with the batch that was cut off, what is there of it is found by its ids, and what has no id is
not there. The newest position is the one with the largest number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np
import pyarrow as pa

from core.append import LOCAL
from core.event_ids import event_ids, shards_of
from core.limits import RETRY_SECONDS_DEFAULT
from core.placement import shard_of
from ingest.sender import RETRIED, Sender, Sent, Transport

_NUMBER: Final = struct.Struct(">Q")  # before a position: how many of its producer came before it


def split_by_id(batch: pa.RecordBatch, key: str, shards: int, home: int) -> list[tuple[int, pa.RecordBatch]]:
    """(shard, its part) of a batch, rows in their order; rows without an id are in the part of `home`, the last."""
    if shards == 1:
        return [(0, batch)]
    ids = event_ids(batch, key)
    of = np.where(ids.present, shards_of(ids.low, range(shards)), home)
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of, minlength=shards)
    begins = np.cumsum(counts) - counts
    ordered = batch if counts.max() == batch.num_rows else batch.take(pa.array(order))
    shards_in_turn = [*(shard for shard in range(shards) if shard != home), home]
    return [(s, ordered.slice(int(begins[s]), int(counts[s]))) for s in shards_in_turn if counts[s]]


class KeyedSender:
    """Sends the batches of one producer to all shards, each event exactly once. In form like ingest.sender.Sender.

    send() raises what the batch before came to; its own batch is then not taken. `on_sent` is told of every part.
    """

    def __init__(
        self,
        transport: Transport,
        shards: int,
        tenant: str,
        stream: str,
        producer_id: str,
        dedup_key: str,
        *,
        level: str = LOCAL,
        retry_seconds: float = RETRY_SECONDS_DEFAULT,
        on_sent: Callable[[Sent], None] | None = None,
    ) -> None:
        self.producer_id = producer_id
        self._key = dedup_key
        self._home = shard_of(tenant, stream, producer_id, shards)
        self._senders = [
            Sender(
                transport, shard, tenant, stream, producer_id, level=level, retry_seconds=retry_seconds, on_sent=on_sent
            )
            for shard in range(shards)
        ]
        self._number = 0
        self._opened = False
        self._last: tuple[int, pa.RecordBatch, bytes] | None = None  # the part with the position, not sent yet

    @property
    def position(self) -> bytes | None:
        """The position of the last acknowledged batch that had one."""
        newest = self._newest()
        return None if newest is None else newest[_NUMBER.size :]

    def open(self) -> None:
        """Begin a new epoch on every shard: fences every older incarnation and reads the positions it left."""
        for sender in self._senders:
            sender.open()
        newest = self._newest()
        self._number = 0 if newest is None else _NUMBER.unpack_from(newest)[0] + 1
        self._opened = True

    def send(self, batch: pa.RecordBatch, position: bytes | None = None) -> None:
        """Send `batch` after everything before it was acknowledged. Raises what the shards answered to that."""
        if not self._opened:
            self.open()
        parts = split_by_id(batch, self._key, len(self._senders), self._home)
        self.drain()
        last = None if position is None else (*parts.pop(), _NUMBER.pack(self._number) + position)
        for shard, part in parts:
            self._senders[shard].send(part)
        if last is not None:
            self._last = last  # now that all others are on their way: its position says that they are stored
            self._number += 1

    def drain(self) -> None:
        """Wait until nothing is in flight. A batch whose outcome stayed unknown is kept: drain again to go on."""
        try:
            for sender in self._senders:
                sender.drain()
        except RETRIED:
            raise
        except Exception:
            self._last = None  # a part was refused: what it held is not stored, so its position must not be either
            raise
        if self._last is not None:
            shard, part, position = self._last
            self._senders[shard].send(part, position)
            self._last = None
            self._senders[shard].drain()

    def _newest(self) -> bytes | None:
        return max((sender.position for sender in self._senders if sender.position is not None), default=None)
