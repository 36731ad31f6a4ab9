"""What a process asks of an object store: counted as the server does, retried within a budget, hedged when late."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from core.clock import ManualClock, SystemClock
from core.errors import NotFound, Unavailable, UnknownOutcome
from core.ids import ShardId
from storage import hedged_reads, remote_objects, segment_writer
from storage.compaction import carry_out
from storage.compaction_jobs import CompactionJobs
from storage.fs import LocalFileSystem
from storage.hedged_reads import HedgedReads
from storage.keys import index_key, segments_prefix
from storage.object_requests import KINDS, price_usd
from storage.objects import AlreadyExists, ObjectStore
from storage.open_objects import object_requests, open_object_store
from storage.remote_objects import RemoteObjectStore, RetryBudget
from storage.retry_tokens import RetryTokens
from storage.segment_reader import SegmentFiles
from storage.stream_settings import StreamSettings
from tests.support import s3
from tests.support.batches import log_batch
from tests.support.compacted import GRACE_S, RULES
from tests.support.http_proxy import Proxy, kind_of, proxy_to
from tests.support.shards import STREAM, TENANT, append, check_exactly_once, open_on_objects, stored_rows

MIB = 1024 * 1024
PART = 5 * MIB  # the least that S3 takes
LARGE = bytes(range(256)) * (PART // 256 + 1)  # two parts

_numbers = itertools.count()


@dataclasses.dataclass
class Remote:
    """A store of its own on a server behind a proxy."""

    proxy: Proxy
    url: str
    objects: ObjectStore

    def counted(self) -> dict[str, int]:
        return {kind: count for kind, count in object_requests(self.url).items() if kind in KINDS and count}


@pytest.fixture
def server(servers: Callable[[str], s3.S3Server]) -> s3.S3Server:
    return servers("seaweedfs")


@pytest.fixture
def remote(server: s3.S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    monkeypatch.setattr(remote_objects, "UPLOAD_PART_BYTES", PART)
    with proxy_to(server.endpoint) as proxy:
        url = f"s3://{server.bucket}/requests-{next(_numbers)}"
        options = {**server.options(), "endpoint": proxy.endpoint}
        yield Remote(proxy, url, open_object_store(url, LocalFileSystem(), options))


def test_requests_are_counted_as_the_server_sees_them(remote: Remote) -> None:
    objects = remote.objects
    objects.put_new("a/1", b"12345")
    objects.put_in_parts("a/2", LARGE)
    with pytest.raises(AlreadyExists):
        objects.put_new("a/1", b"")
    assert objects.get("a/1") == b"12345" and objects.get("a/2") == LARGE
    assert objects.get_range("a/2", 2 * MIB, 10) == LARGE[:10]
    with pytest.raises(NotFound):
        objects.get("a/3")
    assert [info.key for info in objects.list("a/")] == ["a/1", "a/2"]
    objects.delete(["a/1", "a/2"])
    assert remote.counted() == dict(remote.proxy.kinds())
    numbers = object_requests(remote.url)
    assert (numbers["bytes_written"], numbers["bytes_read"]) == (5 + len(LARGE), 5 + len(LARGE) + 10)
    assert numbers["retries"] == 0


def test_another_store_object_of_the_process_counts_too(remote: Remote, server: s3.S3Server) -> None:
    options = {**server.options(), "endpoint": remote.proxy.endpoint}
    open_object_store(remote.url, LocalFileSystem(), options).put_new("b", b"1")
    assert remote.objects.get("b") == b"1"
    assert remote.counted() == {"put": 1, "get": 1}
    assert object_requests("s3://elsewhere") == {} == object_requests("/a/directory")


def test_many_objects_are_deleted_by_one_request(remote: Remote) -> None:
    keys = [f"many/{number:02d}" for number in range(30)]
    for key in keys[:20]:
        remote.objects.put_new(key, b"1")
    remote.objects.put_new("other", b"1")
    before = len(remote.proxy.requests)
    remote.objects.delete(keys)
    remote.objects.delete([])
    assert [kind_of(*request) for request in remote.proxy.requests[before:]] == ["delete"]
    assert [info.key for info in remote.objects.list("")] == ["other"]


class Strict:
    """Stands in for the obstore module: a deletion ends at the first object that is not there."""

    def __init__(self, present: set[str]) -> None:
        self.present = present

    def delete(self, store: Any, keys: list[str]) -> None:
        for key in keys:
            if key not in self.present:
                raise FileNotFoundError(key)
            self.present.remove(key)


def test_objects_that_are_not_there_do_not_keep_others(monkeypatch: pytest.MonkeyPatch) -> None:
    strict = Strict({"a", "c", "d"})
    monkeypatch.setattr(remote_objects, "obstore", strict)
    RemoteObjectStore(MemoryStore(), ManualClock()).delete(["a", "b", "c"])
    assert strict.present == {"d"}


def test_the_price_is_that_of_each_kind() -> None:
    assert price_usd({}) == 0.0
    million = {"put": 1_000_000, "list": 1_000_000, "get": 1_000_000, "head": 1_000_000, "delete": 1_000_000}
    assert {kind: price_usd({kind: count}) for kind, count in million.items()} == pytest.approx(
        {"put": 5.0, "list": 5.0, "get": 0.4, "head": 0.4, "delete": 0.0}
    )
    assert price_usd({**million, "bytes_read": 10**15, "retries": 5}) == pytest.approx(10.8)


# --- large objects ----------------------------------------------------------------------------------------------------


def test_a_large_object_is_uploaded_in_parts(remote: Remote) -> None:
    remote.objects.put_in_parts("large", LARGE)
    assert remote.objects.get("large") == LARGE
    with pytest.raises(AlreadyExists):
        remote.objects.put_in_parts("large", b"other")
    assert len([path for method, path in remote.proxy.requests if method == "PUT" and "partNumber=" in path]) == 2
    remote.objects.put_in_parts("small", b"1")
    assert remote.objects.get("small") == b"1"


@pytest.mark.parametrize(
    ("step", "fault"), [("uploads", "503"), ("partNumber=2", "reset"), ("partNumber=1", "lost"), ("uploadId", "lost")]
)
def test_a_large_object_is_whole_whichever_request_fails(remote: Remote, step: str, fault: str) -> None:
    once = iter([fault])
    remote.proxy.rule = lambda method, path: next(once, None) if method != "GET" and step in path else None
    remote.objects.put_in_parts("large", LARGE)
    assert next(once, None) is None
    assert remote.objects.get("large") == LARGE
    assert object_requests(remote.url)["retries"] == 1


def test_an_upload_that_does_not_end_leaves_no_object(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote.objects, "_budget", RetryBudget(attempts_max=1))
    remote.proxy.rule = lambda method, path: "503" if "partNumber=2" in path else None
    with pytest.raises(UnknownOutcome):
        remote.objects.put_in_parts("large", LARGE)
    assert remote.objects.list("") == []


def test_large_segments_go_up_in_parts(remote: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment_writer, "UPLOAD_PARTS_BYTES_MIN", 1_000)
    [segment] = segment_writer.write_segments(
        [log_batch(2_000)], "default", StreamSettings("logs"), ShardId(0), new_name=lambda: "1", objects=remote.objects
    )
    assert [method for method, path in remote.proxy.requests if "uploadId=" in path] == ["PUT", "POST"]
    assert len(remote.objects.get(segment.name)) == segment.bytes


class TakenAndGone:
    """Stands in for the obstore module: the first create fails, at the second somebody's object is there and goes."""

    def __init__(self) -> None:
        self.failures = [exceptions.GenericError("503"), exceptions.AlreadyExistsError("there")]

    def put(self, store: Any, key: str, data: bytes, **options: Any) -> Any:
        raise self.failures.pop(0)

    def get(self, store: Any, key: str) -> Any:
        return obstore.get(store, key)


def test_an_object_that_was_deleted_at_once_was_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_objects, "obstore", TakenAndGone())
    clock = ManualClock()
    with pytest.raises(AlreadyExists):
        RemoteObjectStore(MemoryStore(), clock, sleep=clock.advance).put_new("k", b"ours")


# --- retries ----------------------------------------------------------------------------------------------------------


def test_tokens_come_back_with_time() -> None:
    clock = ManualClock()
    tokens = RetryTokens(clock, per_s=2.0, burst=3)
    assert [tokens.take() for _ in range(5)] == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert not tokens.take_now()
    clock.advance(1.0)
    assert tokens.take() == 0.5
    tokens.give_back()
    clock.advance(10.0)
    assert [tokens.take_now() for _ in range(4)] == [True, True, True, False]


class DeadServer:
    """Stands in for the obstore module: nothing answers."""

    def __init__(self) -> None:
        self.calls = 0

    def get(self, store: Any, key: str) -> Any:
        self.calls += 1
        raise exceptions.GenericError("connection refused")


def test_a_dead_server_is_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    dead, clock = DeadServer(), ManualClock()
    monkeypatch.setattr(remote_objects, "obstore", dead)
    store = RemoteObjectStore(MemoryStore(), clock, sleep=clock.advance, jitter=lambda: 0.0)
    started_s = clock.steady_s()
    for _ in range(100):
        with pytest.raises(Unavailable):
            store.get("k")
    # Pauses without jitter are zero: without tokens it were 700 retries at once.
    retries, seconds = dead.calls - 100, clock.steady_s() - started_s
    assert retries == 700 and seconds == pytest.approx((retries - 100) / 10, abs=0.2)


def test_an_operation_gives_up_when_its_token_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    dead, clock = DeadServer(), ManualClock()
    monkeypatch.setattr(remote_objects, "obstore", dead)
    slept: list[float] = []
    store = RemoteObjectStore(MemoryStore(), clock, sleep=slept.append, jitter=lambda: 0.0)  # time stands still
    for _ in range(200):
        with pytest.raises(Unavailable, match="attempts in"):
            store.get("k")
    assert max(slept) < RetryBudget().seconds_max
    assert dead.calls - 200 <= 100 + 60 * 10


# --- late reads -------------------------------------------------------------------------------------------------------


class Answers:
    """Requests that are answered when they are let go of."""

    def __init__(self) -> None:
        self.sent = 0
        self.cancelled: list[int] = []
        self.outcomes: dict[int, str | Exception] = {}  # of the n-th request; missing: never answered

    async def request(self) -> str:
        number = self.sent
        self.sent += 1
        try:
            while number not in self.outcomes:
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        outcome = self.outcomes[number]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


@pytest.fixture
def hedged(monkeypatch: pytest.MonkeyPatch) -> tuple[HedgedReads, RetryTokens, list[int]]:
    monkeypatch.setattr(hedged_reads, "HEDGE_READ_S_FIRST", 0.02)
    tokens, hedges = RetryTokens(SystemClock(), per_s=0.0001, burst=2), []
    return HedgedReads(SystemClock(), tokens, lambda: hedges.append(1)), tokens, hedges


def test_a_prompt_answer_is_asked_for_once(hedged: tuple[HedgedReads, RetryTokens, list[int]]) -> None:
    reads, _, hedges = hedged
    answers = Answers()
    answers.outcomes = {0: "a"}
    assert reads.read(answers.request) == "a"
    assert (answers.sent, hedges) == (1, [])
    answers.outcomes = {1: NotFound("b")}
    with pytest.raises(NotFound):
        reads.read(answers.request)
    assert answers.sent == 2


def test_a_late_answer_is_overtaken_and_dropped(hedged: tuple[HedgedReads, RetryTokens, list[int]]) -> None:
    reads, _, hedges = hedged
    answers = Answers()
    answers.outcomes = {1: "second"}
    assert reads.read(answers.request) == "second"
    assert (answers.sent, hedges) == (2, [1])
    answers.outcomes = {3: "let the loop turn once more"}
    reads.read(answers.request)
    assert answers.cancelled[0] == 0


def test_a_second_request_that_fails_does_not_end_the_first(hedged: tuple[HedgedReads, RetryTokens, list[int]]) -> None:
    reads, _, _ = hedged
    answers = Answers()
    answers.outcomes = {1: exceptions.GenericError("503")}
    threading.Timer(0.2, lambda: answers.outcomes.update({0: "first"})).start()
    assert reads.read(answers.request) == "first"
    answers.outcomes = {2: exceptions.GenericError("500"), 3: exceptions.GenericError("503")}
    with pytest.raises(exceptions.GenericError):
        reads.read(answers.request)


def test_without_tokens_nothing_is_sent_twice(hedged: tuple[HedgedReads, RetryTokens, list[int]]) -> None:
    reads, tokens, hedges = hedged
    assert tokens.take_now() and tokens.take_now()
    answers = Answers()
    threading.Timer(0.2, lambda: answers.outcomes.update({0: "at last"})).start()
    assert reads.read(answers.request) == "at last"
    assert (answers.sent, hedges) == (1, [])


def test_late_is_what_few_answers_take() -> None:
    clock = ManualClock()
    reads = HedgedReads(clock, RetryTokens(clock), lambda: None)
    assert reads.late_after_s() == 1.0  # nothing is known yet

    async def taking(seconds: float) -> None:
        clock.advance(seconds)

    for number in range(128):
        reads.read(lambda number=number: taking(0.2 if number % 10 else 0.9))  # type: ignore[misc]
    assert reads.late_after_s() == pytest.approx(0.9)
    for _ in range(128):
        reads.read(lambda: taking(0.001))
    assert reads.late_after_s() == 0.05


def test_a_read_that_the_server_holds_back_is_answered_by_another(
    remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hedged_reads, "HEDGE_READ_S_FIRST", 0.05)
    remote.objects.put_new("k", b"here")
    held = iter(["held"])
    remote.proxy.rule = lambda method, path: next(held, None) if method == "GET" else None
    assert remote.objects.get("k") == b"here"  # while the first request still waits
    assert next(held, None) is None and not remote.proxy.released.is_set()
    numbers = object_requests(remote.url)
    assert (numbers["get"], numbers["hedges"], numbers["retries"]) == (2, 1, 0)


# --- a shard over HTTP ------------------------------------------------------------------------------------------------


def test_a_shard_lives_through_requests_that_fail(
    remote: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Append, flush, merge, collect garbage, open again: one request in ten fails, half of them after the fact."""
    monkeypatch.setattr(remote.objects, "_budget", RetryBudget(pause_s_min=0.001))
    rng = random.Random(11)
    faults = ["503", "reset", "lost", "lost"]
    remote.proxy.rule = lambda method, path: rng.choice(faults) if rng.random() < 0.1 else None
    files = SegmentFiles(remote.objects, str(tmp_path), 10**9, LocalFileSystem())
    clock = ManualClock()
    sent = 0
    for _ in range(2):
        shard = open_on_objects(remote.objects, clock=clock)
        epoch = shard.open_producer(TENANT, STREAM, "p").epoch
        for sequence in range(6):
            append(shard, "p", epoch, sequence, range(sent, sent + 3))
            sent += 3
            shard.flush()
        jobs = CompactionJobs(RULES, remote.objects, clock)
        while (job := jobs.take(shard)) is not None:
            assert jobs.finish(shard, carry_out(job, remote.objects, files.path, lambda: None))
        clock.advance(GRACE_S)
        assert shard.collect_garbage(GRACE_S) > 6
        shard.close()
    remote.proxy.rule = lambda method, path: None
    shard = open_on_objects(remote.objects, clock=clock)
    check_exactly_once(stored_rows(shard, remote.objects), set(range(sent)), set(range(sent)))
    live = {key for segment in shard.manifest.segments for key in (segment.name, index_key(segment.name))}
    assert {info.key for info in remote.objects.list(segments_prefix(0))} == live and len(live) < 12
    assert object_requests(remote.url)["retries"] > 10
