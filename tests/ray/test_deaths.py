"""Under load readers die, everything dies at once, a shard hangs: work goes on, nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import ray

import malamute
from actors.keeper import Keeper
from actors.placement import ShardPlan
from cluster.launch import shard_config
from cluster.settings import load_settings
from cluster.transport import NAMESPACE
from tests.support.processes import pids

NAME = "deaths"
WAIT_S = 120.0


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("deaths")
    (path / "config.yaml").write_text(
        f"name: {NAME}\nstorage: {path}/data\nshards: 2\nreaders:\n  count: 2\nscrub:\n  interval_s: 0s\n"
    )
    return str(path / "config.yaml")


@pytest.fixture(scope="module")
def served(ray_session, config) -> Iterator[malamute.Client]:
    with malamute.connect(config=config) as client:
        yield client


class Load:
    """Writes and asks in threads until done(), which checks that all is there; each answer is checked as well."""

    def __init__(self, store: malamute.Client, stream: str) -> None:
        self._store, self._stream = store, stream
        self._written = self._answers = 0
        self._done = threading.Event()
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._keep, args=[work]) for work in (self._write, self._ask)]
        for thread in self._threads:
            thread.start()

    def more(self) -> None:
        """Wait for answers of queries that began from now on."""
        enough = self._answers + 2
        until(lambda: self._answers >= enough or self._failures)
        assert not self._failures, self._failures

    def done(self) -> None:
        """End, and count."""
        self._done.set()
        for thread in self._threads:
            thread.join()
        assert not self._failures, self._failures
        assert counted(self._store, self._stream) == self._written > 0

    def _write(self) -> None:
        first = self._written
        self._written += self._store.write(self._stream, [{"n": n} for n in range(first, first + 100)]).accepted
        time.sleep(0.01)

    def _ask(self) -> None:
        least = self._written
        if least:
            counted(self._store, self._stream, least)
            self._answers += 1
        time.sleep(0.02)

    def _keep(self, work: Callable[[], None]) -> None:
        try:
            while not self._done.is_set():
                work()
        except BaseException as error:
            self._failures.append(error)


@contextmanager
def load(store: malamute.Client, stream: str) -> Iterator[Load]:
    """A Load meanwhile."""
    running = Load(store, stream)
    try:
        yield running
    finally:
        running.done()


def counted(store: malamute.Client, stream: str, acknowledged: int = 0) -> int:
    """How many events there are: each once, and all of the first ones, which were acknowledged before.

    Later ones may be missing between others: the snapshots of two shards are not of one instant.
    """
    (row,) = store.sql(
        f"SELECT count(*) AS c, count(DISTINCT n) AS d, count(*) FILTER (WHERE n < ?) AS a FROM {stream}",
        [acknowledged],
    ).to_pylist()
    assert row["c"] == row["d"] and row["a"] == acknowledged, (row, acknowledged)
    return int(row["c"])


def everything(store: malamute.Client) -> list[dict[str, Any]]:
    """The numbers of coordinator, shards and readers; one that does not answer has no `pid`."""
    status = store.status()
    return [status.to_dict()["coordinator"], *status.shards, *status.readers]


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_queries_go_on_while_readers_are_killed(served, stream):
    served.write(stream, [{"n": n} for n in range(1000)])
    with load(served, f"{stream}_more") as work:
        work.more()
        served.flush()
        for pid in pids(lambda: served.status().readers):
            os.kill(pid, signal.SIGKILL)
            assert counted(served, stream) == 1000
            work.more()


def test_coordinator_shards_and_readers_that_die_at_once_come_back(served, stream):
    with load(served, stream) as work:
        work.more()
        killed = pids(lambda: everything(served))  # a reader that was killed is back
        before = [shard["epoch"] for shard in served.status().shards]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        work.more()
    until(lambda: all(shard["state"] == "serving" for shard in served.status().shards))
    assert all(shard["epoch"] > epoch for shard, epoch in zip(served.status().shards, before, strict=True))


def test_a_shard_that_hangs_is_ended_and_begins_again(served, stream, config):
    """As by the coordinator after half a minute: a keeper of the test's own looks more often."""
    settings = load_settings(config, {}, {})
    plan = ShardPlan(f"{NAME}.shard-0", NAMESPACE, shard_config(settings, 0), 0.25, 0)
    handle = ray.get_actor(plan.name, namespace=NAMESPACE)
    keeper = Keeper(lambda: [plan], {"shard-0": handle}, look_s=0.4)  # 6 s, and Ray takes 5 s more
    keeper.start()
    with load(served, stream) as work:
        work.more()
        before = served.status().shards[0]
        os.kill(before["pid"], signal.SIGSTOP)
        until(lambda: keeper.status()["ended"])
        work.more()
        with pytest.raises(ProcessLookupError):
            os.kill(before["pid"], signal.SIGCONT)
        after = served.status().shards[0]
        assert after["state"] == "serving" and after["epoch"] > before["epoch"]
    assert keeper.status()["failure"] is None
