"""What waits in Ray for a shard or a coordinator is bounded for each process that calls."""

from __future__ import annotations

import os
import random
import signal

import pytest

import malamute
from actors.errors import send, unwrap
from cluster.launch import launch, stop
from cluster.settings import load_settings
from cluster.transport import Transport
from core.append import LOCAL, AppendRequest
from core.limits import ACTOR_CALLS_PENDING_MAX
from ingest.sender import Sender
from tests.support.processes import pause, pids
from tests.support.shards import TENANT, batch, body

STREAM = "bounded"


@pytest.fixture
def transport(ray_session, storage):
    # `launch` returns handles that it looked up by name, as every client has them.
    yield launch(load_settings(None, {"storage": storage, "name": "bounded", "shards": 1}, {}))
    assert stop("bounded") == []


def shard_pid(transport: Transport) -> int:
    return pids(lambda: transport.ask("status")["shards"])[0]


def test_appends_beyond_the_bound_are_refused_and_the_others_stored_once(transport):
    count = ACTOR_CALLS_PENDING_MAX + 3
    transport.ask("ensure_stream", TENANT, None, STREAM)
    epochs = [transport.open_producer(0, TENANT, STREAM, f"p{n}").epoch for n in range(count)]
    requests = [
        AppendRequest(TENANT, STREAM, f"p{n}", epoch, 0, body([n]), LOCAL, None) for n, epoch in enumerate(epochs)
    ]
    pid = shard_pid(transport)
    patient = Sender(
        transport,
        transport.placement,
        TENANT,
        STREAM,
        "patient",
        rng=random.Random(1),
        sleep=lambda _: os.kill(pid, signal.SIGCONT),
    )
    patient.open()
    pause(pid)
    try:
        pending = [transport.submit(0, request) for request in requests]
        for refused in pending[ACTOR_CALLS_PENDING_MAX:]:
            with pytest.raises(malamute.Overloaded, match="not answered yet") as caught:
                transport.result(refused, 10.0)
            assert caught.value.retry_after > 0
        with pytest.raises(malamute.Overloaded):
            transport.open_producer(0, TENANT, STREAM, "another")
        patient.send(batch(range(1000, 1010)))
        patient.drain()  # refused at first; its pause wakes the shard
    finally:
        os.kill(pid, signal.SIGCONT)
    for accepted in pending[:ACTOR_CALLS_PENDING_MAX]:
        assert not transport.result(accepted, 60.0).duplicate
    client = malamute.Client(transport, TENANT, LOCAL, lambda: None)
    rows = client.sql(f"SELECT n FROM {STREAM} ORDER BY n").to_arrow().column("n").to_pylist()
    assert rows == [*range(ACTOR_CALLS_PENDING_MAX), *range(1000, 1010)]


def test_queries_beyond_the_bound_are_refused(transport):
    pid = transport.info["pid"]
    pause(pid)
    try:
        waiting = [send(transport._coordinator, "info") for _ in range(ACTOR_CALLS_PENDING_MAX)]
        with pytest.raises(malamute.Overloaded, match="streams"):
            transport.ask("streams", TENANT)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [unwrap(ref, 60.0, "info")["pid"] for ref in waiting] == [pid] * ACTOR_CALLS_PENDING_MAX
    assert transport.ask("streams", TENANT) == {}
