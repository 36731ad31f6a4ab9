"""How long writers wait when the number of shards changes: the longest flush of a producer around each change.

Producers flush small batches without a pause, into a plain stream and one with a dedup key, level `local`, on one
machine that the shards share with them. The processes of new shards are begun before anybody has to wait.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import malamute
from benchmarks.record import store, value

ROUNDS = 5
EVENTS = 100  # of one flush
PRODUCERS = 2  # of each stream
CALM_S = 2.0


class Writers:
    """Producers that note how long each of their flushes took."""

    def __init__(self, client: malamute.Client) -> None:
        self.flushes: list[tuple[str, float, float]] = []  # (stream, began, took) in seconds
        self._client = client
        self._done = threading.Event()
        self._threads = [
            threading.Thread(target=self._write, args=(stream, number))
            for stream in ("plain", "keyed")
            for number in range(PRODUCERS)
        ]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def _write(self, stream: str, number: int) -> None:
        name, sent = f"{stream}-{number}", 0
        with self._client.producer(name, stream=stream) as producer:
            while not self._done.is_set():
                events = [{"n": n, "id": f"{name}-{n}"} for n in range(sent, sent + EVENTS)]
                began_s = time.monotonic()
                producer.send_batch(events)
                producer.flush()
                self.flushes.append((stream, began_s, time.monotonic() - began_s))
                sent += EVENTS

    def longest(self, stream: str, since_s: float, until_s: float) -> float:
        """The longest flush that was under way at some time in between."""
        return max(took for of, began, took in self.flushes if of == stream and since_s - took <= began <= until_s)


def _config(directory: str) -> str:
    """Settings with which the processes of retired shards end soon: there is no room for those of every round."""
    path = Path(directory, "config.yaml")
    path.write_text("query:\n  timeout_s: 5\n")
    return str(path)


def main(rounds: int) -> None:
    details: dict[str, Any] = {"rounds": rounds, "events of a flush": EVENTS, "producers": 2 * PRODUCERS}
    waits: dict[str, list[float]] = {}
    with (
        tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory,
        malamute.connect(storage=f"{directory}/data", shards=2, config=_config(directory)) as client,
    ):
        client.create_stream("plain")
        client.create_stream("keyed", dedup_key="id")
        with Writers(client) as writers:
            time.sleep(CALM_S)
            for _ in range(rounds):
                for shards, name in ((4, "2 to 4 shards"), (2, "4 to 2 shards")):
                    began_s = time.monotonic()
                    client.scale(shards)
                    time.sleep(CALM_S)
                    for stream in ("plain", "keyed"):
                        longest = writers.longest(stream, began_s, time.monotonic() - CALM_S / 2)
                        waits.setdefault(f"{name}, {stream} stream", []).append(longest)
            calm_s = [took for _, _, took in writers.flushes]
        details["flushes"] = len(calm_s)
    values = [value("flush of a producer, p50", statistics.median(calm_s), "s")]
    for name, seconds in waits.items():
        details[name] = sorted(seconds)
        values.append(value(f"longest flush of a writer, {name}, p50", statistics.median(seconds), "s"))
        values.append(value(f"longest flush of a writer, {name}, most of {len(seconds)}", max(seconds), "s"))
    store("scaling", values, details)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
