"""Sources into a real deployment: shards that are killed meanwhile, positions and the ledger by SQL."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from pathlib import Path

import pytest

import malamute
from core.clock import SystemClock
from core.errors import MalamuteError
from malamute.connection import embedded_name
from malamute.sources.files import FilesPlan, FilesSource
from malamute.sources.report import Report
from malamute.sources.store import ClientStore
from tests.support.kafka_mock import KafkaMock

confluent_kafka = pytest.importorskip("confluent_kafka")

PARTITIONS = 2


def count(store: malamute.Client, stream: str = "logs") -> tuple[int, int]:
    try:
        (row,) = store.sql(f"SELECT count(*) AS c, count(DISTINCT n) AS d FROM {stream}").to_pylist()
    except (malamute.Unavailable, malamute.UnknownOutcome):
        return -1, -1
    return row["c"], row["d"]


def kill_a_shard(store: malamute.Client) -> None:
    serving = [shard for shard in store.status().shards if shard["state"] == "serving"]
    os.kill(serving[0]["pid"], signal.SIGKILL)


def read(store: malamute.Client, storage: str, address: str, *, once: bool, stopping: threading.Event) -> Report:
    from malamute.sources.kafka import KafkaPlan, KafkaSource

    report = Report(io.StringIO(), SystemClock())
    properties = {"session.timeout.ms": "1300", "heartbeat.interval.ms": "100"}
    plan = KafkaPlan("logs", address, ("numbers",), "g", "json", once, properties)
    KafkaSource(plan, ClientStore(store, embedded_name(storage)), report, SystemClock(), stopping).run()
    return report


def test_a_topic_is_stored_once_while_shards_are_killed(store, storage):
    with KafkaMock() as kafka:
        kafka.create_topic("numbers", PARTITIONS)
        producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address, "linger.ms": 1, "log_level": 0})
        stopping, reports = threading.Event(), []

        def run() -> None:
            reports.append(read(store, storage, kafka.address, once=False, stopping=stopping))

        source = threading.Thread(target=run, daemon=True)
        source.start()
        for n in range(3000):
            producer.produce("numbers", b"%s" % (b"poison" if n % 1000 == 7 else b'{"n": %d}' % n), partition=n % 2)
            if n % 1000 == 500:
                producer.flush(30)
                kill_a_shard(store)
        producer.flush(30)
        deadline_s = time.monotonic() + 90
        while count(store) != (2997, 2997) and source.is_alive() and time.monotonic() < deadline_s:
            time.sleep(0.1)
        stopping.set()
        source.join(60)
        assert not source.is_alive()
        assert count(store) == (2997, 2997)
        refused = store.sql("SELECT kafka.partition AS p, kafka.offset AS o FROM logs_refused ORDER BY o").to_pylist()
        assert [(row["p"], row["o"]) for row in refused] == [(1, 3), (1, 503), (1, 1003)]
        # What the source counted is what was acknowledged to it.
        assert (reports[0].counts.events, reports[0].counts.refused) == (2997, 3)
        asked = ClientStore(store, embedded_name(storage))
        where = {"kafka.topic": "numbers", "kafka.partition": 1}
        assert asked.largest("logs", "kafka.offset", where) == 1499


def test_files_are_stored_once_while_the_source_and_shards_are_killed(store, storage, tmp_path, monkeypatch):
    monkeypatch.setattr("malamute.sources.files.SOURCE_BATCH_BYTES_TARGET", 4096)
    directory = tmp_path / "in"
    directory.mkdir()
    for number in range(3):
        events = (b'{"n": %d}\n' % n for n in range(2000 * number, 2000 * (number + 1)))
        (directory / f"{number}.ndjson").write_bytes(b"".join(events))

    class Killed(BaseException):
        """The source ends here, with a batch on its way."""

    class Killing(Report):
        """Kills the source at its third batch, and a shard beside it."""

        left = 3

        def count(self, **numbers: int) -> None:
            super().count(**numbers)
            self.left -= 1
            if self.left == 0:
                kill_a_shard(store)
                raise Killed

    def run(kind: type[Report]) -> None:
        report = kind(io.StringIO(), SystemClock())
        plan = FilesPlan("logs", Path(directory), 0.0, True)
        FilesSource(plan, ClientStore(store, embedded_name(storage)), report, SystemClock(), threading.Event()).run()

    kills = 0
    for _ in range(3):
        try:
            run(Killing)
        except Killed:
            kills += 1
        except MalamuteError as error:
            pytest.fail(f"the source gave up: {error}")
    run(Report)
    assert kills == 3
    assert count(store) == (6000, 6000)
    entries = store.sql("SELECT file.path AS path, events FROM logs_files WHERE state = 'stored' ORDER BY path")
    assert [(row["path"], row["events"]) for row in entries.to_pylist()] == [(f"{n}.ndjson", 2000) for n in range(3)]
