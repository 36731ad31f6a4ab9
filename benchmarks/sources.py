"""Sources into an embedded store: a topic of librdkafka's mock brokers, and a directory of files, level `local`.

Brokers, source and shards share the cores. Every run is counted by a query before its rate is believed.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from confluent_kafka import Producer

import malamute
from benchmarks.record import store, value
from core.append import LOCAL
from core.clock import SystemClock
from ingest.generate import generator
from malamute.connection import embedded_name
from malamute.sources.files import FilesPlan, FilesSource
from malamute.sources.kafka import KafkaPlan, KafkaSource
from malamute.sources.report import Report
from malamute.sources.store import ClientStore
from tests.support.kafka_mock import KafkaMock

RUNS = 3
EVENTS = 1_000_000
FILES = 8
PARTITIONS = 32  # the mock keeps 5 MB of each
START_US = 1_700_000_000_000_000


def main() -> None:
    ndjson = generator("logs", 1).ndjson(EVENTS, START_US)
    lines = ndjson.splitlines()
    with (
        tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory,
        malamute.connect(storage=f"{directory}/data", shards=2, durability=LOCAL) as client,
        KafkaMock() as kafka,
    ):
        kafka.create_topic("logs", PARTITIONS)
        _produce(kafka.address, lines)
        part = len(lines) // FILES
        for number in range(FILES):
            path = Path(directory) / "in" / f"{number}.ndjson"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\n".join(lines[number * part : (number + 1) * part]) + b"\n")
        of_store = ClientStore(client, embedded_name(f"{directory}/data"))

        def read_topic(stream: str) -> None:
            # A group of its own: Kafka lets a group that it knows wait for its next member.
            plan = KafkaPlan(stream, kafka.address, ("logs",), stream, "json", True, {})
            KafkaSource(plan, of_store, _report(), SystemClock(), threading.Event()).run()

        def read_files(stream: str) -> None:
            plan = FilesPlan(stream, Path(directory) / "in", 0.0, True)
            FilesSource(plan, of_store, _report(), SystemClock(), threading.Event()).run()

        rates = {"kafka": _rates(client, read_topic), "files": _rates(client, read_files)}
    medians = {name: statistics.median(of) for name, of in rates.items()}
    store(
        "sources",
        [
            value("kafka source, JSON values, joining the group included", medians["kafka"] / 1e3, "k events/s"),
            value("source of NDJSON files", medians["files"] / 1e3, "k events/s"),
        ],
        {"events_per_s": rates, "json_bytes_per_event": len(ndjson) / EVENTS, "partitions": PARTITIONS},
    )


def _produce(address: str, lines: list[bytes]) -> None:
    producer = Producer(
        {"bootstrap.servers": address, "compression.type": "lz4", "linger.ms": 50, "queue.buffering.max.messages": 0}
    )
    for number, line in enumerate(lines):
        producer.produce("logs", line, partition=number % PARTITIONS)
        if number % 10_000 == 0:
            producer.poll(0)
    if producer.flush(120):
        raise RuntimeError("the mock brokers did not take all messages")


def _rates(client: Any, read: Callable[[str], None]) -> list[float]:
    """Events a second of each run, every one into a stream of its own; the first is not counted."""
    rates = []
    for _ in range(RUNS + 1):
        stream = f"run_{time.time_ns()}"
        started = time.perf_counter()
        read(stream)
        seconds = time.perf_counter() - started
        found = client.sql(f"SELECT count(*) FROM {stream}").scalar()
        if found != EVENTS:
            raise RuntimeError(f"{found} events are there of {EVENTS}")
        rates.append(EVENTS / seconds)
    return rates[1:]


def _report() -> Report:
    return Report(io.StringIO(), SystemClock())


if __name__ == "__main__":
    main()
