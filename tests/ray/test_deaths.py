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

NAME = "deaths"
WAIT_S = 60.0


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


@contextmanager
def load(store: malamute.Client, stream: str) -> Iterator[list[int]]:
    """Writes and asks meanwhile; yields how many answers there were, of which each is checked, as all is at the end."""
    done = threading.Event()
    written, answers = [0], [0]

    def write() -> None:
        while not done.is_set():
            receipt = store.write(stream, [{"n": n} for n in range(written[0], written[0] + 100)])
            written[0] += receipt.accepted
            time.sleep(0.01)

    def ask() -> None:
        while not done.wait(0.02):
            least = written[0]
            if least:
                assert least <= counted(store, stream)
                answers[0] += 1

    failures: list[BaseException] = []
    threads = [threading.Thread(target=_kept, args=[work, failures]) for work in (write, ask)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert not failures, failures
    assert counted(store, stream) == written[0] > 0


def _kept(work: Callable[[], None], failures: list[BaseException]) -> None:
    try:
        work()
    except BaseException as error:
        failures.append(error)


def counted(store: malamute.Client, stream: str) -> int:
    (row,) = store.sql(f"SELECT count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM {stream}").to_pylist()
    assert row["c"] == row["d"] == row["m"] + 1, row
    return int(row["c"])


def until(condition: Callable[[], Any]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def more(answers: list[int]) -> None:
    """Wait for answers of queries that began from now on."""
    until(lambda before=answers[0]: answers[0] >= before + 2)


def test_queries_go_on_while_readers_are_killed(served, stream):
    served.write(stream, [{"n": n} for n in range(1000)])
    with load(served, f"{stream}_more") as answers:
        more(answers)
        served.flush()
        for reader in served.status().readers:
            os.kill(reader["pid"], signal.SIGKILL)
            assert counted(served, stream) == 1000
            more(answers)


def test_coordinator_shards_and_readers_that_die_at_once_come_back(served, stream):
    with load(served, stream) as answers:
        more(answers)
        status = served.status()
        before = [shard["epoch"] for shard in status.shards]
        everything = [status.to_dict()["coordinator"], *status.shards, *status.readers]
        for one in everything:
            os.kill(one["pid"], signal.SIGKILL)
        more(answers)
    after = served.status()
    assert all(shard["state"] == "serving" for shard in after.shards)
    assert all(shard["epoch"] > epoch for shard, epoch in zip(after.shards, before, strict=True))


def test_a_shard_that_hangs_is_ended_and_begins_again(served, stream, config):
    """As by the coordinator after half a minute: a keeper of the test's own looks more often."""
    settings = load_settings(config, {}, {})
    plan = ShardPlan(f"{NAME}.shard-0", NAMESPACE, shard_config(settings, 0), 0.25, 0)
    handle = ray.get_actor(plan.name, namespace=NAMESPACE)
    keeper = Keeper(lambda: [plan], {"shard-0": handle}, look_s=0.4)  # 6 s, and Ray takes 5 s more
    keeper.start()
    with load(served, stream) as answers:
        more(answers)
        before = served.status().shards[0]
        os.kill(before["pid"], signal.SIGSTOP)
        until(lambda: keeper.status()["ended"])
        more(answers)
        with pytest.raises(ProcessLookupError):
            os.kill(before["pid"], signal.SIGCONT)
        after = served.status().shards[0]
        assert (after["state"], after["epoch"]) == ("serving", before["epoch"] + 1)
    assert keeper.status() == {"moved": 0, "ended": 1, "failure": None}
