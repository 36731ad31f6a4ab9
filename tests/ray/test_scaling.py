"""Changes of the number of shards over real actors, under writers of every kind and a reader that checks."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import malamute
from core.clock import SystemClock
from malamute.commands.status import automatic_texts
from malamute.sources.files import FilesPlan, FilesSource
from malamute.sources.report import Report
from malamute.sources.store import ClientStore
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


def wait_for(look: Callable[[], Any], what: str, seconds: float = 90.0) -> Any:
    until_s = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < until_s, f"waited {seconds:g} s for {what}"
        time.sleep(0.1)
    return found


def placed(store: malamute.Client, shards: int) -> dict[str, Any] | None:
    placement = store.status().placement
    return placement if placement["state"] == "steady" and len(placement["shards"]) == shards else None


def kill_one(store: malamute.Client, number: int) -> None:
    """Kill the process of the placement's `number`-th shard."""
    serving = wait_for(lambda: [one for one in store.status().shards if one["state"] == "serving"], "a shard")
    os.kill(serving[number % len(serving)]["pid"], signal.SIGKILL)


def rows_of(store: malamute.Client) -> dict[str, int]:
    """The events of both sources; none twice."""
    (row,) = store.sql(
        "SELECT (SELECT count(*) FROM queue) AS queue, (SELECT count(DISTINCT n) FROM queue) AS once, "
        "(SELECT count(*) FROM files) AS files, (SELECT count(DISTINCT n) FROM files) AS once_too",
        cache=False,
    ).to_pylist()
    assert row["queue"] == row["once"] and row["files"] == row["once_too"], row
    return {"queue": row["queue"], "files": row["files"]}


@contextmanager
def sources(store: malamute.Client, name: str, directory: Path) -> Iterator[dict[str, int]]:
    """A Kafka source and a file source that take what is produced until the end; yields how much that was by then."""
    pytest.importorskip("confluent_kafka")
    import confluent_kafka

    from malamute.sources.kafka import KafkaPlan, KafkaSource
    from tests.support.kafka_mock import KafkaMock

    directory.mkdir()
    stopping, enough = threading.Event(), threading.Event()
    produced = {"queue": 0, "files": 0}
    with KafkaMock() as kafka, ThreadPoolExecutor(3) as pool:
        kafka.create_topic("numbers", 2)
        queue = confluent_kafka.Producer({"bootstrap.servers": kafka.address, "linger.ms": 1, "log_level": 0})

        def produce() -> None:
            while not enough.wait(0.02):
                for _ in range(20):
                    queue.produce("numbers", b'{"n": %d}' % produced["queue"], partition=produced["queue"] % 2)
                    produced["queue"] += 1
                first = produced["files"]
                part = directory / f"{first}.part"
                part.write_bytes(b"".join(b'{"n": %d}\n' % n for n in range(first, first + 20)))
                part.rename(directory / f"{first}.ndjson")
                produced["files"] += 20
            queue.flush(30)

        properties = {"session.timeout.ms": "1300", "heartbeat.interval.ms": "100"}
        kafka_plan = KafkaPlan("queue", kafka.address, ("numbers",), "g", "json", False, properties)
        files_plan = FilesPlan("files", directory, 0.1, False)
        clock, client = SystemClock(), ClientStore(store, name)
        work = [
            pool.submit(KafkaSource(kafka_plan, client, Report(io.StringIO(), clock), clock, stopping).run),
            pool.submit(FilesSource(files_plan, client, Report(io.StringIO(), clock), clock, stopping).run),
            pool.submit(produce),
        ]
        try:
            wait_for(lambda: min(rows_of(store).values()) > 0, "both sources")
            yield produced
            enough.set()
            work[2].result(60)
            wait_for(lambda: rows_of(store) == produced, "what was produced")
        finally:
            enough.set()
            stopping.set()
        for one in work:
            one.result(60)


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


def test_sources_readers_and_compactors_go_on_while_shards_come_go_and_are_killed(ray_session, tmp_path):
    config = tmp_path / "ray_config.yaml"
    config.write_text(
        "name: changing\nreaders:\n  count: 1\n  num_cpus: 0.1\ncompaction:\n  compactors: 1\n  num_cpus: 0.1\n"
    )
    storage = str(tmp_path / "data")
    with malamute.connect(storage=storage, config=str(config)) as store:
        store.create_stream("queue")
        store.create_stream("files")
        with sources(store, "changing", tmp_path / "in") as produced:
            for shards, killed in ((3, 0), (1, 2)):
                change = threading.Thread(target=store.scale, args=(shards,))
                change.start()
                kill_one(store, killed)
                seen = rows_of(store)
                change.join(120)
                assert not change.is_alive()
                assert all(rows_of(store)[stream] >= count for stream, count in seen.items()), "seen, then not"
            wait_for(lambda: placed(store, 1), "the last change")
            wait_for(lambda: store.flush() and any(one["merges"] for one in store.status().compactors), "a merge")
        assert rows_of(store) == produced


def test_shards_come_with_the_events_and_go_with_the_lull(ray_session, tmp_path):
    config = tmp_path / "ray_config.yaml"
    config.write_text(
        "name: breathing\nshards: 1\nautoscale:\n  enabled: true\n  shards_min: 1\n  shards_max: 2\n"
        "  bytes_per_s_target: 20KiB\n  cpu_target: 256\n  up_after_s: 1\n  down_after_s: 4\n"
    )
    with malamute.connect(storage=str(tmp_path / "data"), config=str(config)) as store:
        load = Load(store)
        store.create_stream("plain")
        busy = threading.Thread(target=load.named, args=("plain", "p"))
        busy.start()
        try:
            grown = wait_for(lambda: placed(store, 2), "a second shard")
        finally:
            load.done.set()
            busy.join()
        last = grown["automatic"]["last"]
        assert last["shards"] == 2 and "at least 2 shards were needed" in last["reason"]
        shrunk = wait_for(lambda: placed(store, 1), "the lull")
        assert "no more than 1 shards were needed" in shrunk["automatic"]["last"]["reason"]
        assert list(automatic_texts(shrunk["automatic"]))[1].startswith("its last change, to 1 shards: for 4 s")
        (row,) = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d FROM plain").to_pylist()
        assert row["c"] == row["d"] == load.acknowledged["plain", "p"]


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
