"""Owns a producer of a stream with a dedup key: its batches go to the shards of their ids. No threads, no Ray.

Equal ids must meet at one shard, so the producer has an epoch and sequences on every shard, and a batch is split.
Events without an id go to the producer's home shard. A position is stored in the same commit as the last part of its
batch, sent when all other parts are acknowledged, and that is the part of the home shard when there is one: after a
crash the source begins with the batch that was cut off, what is there of it is found by its ids, and what has no id is
not there. The newest position is the one with the largest number.

When the placement changes, each shard of the one before says of the part in flight whether it was stored; what was not
is split anew. The epochs stay, so that an older incarnation cannot become the newest one on the way.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import numpy as np
import pyarrow as pa

from core.append import LOCAL
from core.errors import Moved
from core.event_ids import event_ids, shards_of
from core.limits import RETRY_SECONDS_DEFAULT
from core.placement import Placement
from ingest.sender import RETRIED, Sender, Sent, Transport

_NUMBER: Final = struct.Struct(">Q")  # before a position: how many of its producer came before it


def split_by_id(batch: pa.RecordBatch, key: str, shards: Sequence[int], home: int) -> list[tuple[int, pa.RecordBatch]]:
    """(shard, its part) of a batch, rows in their order; rows without an id are in the part of `home`, the last."""
    if len(shards) == 1:
        return [(shards[0], batch)]
    ids = event_ids(batch, key)
    of = np.where(ids.present, shards_of(ids.low, shards), home)
    order = np.argsort(of, kind="stable")
    counts = np.bincount(of, minlength=shards[-1] + 1)
    begins = np.cumsum(counts) - counts
    ordered = batch if counts.max() == batch.num_rows else batch.take(pa.array(order))
    shards_in_turn = [*(shard for shard in shards if shard != home), home]
    return [(s, ordered.slice(int(begins[s]), int(counts[s]))) for s in shards_in_turn if counts[s]]


class KeyedSender:
    """Sends the batches of one producer to all shards, each event exactly once. In form like ingest.sender.Sender.

    send() raises what the batch before came to; its own batch is then not taken. `on_sent` is told of every part.
    """

    def __init__(
        self,
        transport: Transport,
        placement: Placement,
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
        self._stream = (tenant, stream)
        self._new_sender = partial(
            Sender,
            transport,
            tenant=tenant,
            stream=stream,
            producer_id=producer_id,
            level=level,
            retry_seconds=retry_seconds,
            on_sent=on_sent,
        )
        self._number = 0
        self._opened = False
        self._parts: deque[tuple[int, pa.RecordBatch]] = deque()  # not sent yet, because the placement changed
        self._last: tuple[int, pa.RecordBatch, bytes] | None = None  # the part with the position, not sent yet
        self._senders: dict[int, Sender] = {}
        self._place(placement)

    @property
    def position(self) -> bytes | None:
        """The position of the last acknowledged batch that had one."""
        newest = self._newest()
        return None if newest is None else newest[_NUMBER.size :]

    def open(self) -> None:
        """Begin a new epoch on every shard: fences every older incarnation and reads the positions it left."""
        while not self._opened:
            try:
                for sender in self._senders.values():
                    sender.open()
                self._opened = True
            except Moved:
                self._place(self._any().next_placement())
        newest = self._newest()
        self._number = 0 if newest is None else _NUMBER.unpack_from(newest)[0] + 1

    def send(self, batch: pa.RecordBatch, position: bytes | None = None) -> None:
        """Send `batch` after everything before it was acknowledged. Raises what the shards answered to that."""
        if not self._opened:
            self.open()
        placement, parts = self._placement, self._split(batch)
        self.drain()
        if self._placement is not placement:
            parts = self._split(batch)
        last = None if position is None else (*parts.pop(), _NUMBER.pack(self._number) + position)
        for shard, part in parts:
            self._senders[shard].send(part)
        if last is not None:
            self._last = last  # now that all others are on their way: its position says that they are stored
            self._number += 1

    def drain(self) -> None:
        """Wait until nothing is in flight. A batch whose outcome stayed unknown is kept: drain again to go on."""
        while self._last is not None or self._parts or any(sender.in_flight for sender in self._senders.values()):
            try:
                self._finish()
            except Moved:
                self._follow()
            except RETRIED:
                raise
            except Exception:
                self._parts.clear()
                self._last = None  # a part was refused: what it held is not stored, so its position must not be either
                raise

    def _finish(self) -> None:
        while self._parts:
            shard, part = self._parts[0]
            self._senders[shard].send(part)
            self._parts.popleft()
        for sender in self._senders.values():
            sender.drain()
        if self._last is not None:
            shard, part, position = self._last
            self._senders[shard].send(part, position)
            self._last = None
            self._senders[shard].drain()

    def _follow(self) -> None:
        """Go on under the next placement: what the shards of the one before did not store is split anew."""
        placement = self._any().next_placement()
        for sender in self._senders.values():
            back = sender.take_back()
            if back is None:
                continue
            part, position = back
            if position is None:
                self._parts.append((sender.shard, part))
            else:
                self._last = (sender.shard, part, position)
        left = [part for _, part in self._parts] + ([self._last[1]] if self._last is not None else [])
        self._place(placement)
        if left:
            parts = self._split(pa.concat_batches(left))
            self._last = None if self._last is None else (*parts.pop(), self._last[2])
            self._parts = deque(parts)

    def _place(self, placement: Placement) -> None:
        """Have a sender for each shard of `placement`: those that are there go on, new ones under the newest epoch."""
        before = self._senders
        self._placement = placement
        self._home = placement.shard_of(*self._stream, self.producer_id)
        self._senders = {
            shard: before.get(shard) or self._new_sender(placement=placement, bound=shard) for shard in placement.shards
        }
        epochs = [sender.epoch for sender in before.values() if sender.epoch is not None]
        position = max((sender.position for sender in before.values() if sender.position is not None), default=None)
        for shard, sender in self._senders.items():
            sender.go_on(placement, sender.epoch if shard in before else max(epochs, default=None), position)

    def _split(self, batch: pa.RecordBatch) -> list[tuple[int, pa.RecordBatch]]:
        return split_by_id(batch, self._key, self._placement.shards, self._home)

    def _any(self) -> Sender:
        return next(iter(self._senders.values()))

    def _newest(self) -> bytes | None:
        positions = [sender.position for sender in self._senders.values() if sender.position is not None]
        return max(positions, default=None)
