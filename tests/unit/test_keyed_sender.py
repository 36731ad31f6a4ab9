"""Producers of a stream with a dedup key over several shards: splitting, positions, lost calls, death and resuming."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from core.append import Ack, AppendRequest, ProducerOpened
from core.clock import ManualClock
from core.errors import InvalidRequest, MalamuteError, ShardFenced, Unavailable, UnknownOutcome
from core.placement import first_placement
from ingest.keyed_sender import KeyedSender, split_by_id
from ingest.routing import SpreadSender, producer_sender
from storage.shard import Shard
from tests.support.dedup import NOW_US, Sent, batch_of, open_dedup, stored_events
from tests.support.shards import STREAM, TENANT, objects_on
from tests.support.simfs import SimFileSystem

SHARDS = 3


class Dead(Exception):
    """The producer's process ended here."""


class LossyShards:
    """Some shards, each on a file system of its own; calls and answers are lost, shards are killed, flushes come."""

    def __init__(self, seed: int, faults: float = 0.0) -> None:
        self.rng, self.faults, self.dies_in = random.Random(seed), faults, 0
        self.clock = ManualClock(NOW_US)
        self.files = [SimFileSystem() for _ in range(SHARDS)]
        self.shards: list[Shard] = [open_dedup(fs, self.clock) for fs in self.files]

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        return self.shards[shard].open_producer(tenant, stream, producer_id)

    def submit(self, shard: int, request: AppendRequest) -> Any:
        if self.dies_in:
            self.dies_in -= 1
            if not self.dies_in:
                raise Dead
        return shard, request

    def result(self, pending: Any, timeout_s: float) -> Ack:
        shard, request = pending
        if self.rng.random() < self.faults / 4:
            self.shards[shard].abandon()
            self.files[shard] = self.files[shard].killed()
            self.shards[shard] = open_dedup(self.files[shard], self.clock)
        if self.rng.random() < self.faults / 4:
            self.shards[shard].flush()
        if self.rng.random() < self.faults:
            raise UnknownOutcome("request lost")
        answer = self.shards[shard].append(request)
        if self.rng.random() < self.faults:
            raise UnknownOutcome("answer lost")
        return answer

    def stored(self) -> list[int]:
        pairs = zip(self.files, self.shards, strict=True)
        return [event.n for fs, shard in pairs for event in stored_events(shard, objects_on(fs))]


def keyed(transport: LossyShards, **options: Any) -> KeyedSender:
    sender = producer_sender(transport, first_placement(SHARDS), TENANT, STREAM, "p", "id", level="local", **options)
    assert isinstance(sender, KeyedSender)
    for one in sender._senders.values():
        one._sleep = lambda seconds: None
    return sender


def some(rng: random.Random, number: int) -> list[Sent]:
    """Three events of which the ids come again in the next batch, and one without an id."""
    ids = [f"id{number}", f"id{number + 1}", f"id{number + 2}"]
    events = [Sent(id_, NOW_US, 10 * number + place) for place, id_ in enumerate([*ids, None])]
    return rng.sample(events, len(events))


def test_a_batch_is_split_by_id_and_what_has_none_goes_home_last() -> None:
    events = [Sent(None if i % 5 == 0 else f"id{i}", NOW_US, i) for i in range(100)]
    parts = split_by_id(batch_of(events), "id", range(SHARDS), 1)
    assert [shard for shard, _ in parts] == [0, 2, 1]
    numbers = {shard: part.column("n").to_pylist() for shard, part in parts}
    assert all(found == sorted(found) for found in numbers.values())
    assert sorted(n for found in numbers.values() for n in found) == list(range(100))
    assert set(range(0, 100, 5)) <= set(numbers[1])
    again = split_by_id(batch_of(events[::-1]), "id", range(SHARDS), 1)
    assert {shard: sorted(part.column("n").to_pylist()) for shard, part in again} == numbers
    assert split_by_id(batch_of([Sent(None, NOW_US, 1)]), "id", range(SHARDS), 2)[0][0] == 2


@pytest.mark.parametrize("seed", range(4))
def test_ids_are_stored_once_whatever_is_lost(seed: int) -> None:
    transport, counts = LossyShards(seed, 0.3), Counter[str]()
    sender = keyed(transport, on_sent=lambda sent: counts.update(rows=sent.rows, ids=sent.ack.duplicate_ids))
    for number in range(30):
        sender.send(batch_of(some(transport.rng, number)), b"%d" % number if number % 2 else None)
    sender.drain()
    numbers = Counter(transport.stored())
    assert max(numbers.values()) == 1
    assert len(numbers) == 32 + 30  # ids and events without one
    assert counts == {"rows": 120, "ids": 120 - 62} and sender.position == b"29"


@pytest.mark.parametrize("dies_in", range(1, 14))
def test_a_producer_that_died_anywhere_goes_on_from_its_position(dies_in: int) -> None:
    transport = LossyShards(dies_in)
    transport.dies_in = dies_in
    batches = [batch_of(some(random.Random(number), number)) for number in range(6)]
    lives = 0
    while True:
        sender, lives = keyed(transport), lives + 1
        sender.open()
        done = -1 if sender.position is None else int(sender.position)
        try:
            for number in range(done + 1, len(batches)):
                sender.send(batches[number], b"%d" % number)
            sender.drain()
            break
        except Dead:
            continue
    assert lives == 2
    numbers = Counter(transport.stored())
    assert max(numbers.values()) == 1 and len(numbers) == 8 + 6


def test_a_position_is_not_stored_when_a_part_was_refused() -> None:
    transport = LossyShards(0)
    sender = keyed(transport)
    events = [Sent(f"id{i}", NOW_US, i) for i in range(30)]
    sender.send(batch_of(events), b"first")
    sender.drain()
    refusing = transport.shards[split_by_id(batch_of(events), "id", range(SHARDS), sender._home)[0][0]]

    def refuse(request: AppendRequest) -> Ack:
        raise InvalidRequest("no")

    refusing.append = refuse  # type: ignore[method-assign]
    sender.send(batch_of(events), b"second")
    with pytest.raises(InvalidRequest):
        sender.drain()
    sender.drain()
    assert keyed_position(transport) == b"first"


@pytest.mark.parametrize("error", [Unavailable("away"), UnknownOutcome("lost"), ShardFenced("a newer owner has it")])
def test_a_part_that_waits_for_the_others_is_sent_when_they_are_drained_again(error: MalamuteError) -> None:
    transport, answer = LossyShards(0), LossyShards.result
    sender = keyed(transport, retry_seconds=0)
    sender.send(batch_of([Sent(f"id{i}", NOW_US, i) for i in range(30)]), b"first")

    def fail(pending: Any, timeout_s: float) -> Ack:
        raise error

    transport.result = fail  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        sender.drain()
    transport.result = lambda pending, timeout_s: answer(transport, pending, timeout_s)  # type: ignore[method-assign]
    sender.drain()
    assert sorted(transport.stored()) == list(range(30)) and keyed_position(transport) == b"first"


def test_a_batch_of_which_a_part_cannot_be_sent_has_no_position_and_may_be_sent_again() -> None:
    transport, submit, sent = LossyShards(0), LossyShards.submit, Counter[int]()
    sender = keyed(transport)
    events = [Sent(f"id{i}" if i else None, NOW_US, i) for i in range(30)]

    def fail_once(shard: int, request: AppendRequest) -> Any:
        sent[shard] += 1
        if sent.total() == 2:
            raise Unavailable("away")
        return submit(transport, shard, request)

    transport.submit = fail_once  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        sender.send(batch_of(events), b"first")
    sender.drain()
    assert sender.position is None
    sender.send(batch_of(events), b"first")
    sender.drain()
    assert sorted(transport.stored()) == list(range(30)) and keyed_position(transport) == b"first"


def keyed_position(transport: LossyShards) -> bytes | None:
    sender = keyed(transport)
    sender.open()
    return sender.position


def test_a_writer_without_a_name_stores_each_id_once() -> None:
    transport, counts = LossyShards(3, 0.2), Counter[str]()
    for _ in range(2):
        spread = SpreadSender(
            transport,
            first_placement(SHARDS),
            TENANT,
            STREAM,
            "local",
            lambda sent: counts.update(ids=sent.ack.duplicate_ids),
            "id",
        )
        for one in spread._senders.values():
            one._sleep = lambda seconds: None
        for first in range(0, 100, 20):
            spread.send(batch_of([Sent(f"id{i}", NOW_US, i) for i in range(first, first + 20)]))
        spread.drain()
    assert sorted(transport.stored()) == list(range(100)) and counts["ids"] == 100
