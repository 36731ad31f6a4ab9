"""What Ray Client costs: the same Arrow batches written by a process inside the cluster and over ray://."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile

import ray

import malamute
from benchmarks.record import REPOSITORY, store, value
from tests.support.client_server import client_server

RUNS = 3

WRITER = """
import sys, time
import pyarrow as pa
import malamute
from ingest.generate import generator
client = malamute.connect(sys.argv[1], name="bench")
events = generator("logs", 1, 0)
table = pa.Table.from_batches([events.batch(65_536, time.time_ns() // 1000) for _ in range(4)])
client.write("bench", table)
started = time.perf_counter()
accepted = client.write("bench", table).accepted
print(accepted / (time.perf_counter() - started), table.nbytes / accepted)
client.close()
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        client = malamute.connect(storage=directory, name="bench")
        try:
            with client_server(ray.get_runtime_context().gcs_address) as outside:
                _compare(outside)
        finally:
            client.close()


def _compare(outside: str) -> None:
    inside = ray.get_runtime_context().gcs_address
    rates: dict[str, list[float]] = {"inside": [], "outside": []}
    bytes_per_event = 0.0
    for _ in range(RUNS):
        for place, address in (("inside", inside), ("outside", outside)):
            rate, bytes_per_event = _write(address)
            rates[place].append(rate)
    ratio = statistics.median(i / o for i, o in zip(rates["inside"], rates["outside"], strict=True))
    rows = [
        value(f"write() of Arrow {place} the cluster", statistics.median(rates[place]) / 1e6, "M events/s")
        for place in rates
    ]
    store(
        "ray_client",
        [*rows, value("inside / over ray://", ratio, "x")],
        {"events_per_s": rates, "arrow_bytes_per_event": bytes_per_event},
    )


def _write(address: str) -> tuple[float, float]:
    """(events a second, Arrow bytes an event) of a process of its own."""
    remote = address.startswith("ray://")
    environment = {key: text for key, text in os.environ.items() if key != "RAY_ADDRESS"}
    if not remote:
        environment["RAY_ADDRESS"] = address  # what "auto" then means
    done = subprocess.run(
        [sys.executable, "-c", WRITER, address if remote else "auto"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rate, size = done.stdout.split()[-2:]
    return float(rate), float(size)


if __name__ == "__main__":
    main()
