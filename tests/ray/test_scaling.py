"""Changes of the number of shards over real actors, under writers of every kind and a reader that checks."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

import malamute
from tests.support.processes import pids

pytestmark = pytest.mark.ray

STREAMS = ("plain", "keyed")
BOTH = " UNION ALL ".join(f"SELECT '{stream}' AS s, p, n FROM {stream}" for stream in STREAMS)
COUNTED = f"SELECT s, p, count(*) AS c, count(DISTINCT n) AS d FROM ({BOTH}) GROUP BY s, p"


class Load:
    """Writers with and without names into both streams, and a reader; what is acknowledged is counted."""

    def __init__(self, store: malamute.Client) -> None:
        self.store = store
        self.acknowledged: Counter[tuple[str, str]] = Counter()
        self.reads = 0
        self.done = threading.Event()

    def write(self, stream: str, name: str, send: Callable[[list[dict[str, object]]], object]) -> None:
        while not self.done.is_set():
            first = self.acknowledged[stream, name]
            events = [{"p": name, "n": n, "id": f"{name}-{n}"} for n in range(first, first + 20)]
            send(events)
            self.acknowledged[stream, name] += 20

    def named(self, stream: str, name: str) -> None:
        with self.store.producer(name, stream=stream) as producer:

            def send(events: list[dict[str, object]]) -> None:
                producer.send_batch(events, position=str(events[-1]["n"]).encode())
                producer.flush()

            self.write(stream, name, send)
            assert producer.position() == str(self.acknowledged[stream, name] - 1).encode()

    def read(self) -> None:
        while not self.done.is_set():
            least = Counter(self.acknowledged)
            found = self.counted()
            for key, count in least.items():
                assert found[key] >= count, f"{key}: {count} acknowledged, {found[key]} seen"
            self.reads += 1

    def counted(self) -> Counter[tuple[str, str]]:
        rows = self.store.sql(COUNTED, cache=False).to_pylist()
        assert all(row["c"] == row["d"] for row in rows), "seen twice"
        return Counter({(row["s"], row["p"]): row["c"] for row in rows})


def test_shards_come_and_go_under_load_and_a_shard_is_killed_meanwhile(store):
    store.create_stream("plain")
    store.create_stream("keyed", dedup_key="id")
    load = Load(store)
    jobs = [
        *((load.named, stream, f"named-{number}") for stream in STREAMS for number in range(2)),
        *((load.write, stream, "wide", partial(store.write, stream)) for stream in STREAMS),
    ]
    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        work = [pool.submit(*job) for job in jobs]
        try:
            while len(load.acknowledged) < len(jobs):
                time.sleep(0.1)
            work.append(pool.submit(load.read))
            assert store.scale(4)["shards"] == [0, 1, 2, 3]
            pid = pids(lambda: store.status().shards)[3]
            os.kill(pid, signal.SIGKILL)
            assert store.scale(2)["shards"] == [0, 1]
        finally:
            load.done.set()
        for one in work:
            one.result()
    assert load.counted() == load.acknowledged and load.reads > 0
    placement = store.status().placement
    assert placement["version"] == 3 and placement["state"] == "steady"
    assert {0, 1} < {origin for shard in store.status().shards for origin in shard["origins"]}


def test_a_store_begins_again_with_the_shards_it_had_and_says_how_to_change_them(ray_session, storage):
    counted = "SELECT count(*) AS c, count(DISTINCT n) AS d FROM numbers"
    with malamute.connect(storage=storage, shards=2) as store:
        store.write("numbers", [{"n": n} for n in range(10)])
        store.write("numbers", [{"n": n} for n in range(10, 20)])
        first = store.search("*", stream="numbers", limit=4)
        store.scale(1)
        store.write("numbers", [{"n": n} for n in range(20, 30)])
        rest = store.search("*", stream="numbers", limit=100, cursor=first.cursor)
        assert sorted(row["n"] for page in (first, rest) for row in page.to_pylist()) == list(range(20))
    with malamute.connect(storage=storage) as store:
        assert len(store.status().shards) == 1
        store.scale(3)
        assert store.sql(counted).to_pylist() == [{"c": 30, "d": 30}]
    with pytest.raises(malamute.InvalidSettings, match="has 3 shards, and 2 were asked for") as caught:
        malamute.connect(storage=storage, shards=2)
    assert "malamute scale --shards 2" in str(caught.value)


def test_a_dry_run_changes_nothing_and_what_cannot_be_is_refused(store):
    assert store.scale_plan(3)["next"]["shards"] == [0, 1, 2]
    assert store.scale_plan(1)["next"]["heirs"] == {"1": 0}
    assert store.scale_plan(2)["next"] is None and store.status().placement["version"] == 1
    assert store.scale_decision()["shards"] >= 1
    with pytest.raises(malamute.InvalidRequest, match="0 shards are not allowed: 1 to 1024"):
        store.scale(0)
