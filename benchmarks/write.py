"""JSON and Python events through the client: shredding, producers, shards, WAL and flush together, level `local`.

One process writes, on the same cores as the shards. Every run is counted by a query before its rate is believed.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import orjson

import malamute
from benchmarks.record import store, value
from core.append import LOCAL
from ingest.generate import generator

RUNS = 5
PART_EVENTS = 200_000
PARTS = 10  # of NDJSON in one write: 2 M events, 0.7 GB
START_US = 1_700_000_000_000_000


def main() -> None:
    part = generator("logs", 1).ndjson(PART_EVENTS, START_US)
    events = [orjson.loads(line) for line in part.splitlines()]
    with (
        tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory,
        malamute.connect(storage=directory, shards=2, durability=LOCAL) as client,
    ):
        client.write("warm", part)
        ndjson = part * PARTS
        rates = {
            "ndjson": _rates(client, PARTS * PART_EVENTS, lambda stream: client.write(stream, ndjson)),
            "dicts": _rates(client, PART_EVENTS, lambda stream: client.write(stream, events)),
            "send": _rates(client, PART_EVENTS, lambda stream: _send(client, stream, events)),
        }
    medians = {name: statistics.median(of) for name, of in rates.items()}
    event_bytes = len(part) / PART_EVENTS
    store(
        "write",
        [
            value("write() of NDJSON", medians["ndjson"] * event_bytes / 1e6, "MB/s", "≥ 150"),
            value("the same in events", medians["ndjson"] / 1e3, "k events/s", "≥ 400"),
            value("write() of a list of dicts", medians["dicts"] / 1e3, "k events/s", "≥ 200"),
            value("producer.send() of single dicts", medians["send"] / 1e3, "k events/s", "≥ 200"),
        ],
        {"events_per_s": rates, "json_bytes_per_event": event_bytes},
    )


def _rates(client: Any, events: int, write: Callable[[str], Any]) -> list[float]:
    """Events a second of each run, every one into a stream of its own."""
    return list(_each_rate(client, events, write))


def _each_rate(client: Any, events: int, write: Callable[[str], Any]) -> Iterator[float]:
    for _ in range(RUNS):
        stream = f"run_{time.time_ns()}"
        started = time.perf_counter()
        write(stream)
        seconds = time.perf_counter() - started
        found = client.sql(f"SELECT count(*) FROM {stream}").scalar()
        if found != events:
            raise RuntimeError(f"{found} events are there of {events}")
        yield events / seconds


def _send(client: Any, stream: str, events: list[dict[str, Any]]) -> None:
    with client.producer("one", stream=stream) as producer:
        for event in events:
            producer.send(event)


if __name__ == "__main__":
    main()
