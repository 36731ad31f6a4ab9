"""Owns a producer's side of the exactly-once protocol: epoch, sequence, retry, one batch in flight. No threads.

The same (producer, epoch, sequence) is sent until the shard gives a definite answer, so a lost request or a lost reply
can neither lose nor double a batch. When a newer placement gives the producer to another shard, it goes on there with
the same epoch and sequence: that shard took over what the old one knew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import pyarrow as pa

from core.append import LOCAL, Ack, AppendRequest, ProducerOpened
from core.batch import decode_batch, encode_batch
from core.errors import Moved, Overloaded, ShardFenced, Unavailable, UnknownOutcome
from core.limits import ACK_WAIT_S_MAX, RETRY_BACKOFF_S_MAX, RETRY_BACKOFF_S_MIN, RETRY_SECONDS_DEFAULT
from core.placement import Placement

# Whatever raises one of these may be tried again with the same sequence. ShardFenced is the shard's, not the
# producer's: the next attempt reaches its new owner.
RETRIED: Final = (Overloaded, Unavailable, UnknownOutcome, ShardFenced)


class Transport(Protocol):
    """How requests reach a shard. Errors are the kinds of core.errors; a lost answer is UnknownOutcome."""

    def open_producer(
        self, shard: int, tenant: str, stream: str, producer_id: str, placement: int
    ) -> ProducerOpened: ...

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """Begin to send; returns what result() takes."""
        ...

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """Wait for the answer."""
        ...

    def next_placement(self, version: int) -> Placement:
        """The placement that came into force after `version`; raises Overloaded while there is none yet."""
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
    """Sends the batches of one producer, in order, each exactly once, to the shard that the placement gives it.

    At most one batch is in flight: send() returns while the shard works, so that the caller can prepare the next.
    `on_sent` is told of every acknowledged batch. A sender that is `bound` to a shard raises Moved when that one serves
    its placement no more; next_placement(), take_back() and go_on() are for whoever bound it.
    """

    def __init__(
        self,
        transport: Transport,
        placement: Placement,
        tenant: str,
        stream: str,
        producer_id: str,
        *,
        bound: int | None = None,
        level: str = LOCAL,
        retry_seconds: float = RETRY_SECONDS_DEFAULT,
        on_sent: Callable[[Sent], None] | None = None,
        rng: random.Random | None = None,
        sleep: Callable[[float], None] = time.sleep,
        steady_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.placement = placement
        self.shard: int = placement.shard_of(tenant, stream, producer_id) if bound is None else bound
        self.producer_id = producer_id
        self.position: bytes | None = None  # of the last acknowledged batch
        self._transport = transport
        self._is_bound = bound is not None
        self._tenant = tenant
        self._stream = stream
        self._level = level
        self._retry_seconds = retry_seconds
        self._on_sent = on_sent or (lambda sent: None)
        self._rng = rng or random.Random()
        self._sleep = sleep
        self._steady_s = steady_s
        self.epoch: int | None = None  # None until it is open
        self._sequence = 0
        self._in_flight: _InFlight | None = None

    def open(self) -> None:
        """Begin a new epoch: fences every older incarnation and reads the position it left."""
        answer = self._retrying(
            lambda: self._transport.open_producer(
                self.shard, self._tenant, self._stream, self.producer_id, self.placement.version
            )
        )
        self.epoch, self._sequence, self.position = answer.epoch, 0, answer.position

    def send(self, batch: pa.RecordBatch, position: bytes | None = None) -> None:
        """Send `batch` after the one in flight was acknowledged. Raises what the shard answered to that one."""
        if self.epoch is None:
            self.open()
        assert self.epoch is not None
        body = encode_batch(batch)
        self.drain()
        request = AppendRequest(
            self._tenant,
            self._stream,
            self.producer_id,
            self.epoch,
            self._sequence,
            body,
            self._level,
            position,
            self.placement.version,
        )
        started_s = self._steady_s()
        self._in_flight = _InFlight(request, batch.num_rows, started_s, self._transport.submit(self.shard, request))
        self._sequence += 1

    @property
    def in_flight(self) -> bool:
        """Whether a batch was sent and its outcome is not known yet."""
        return self._in_flight is not None

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

    def next_placement(self) -> Placement:
        """The placement that came into force after this sender's, as soon as there is one."""
        answer: Placement = self._retrying(lambda: self._transport.next_placement(self.placement.version))
        return answer

    def take_back(self) -> tuple[pa.RecordBatch, bytes | None] | None:
        """What is in flight and was never stored, with its position; None when there is nothing such.

        Only when a newer placement came into force: then the shard's answer holds for ever.
        """
        flight = self._in_flight
        try:
            self.drain()
        except Moved:
            assert flight is not None
            self._in_flight = None
            self._sequence = flight.request.sequence
            return decode_batch(flight.request.body), flight.request.position
        return None

    def go_on(self, placement: Placement, epoch: int | None, position: bytes | None) -> None:
        """Send on under `placement` to the shard that it is bound to; it knows the producer under `epoch`."""
        self.placement = placement
        self.epoch, self.position = epoch, position

    def _follow(self) -> None:
        """Go to the shard that the next placement gives the producer, with what is in flight."""
        self.placement = self._transport.next_placement(self.placement.version)
        self.shard = self.placement.shard_of(self._tenant, self._stream, self.producer_id)
        if self._in_flight is not None:
            self._in_flight.request = replace(self._in_flight.request, placement=self.placement.version)
            self._in_flight.pending = None

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
        moved = False
        deadline_s = self._steady_s() + self._retry_seconds
        backoff_s = RETRY_BACKOFF_S_MIN
        while True:
            try:
                if moved:
                    self._follow()
                    moved = False
                return attempt()
            except RETRIED as error:
                if isinstance(error, Moved):
                    if self._is_bound:
                        raise
                    moved = True
                    continue
                unknown = error if isinstance(error, UnknownOutcome) else unknown
                if isinstance(error, Overloaded):
                    pause_s = error.retry_after
                else:
                    pause_s, backoff_s = backoff_s, min(2 * backoff_s, RETRY_BACKOFF_S_MAX)
                pause_s *= 0.5 + self._rng.random()
                if self._steady_s() + pause_s > deadline_s:
                    raise unknown or error from None
            self._sleep(pause_s)
