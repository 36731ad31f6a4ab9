"""What queries may do to others and to memory: cancellation, rows streamed to a client, a tenant beside a flood."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

import malamute
from benchmarks.record import store, value
from core.errors import BudgetExceeded, Overloaded
from ingest.generate import generator

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
ROWS = 65_536
CANCELLATIONS = 20
QUESTIONS = 300  # of the light tenant
FLOOD = 16  # callers of the heavy tenant, who ask as fast as they are answered

SLOW = "SELECT service, count(*) FROM logs WHERE regexp_matches(repeat(message, 20), '(a|b).*z$') GROUP BY 1"
LIGHT = "SELECT service, count(*) FROM logs WHERE status = 'error' GROUP BY 1"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        heavy = malamute.connect(storage=directory, tenant="heavy")
        light = malamute.connect(storage=directory, tenant="light")
        try:
            _fill(heavy, EVENTS)
            _fill(light, ROWS)
            details: dict[str, Any] = {"events": EVENTS, "load_average": os.getloadavg()[0]}
            values = [*_streamed(heavy, details), *_cancelled(heavy, details), *_beside_a_flood(heavy, light, details)]
            store("budgets", values, details)
        finally:
            light.close()
            heavy.close()


def _fill(client: malamute.Client, events: int) -> None:
    made = generator("logs", 1, 0)
    for done in range(0, events, 8 * ROWS):
        rows = min(8 * ROWS, events - done)
        batches = [made.batch(min(ROWS, rows - at), time.time_ns() // 1000) for at in range(0, rows, ROWS)]
        client.write("logs", pa.Table.from_batches(batches))
    client.flush()


def _streamed(client: malamute.Client, details: dict[str, Any]) -> list[dict[str, Any]]:
    """All rows of a stream, passed on to the client: how fast, and what the processes had more than before."""
    pids = {"client": "self", "coordinator": client.status().to_dict()["coordinator"]["pid"]}
    before = {}
    for name, pid in pids.items():
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew, see proc(5)
        before[name] = _private_bytes(pid)
    peaks = dict(before)
    by_million: list[dict[str, int]] = []  # the peaks until then
    started, rows = time.perf_counter(), 0
    for batch in client.sql_batches("SELECT timestamp, service, host, duration_ms, message FROM logs"):
        rows += batch.num_rows
        peaks = {name: max(peaks[name], _private_bytes(pid)) for name, pid in pids.items()}
        if rows >= 1_000_000 * (len(by_million) + 1):
            by_million.append(peaks)
    seconds = time.perf_counter() - started
    details["streamed"] = {
        "rows": rows, "seconds": seconds, "before": before, "peaks": peaks, "by_million": by_million
    }  # fmt: skip
    third = by_million[len(by_million) // 3]
    return [
        value("rows streamed to a client", rows / seconds / 1e6, "M rows/s"),
        *(value(f"streaming {rows:,} rows: memory more, {n}", (peaks[n] - before[n]) / 2**20, "MiB") for n in pids),
        *(value(f"of it after the first third, {n}", (peaks[n] - third[n]) / 2**20, "MiB") for n in pids),
    ]


def _private_bytes(pid: int | str) -> int:
    """Resident memory without pages of files and of Ray's object store, which others have too."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))


def _cancelled(client: malamute.Client, details: dict[str, Any]) -> list[dict[str, Any]]:
    """From cancel() until no worker runs a part of the query, as status() sees it; its own time is in it."""
    seconds = []
    for number in range(CANCELLATIONS):
        query_id = f"slow-{number}"
        asking = threading.Thread(target=_ask_slowly, args=(client, query_id))
        asking.start()
        while not _leaves_running(client):
            time.sleep(0.005)
        started = time.perf_counter()
        client.cancel(query_id)
        while _leaves_running(client):
            pass
        seconds.append(time.perf_counter() - started)
        asking.join()
    details["cancelled_s"] = seconds
    return [
        value("cancel until no worker runs the query, p50", 1000 * statistics.median(seconds), "ms"),
        value("cancel until no worker runs the query, most", 1000 * max(seconds), "ms", "≤ 200"),
    ]


def _ask_slowly(client: malamute.Client, query_id: str) -> None:
    try:
        client.sql(SLOW, query_id=query_id, cache=False)
    except BudgetExceeded as error:
        if error.budget != "cancelled":
            raise


def _leaves_running(client: malamute.Client) -> int:
    return sum(shard["caches"]["running"] for shard in client.status().shards)


def _beside_a_flood(heavy: malamute.Client, light: malamute.Client, details: dict[str, Any]) -> list[dict[str, Any]]:
    """Latency of a light tenant's question, alone and while another tenant asks as much as it can."""
    alone = _latencies(light)
    done = threading.Event()
    callers = [threading.Thread(target=_flood, args=(heavy, done)) for _ in range(FLOOD)]
    for caller in callers:
        caller.start()
    time.sleep(2)
    beside = _latencies(light)
    done.set()
    for caller in callers:
        caller.join()
    details["light_s"] = {"alone": alone, "beside a flood": beside}
    return [
        value(f"light tenant's question {when}, {name}", 1000 * _percentile(seconds, share), "ms")
        for when, seconds in (("alone", alone), ("beside a flood", beside))
        for name, share in (("p50", 0.5), ("p99", 0.99))
    ]


def _latencies(client: malamute.Client) -> list[float]:
    seconds = []
    for _ in range(QUESTIONS):
        started = time.perf_counter()
        client.sql(LIGHT, cache=False)
        seconds.append(time.perf_counter() - started)
        time.sleep(0.01)
    return seconds


def _flood(client: malamute.Client, done: threading.Event) -> None:
    while not done.is_set():
        try:
            client.sql(SLOW, cache=False)
        except Overloaded as refusal:
            time.sleep(refusal.retry_after)


def _percentile(seconds: list[float], share: float) -> float:
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))]


if __name__ == "__main__":
    main()
