"""T16: the producer's protocol over a transport that loses, repeats and delays requests and answers."""

from __future__ import annotations

import random
from typing import Any

import pytest

from core.append import LOCAL, Ack, AppendRequest, ProducerOpened
from core.errors import Fenced, InvalidRequest, Overloaded, ShardFenced, Unavailable, UnknownOutcome
from core.placement import first_placement
from ingest.routing import SpreadSender
from ingest.sender import Sender
from storage.shard import Shard
from tests.support.shards import STREAM, TENANT, batch, check_exactly_once, objects_on, open_on, stored_rows
from tests.support.simfs import SimFileSystem

BATCHES = 150


class LossyTransport:
    """Delivers each request 0 to 3 times, and each answer perhaps; restarts the shard now and then."""

    def __init__(self, fs: SimFileSystem, rng: random.Random, faults: float) -> None:
        self.fs, self.rng, self.faults = fs, rng, faults
        self.shard: Shard = open_on(fs)
        self.deliveries = 0
        self.restarts = 0

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        answer = self.shard.open_producer(tenant, stream, producer_id)
        if self.rng.random() < self.faults:
            raise UnknownOutcome("answer lost")
        return answer

    def submit(self, shard: int, request: AppendRequest) -> Any:
        return request

    def result(self, pending: Any, timeout_s: float) -> Ack:
        if self.rng.random() < self.faults / 4:
            self.shard.abandon()
            self.fs = self.fs.killed()
            self.shard = open_on(self.fs)
            self.restarts += 1
        if self.rng.random() < self.faults / 4:
            self.shard.flush()
        if self.rng.random() < self.faults:
            raise UnknownOutcome("request lost")
        if self.rng.random() < self.faults:
            raise Overloaded("busy", retry_after=0.1)
        for _ in range(self.rng.choice([1, 1, 2, 3])):
            answer = self.shard.append(pending)
            self.deliveries += 1
        if self.rng.random() < self.faults:
            raise UnknownOutcome("answer lost")
        return answer


def sender_over(transport: Any, producer: str = "p", **options: Any) -> Sender:
    slept: list[float] = []
    return Sender(
        transport, first_placement(1), TENANT, STREAM, producer, rng=random.Random(1), sleep=slept.append, **options
    )


@pytest.mark.parametrize("seed", range(5))
def test_lost_and_repeated_requests_and_answers_store_each_batch_once(seed):
    deliveries, restarts = lossy_course(seed)
    assert deliveries > BATCHES and restarts > 0


def lossy_course(seed: int) -> tuple[int, int]:
    """Send BATCHES batches over a lossy transport: how often one was delivered, and how often the shard died."""
    rng = random.Random(seed)
    transport = LossyTransport(SimFileSystem(), rng, faults=0.3)
    acknowledged: list[int] = []
    sender = sender_over(transport, on_sent=lambda sent: acknowledged.append(sent.rows))
    sent = 0
    for _ in range(BATCHES):
        rows = rng.randrange(1, 4)
        sender.send(batch(range(sent, sent + rows)), position=b"%d" % sent)
        sent += rows
    sender.drain()
    assert sum(acknowledged) == sent and len(acknowledged) == BATCHES
    rows = stored_rows(transport.shard, objects_on(transport.fs))
    check_exactly_once(rows, set(range(sent)), set(range(sent)))
    assert [n for _, n in rows] == list(range(sent)), "the order of one producer is kept"
    return transport.deliveries, transport.restarts


def test_a_new_incarnation_goes_on_from_the_stored_position():
    transport = LossyTransport(SimFileSystem(), random.Random(3), faults=0.0)
    first = sender_over(transport)
    first.send(batch([0, 1]), position=b"2")
    first.drain()
    second = sender_over(transport)
    second.open()
    assert second.position == b"2"
    first.send(batch([9]))
    with pytest.raises(Fenced):
        first.drain()
    second.send(batch([2]), position=b"3")
    second.drain()
    assert [n for _, n in stored_rows(transport.shard, objects_on(transport.fs))] == [0, 1, 2]


def test_a_refused_batch_does_not_use_up_its_sequence():
    transport = LossyTransport(SimFileSystem(), random.Random(3), faults=0.0)
    sender = sender_over(transport)
    sender.send(batch([0]), position=b"x" * 10_000)
    with pytest.raises(InvalidRequest, match="position"):
        sender.drain()
    sender.send(batch([1]))
    sender.drain()
    assert [n for _, n in stored_rows(transport.shard, objects_on(transport.fs))] == [1]


def test_an_unknown_outcome_is_kept_and_can_be_drained_later():
    class Down:
        up = False
        inner = LossyTransport(SimFileSystem(), random.Random(3), faults=0.0)

        def open_producer(self, *arguments):
            return self.inner.open_producer(*arguments)

        def submit(self, shard, request):
            return request

        def result(self, pending, timeout_s):
            if not self.up:
                raise Unavailable("restarting")
            return self.inner.result(pending, timeout_s)

    now = [0.0]
    transport = Down()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    sender = Sender(
        transport, first_placement(1), TENANT, STREAM, "p", retry_seconds=5, sleep=sleep, steady_s=lambda: now[0]
    )
    sender.send(batch([7]))
    with pytest.raises(Unavailable):
        sender.drain()
    assert 0 < now[0] <= 5
    transport.up = True
    sender.drain()
    assert [n for _, n in stored_rows(transport.inner.shard, objects_on(transport.inner.fs))] == [7]


def test_giving_up_after_an_attempt_without_an_answer_is_an_unknown_outcome():
    errors = [Unavailable("restarting"), UnknownOutcome("answer lost"), Overloaded("busy", retry_after=0.1)]

    class Failing:
        tries = 0

        def open_producer(self, *arguments):
            return ProducerOpened(1, None)

        def submit(self, shard, request):
            return request

        def result(self, pending, timeout_s):
            self.tries += 1
            raise errors[min(self.tries, len(errors)) - 1]

    now = [0.0]
    transport = Failing()

    def sleep(seconds: float) -> None:
        now[0] += seconds

    sender = Sender(
        transport, first_placement(1), TENANT, STREAM, "p", retry_seconds=5, sleep=sleep, steady_s=lambda: now[0]
    )
    sender.send(batch([1]))
    with pytest.raises(UnknownOutcome, match="answer lost"):
        sender.drain()
    assert transport.tries > 3


def test_spread_sender_uses_every_shard_with_producers_that_the_placement_pins_there():
    class Recording:
        def __init__(self):
            self.requests = []

        def open_producer(self, shard, tenant, stream, producer_id, placement):
            assert first_placement(3).shard_of(tenant, stream, producer_id) == shard
            return ProducerOpened(1, None)

        def submit(self, shard, request):
            self.requests.append((shard, request.sequence))
            return Ack(shard, 1, 0, 0, "local", False)

        def result(self, pending, timeout_s):
            return pending

    transport = Recording()
    spread = SpreadSender(transport, first_placement(3), TENANT, STREAM, "local", lambda sent: None)
    for number in range(6):
        spread.send(batch([number]))
    spread.drain()
    assert transport.requests == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1)]


class ReplacedShard:
    """The old owner of a shard answers `fenced` first; then the new one answers."""

    def __init__(self, refusal: Exception, refusals: int) -> None:
        self.refusal = refusal
        self.refusals = refusals
        self.seen: list[tuple[int, int]] = []

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        return ProducerOpened(epoch=1, position=None)

    def submit(self, shard: int, request: AppendRequest) -> Any:
        return request

    def result(self, request: Any, timeout_s: float) -> Ack:
        self.seen.append((request.epoch, request.sequence))
        if len(self.seen) <= self.refusals:
            raise self.refusal
        return Ack(0, 2, 0, 0, LOCAL, duplicate=False)


def test_a_fenced_shard_is_asked_again_with_the_same_sequence_until_its_new_owner_answers():
    shard = ReplacedShard(ShardFenced("shard 0 epoch 1 was fenced by epoch 2"), refusals=3)
    sender = sender_over(shard)
    sender.send(batch([1]))
    sender.drain()
    assert shard.seen == [(1, 0)] * 4


def test_a_producer_fenced_by_its_newer_incarnation_is_not_asked_again():
    shard = ReplacedShard(Fenced("producer 'p' epoch 1 was fenced by epoch 2"), refusals=9)
    sender = sender_over(shard)
    sender.send(batch([1]))
    with pytest.raises(Fenced, match="producer"):
        sender.drain()
    assert shard.seen == [(1, 0)]
