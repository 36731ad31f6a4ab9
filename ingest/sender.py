"""Owns a producer's side of the exactly-once protocol: epoch, sequence, retry, one batch in flight. No threads.

The same (producer, epoch, sequence) is sent until the shard gives a definite answer, so a lost request or a lost reply
can neither lose nor double a batch.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import pyarrow as pa

from core.append import LOCAL, Ack, AppendRequest, ProducerOpened
from core.batch import encode_batch
from core.errors import Overloaded, ShardFenced, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, RETRY_BACKOFF_S_MAX, RETRY_BACKOFF_S_MIN, RETRY_SECONDS_DEFAULT

# Whatever raises one of these may be tried again with the same sequence. ShardFenced is the shard's, not the
# producer's: the next attempt reaches its new owner.
RETRIED: Final = (Overloaded, Unavailable, UnknownOutcome, ShardFenced)


class Transport(Protocol):
    """How requests reach a shard. Errors are the kinds of core.errors; a lost answer is UnknownOutcome."""

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str) -> ProducerOpened: ...

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """Begin to send; returns what result() takes."""
        ...

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """Wait for the answer."""
        ...


@dataclass(frozen=True, slots=True)
class Sent:
    """One acknowledged batch: its rows, the answer, and the seconds from first send to answer."""

    rows: int
    ack: Ack
    seconds: float


@dataclass(slots=True)
class _InFlight:
    request: AppendRequest
    rows: int
    started_s: float
    pending: Any


class Sender:
    """Sends the batches of one producer to one shard, in order, each exactly once.

    At most one batch is in flight: send() returns while the shard works, so that the caller can prepare the next.
    `on_sent` is told of every acknowledged batch.
    """

    def __init__(
        self,
        transport: Transport,
        shard: int,
        tenant: str,
        stream: str,
        producer_id: str,
        *,
        level: str = LOCAL,
        retry_seconds: float = RETRY_SECONDS_DEFAULT,
        on_sent: Callable[[Sent], None] | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.shard = shard
        self.producer_id = producer_id
        self.position: bytes | None = None  # of the last acknowledged batch
        self._transport = transport
        self._tenant = tenant
        self._stream = stream
        self._level = level
        self._retry_seconds = retry_seconds
        self._on_sent = on_sent or (lambda sent: None)
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._steady_s = steady_s
        self._epoch: int | None = None
        self._sequence = 0
        self._in_flight: _InFlight | None = None

    def open(self) -> None:
        """Begin a new epoch: fences every older incarnation and reads the position it left."""
        answer = self._retrying(
            lambda: self._transport.open_producer(self.shard, self._tenant, self._stream, self.producer_id)
        )
        self._epoch, self._sequence, self.position = answer.epoch, 0, answer.position

    def send(self, batch: pa.RecordBatch, position: bytes | None = None) -> None:
        """Send `batch` after the one in flight was acknowledged. Raises what the shard answered to that one."""
        if self._epoch is None:
            self.open()
        assert self._epoch is not None
        body = encode_batch(batch)
        self.drain()
        request = AppendRequest(
            self._tenant,
            self._stream,
            self.producer_id,
            self._epoch,
            self._sequence,
            body,
            self._level,
            position,
        )
        started_s = self._steady_s()
        self._in_flight = _InFlight(request, batch.num_rows, started_s, self._transport.submit(self.shard, request))
        self._sequence += 1

    def drain(self) -> None:
        """Wait until nothing is in flight. A batch whose outcome stayed unknown is kept: drain again to go on."""
        flight = self._in_flight
        if flight is None:
            return
        try:
            ack = self._retrying(lambda: self._attempt(flight))
        except RETRIED:
            raise
        except Exception:
            # A definite refusal: the sequence was not taken.
            self._in_flight = None
            self._sequence = flight.request.sequence
            raise
        self._in_flight = None
        if flight.request.position is not None:
            self.position = flight.request.position
        self._on_sent(Sent(flight.rows, ack, self._steady_s() - flight.started_s))

    def _attempt(self, flight: _InFlight) -> Ack:
        if flight.pending is None:
            flight.pending = self._transport.submit(self.shard, flight.request)
        pending, flight.pending = flight.pending, None
        return self._transport.result(pending, ACK_WAIT_S_MAX)

    def _retrying(self, attempt: Callable[[], Any]) -> Any:
        """Repeat `attempt` with growing, jittered pauses until it answers definitely or the retry budget is spent.

        Once an attempt may have been executed, giving up is UnknownOutcome whatever the last attempt said.
        """
        unknown: UnknownOutcome | None = None
        deadline_s = self._steady_s() + self._retry_seconds
        backoff_s = RETRY_BACKOFF_S_MIN
        while True:
            try:
                return attempt()
            except RETRIED as error:
                unknown = error if isinstance(error, UnknownOutcome) else unknown
                if isinstance(error, Overloaded):
                    pause_s = error.retry_after
                else:
                    pause_s, backoff_s = backoff_s, min(2 * backoff_s, RETRY_BACKOFF_S_MAX)
                pause_s *= 0.5 + self._rng.random()
                if self._steady_s() + pause_s > deadline_s:
                    raise unknown or error from None
            self._sleep(pause_s)
