"""Kafka and file sources as processes that are killed, stopped, woken and told to end, with shards and a broker beside.

What is done and when is seeded; what the processes make of it is not. Everything ends in a count of every record.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

from malamute.commands.store import Choice, open_store
from malamute.display import remarks
from tests.support.kafka_mock import KafkaMock

REPOSITORY = Path(__file__).resolve().parents[2]
PARTITIONS = 4
STEPS = 25
SOURCES_MAX = 3
DRAIN_S_MAX = 240
FETCH = 1  # the number of the request in Kafka's protocol
NOT_LEADER = 6


class Fleet:
    """The processes of sources, and what was done to them."""

    def __init__(self, directory: Path, command: list[str]) -> None:
        self._directory = directory
        self._command = [sys.executable, "-m", "malamute", "source", *command]
        self._running: list[subprocess.Popen[bytes]] = []
        self._stopped: list[subprocess.Popen[bytes]] = []
        self.done: Counter[str] = Counter()

    def start(self) -> None:
        with (self._directory / "sources.log").open("ab") as log:
            self._running.append(subprocess.Popen(self._command, cwd=REPOSITORY, stdout=log, stderr=log))

    def act(self, rng: random.Random, most: int) -> None:
        """Do something to one of them, or start another."""
        self._running = [one for one in self._running if one.poll() is None]
        if len(self._running) < most and (not self._running or rng.random() < 0.5):
            self.start()
            return
        one = rng.choice(self._running)
        what = rng.choice(["killed", "killed", "stopped", "ended", "woken"])
        self.done[what] += 1
        if what == "killed":
            one.kill()
        elif what == "ended":
            one.send_signal(signal.SIGTERM)
        elif what == "stopped":
            one.send_signal(signal.SIGSTOP)
            self._running.remove(one)
            self._stopped.append(one)
        elif self._stopped:
            self._wake(self._stopped[0])

    def _wake(self, one: subprocess.Popen[bytes]) -> None:
        one.send_signal(signal.SIGCONT)
        self._stopped.remove(one)
        self._running.append(one)

    def drain(self) -> None:
        """Wake the zombies, end all, and let one more run to the end."""
        for one in list(self._stopped):
            self._wake(one)
        self.end()
        subprocess.run([*self._command, "--once"], cwd=REPOSITORY, timeout=DRAIN_S_MAX, check=False)

    def end(self) -> None:
        """Tell all to end, and see that they do."""
        for one in [*self._running, *self._stopped]:
            with contextlib.suppress(ProcessLookupError):
                one.send_signal(signal.SIGCONT)
                one.send_signal(signal.SIGTERM)
        for one in [*self._running, *self._stopped]:
            one.wait(DRAIN_S_MAX)
        self._running, self._stopped = [], []


@contextlib.contextmanager
def deployment() -> Iterator[tuple[Path, str]]:
    """A directory, and the storage in it of a deployment that runs on a Ray of its own."""
    directory = Path(tempfile.mkdtemp(prefix="mlm-", dir="/tmp"))
    storage = str(directory / "data")
    before = dict(os.environ)
    os.environ |= {"XDG_STATE_HOME": str(directory / "state"), "RAY_TMPDIR": str(directory)}
    malamute = [sys.executable, "-m", "malamute"]
    try:
        subprocess.run([*malamute, "up", "--storage", storage], cwd=REPOSITORY, check=True, capture_output=True)
        yield directory, storage
    finally:
        subprocess.run([*malamute, "down", "--storage", storage], cwd=REPOSITORY, check=False, capture_output=True)
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(directory, ignore_errors=True)


def kill_a_shard(client: Any, rng: random.Random) -> None:
    serving = [shard for shard in client.status().shards if shard["state"] == "serving"]
    if serving:
        os.kill(rng.choice(serving)["pid"], signal.SIGKILL)


def kafka_campaign(seed: int) -> Counter[str]:
    """Several sources of one group; AssertionError unless every message is there once. What was done, counted."""
    rng = random.Random(f"kafka {seed}")
    with deployment() as (directory, storage), KafkaMock() as kafka:
        kafka.create_topic("numbers", PARTITIONS)
        properties = directory / "kafka.properties"
        properties.write_text("session.timeout.ms=3000\nheartbeat.interval.ms=300\n", encoding="utf-8")
        options = ["--brokers", kafka.address, "--topic", "numbers", "--properties", str(properties)]
        fleet = Fleet(directory, ["kafka", "logs", *options, "--storage", storage])
        producer = Producer({"bootstrap.servers": kafka.address, "linger.ms": 1, "log_level": 0})
        sent = refused = 0
        offsets = Counter[int]()
        try:
            with open_store(Choice(storage=storage), remarks(), create=False) as store:
                for _ in range(STEPS):
                    for _ in range(rng.randrange(1, 2000)):
                        partition = rng.randrange(PARTITIONS)
                        bad = rng.random() < 0.01
                        producer.produce("numbers", b"poison" if bad else b'{"n": %d}' % sent, partition=partition)
                        offsets[partition] += 1
                        refused, sent = refused + bad, sent + (not bad)
                    assert producer.flush(60) == 0
                    fleet.act(rng, SOURCES_MAX)
                    if rng.random() < 0.2:
                        fleet.done["shard killed"] += 1
                        kill_a_shard(store.client, rng)
                    if rng.random() < 0.2:
                        fleet.done["fetches failed"] += 1
                        kafka.fail_requests(FETCH, [NOT_LEADER] * rng.randrange(1, 5))  # half a second each
                    if rng.random() < 0.1:
                        fleet.done["broker away"] += 1
                        kafka.set_broker(1, up=False)
                        time.sleep(rng.uniform(0.1, 4.0))
                        kafka.set_broker(1, up=True)
                    time.sleep(rng.uniform(0.0, 3.0))
                fleet.drain()
                (row,) = store.client.sql(
                    "SELECT count(*) AS stored, count(DISTINCT n) AS uniques, sum(n) AS total FROM logs"
                ).to_pylist()
                (kept,) = store.client.sql(
                    "SELECT count(*) AS stored, count(DISTINCT kafka.partition * 1000000000 + kafka.offset) AS uniques "
                    "FROM logs_refused"
                ).to_pylist()
            log = (directory / "sources.log").read_text(encoding="utf-8")[-3000:]
            found = (row["stored"], row["uniques"], row["total"], kept["stored"], kept["uniques"])
            assert found == (sent, sent, sent * (sent - 1) // 2, refused, refused), (found, sent, refused, log)
        finally:
            fleet.end()
    return fleet.done + Counter(events=sent, refused=refused)


def files_campaign(seed: int) -> Counter[str]:
    """Sources of one directory, one after the other and at once; AssertionError unless every line is there once."""
    rng = random.Random(f"files {seed}")
    with deployment() as (directory, storage):
        incoming = directory / "in"
        incoming.mkdir()
        command = ["files", "logs", str(incoming), "--settle", "0", "--storage", storage]
        fleet = Fleet(directory, command)
        sent = refused = 0
        try:
            with open_store(Choice(storage=storage), remarks(), create=False) as store:
                for step in range(STEPS):
                    lines = []
                    for _ in range(rng.choice([10, 1000, 300_000])):
                        bad = rng.random() < 0.001
                        lines.append(b"poison" if bad else b'{"n": %d, "text": "some words to read"}' % sent)
                        refused, sent = refused + bad, sent + (not bad)
                    data = b"\n".join(lines) + b"\n"
                    packed = rng.random() < 0.3
                    name = f"{step}.ndjson{'.gz' if packed else ''}"
                    (incoming / f".{name}").write_bytes(gzip.compress(data, 1) if packed else data)
                    (incoming / f".{name}").rename(incoming / name)
                    fleet.act(rng, 2)
                    if rng.random() < 0.2:
                        fleet.done["shard killed"] += 1
                        kill_a_shard(store.client, rng)
                    time.sleep(rng.uniform(0.0, 3.0))
                fleet.drain()
                (row,) = store.client.sql(
                    "SELECT count(*) AS stored, count(DISTINCT n) AS uniques, sum(n) AS total FROM logs"
                ).to_pylist()
                (kept,) = store.client.sql(
                    "SELECT count(*) AS stored, count(DISTINCT file.path || file.byte) AS uniques FROM logs_refused"
                ).to_pylist()
                (files,) = store.client.sql(
                    "SELECT count(*) AS files, sum(events) AS events FROM logs_files WHERE state = 'stored'"
                ).to_pylist()
            log = (directory / "sources.log").read_text(encoding="utf-8")[-3000:]
            found = (row["stored"], row["uniques"], row["total"], kept["stored"], kept["uniques"])
            assert found == (sent, sent, sent * (sent - 1) // 2, refused, refused), (found, sent, refused, log)
            assert (files["files"], files["events"]) == (STEPS, sent), (files, log)
        finally:
            fleet.end()
    return fleet.done + Counter(events=sent, refused=refused)


if __name__ == "__main__":
    for number in range(int(sys.argv[1]), int(sys.argv[2])):
        print(json.dumps({"seed": number, "kafka": kafka_campaign(number)}), flush=True)
        print(json.dumps({"seed": number, "files": files_campaign(number)}), flush=True)
