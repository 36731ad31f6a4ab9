"""Compactors that are killed, and paused for longer than their lease, in the middle of merges, on a Ray of its own.

python -m tests.torture.compactors [SECONDS] [SEED]
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import malamute
from core.clock import SystemClock
from core.limits import COMPACTION_LEASE_S
from malamute.client import Client
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.verify import StoragePlace, verify_storage
from tests.support.processes import pause

COMPACTORS = 2
CONFIG = f"name: compactors\nshards: 1\ncompaction:\n  compactors: {COMPACTORS}\n  num_cpus: 0.1\n"
EVENTS = 2_000  # of a flush
LOOK_S = 0.02
REST_S_MAX = 120.0  # until all merges are done at the end


class _Writer:
    """Writes and flushes all the time; `written` events were acknowledged."""

    def __init__(self, store: Client) -> None:
        self._store = store
        self.written = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._run, name="write")

    def _run(self) -> None:
        while not self.ended.is_set():
            first = self.written
            events = [{"n": n, "message": f"event {n} " + "x" * (n % 300)} for n in range(first, first + EVENTS)]
            self._store.write("logs", events)
            self.written += EVENTS
            self._store.flush()


def run(store: Client, seed: int, seconds: float) -> Counter[str]:
    """Kill and pause compactors that are at work, while what is acknowledged is asked for; what happened."""
    rng, counts, writer = random.Random(seed), Counter[str](), _Writer(store)
    writer.thread.start()
    try:
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            pid = _at_work(store)
            if rng.random() < 0.5:
                os.kill(pid, signal.SIGKILL)
                counts["kills"] += 1
            else:
                pause(pid)
                time.sleep(rng.uniform(0.5, 1.5) * COMPACTION_LEASE_S)
                os.kill(pid, signal.SIGCONT)
                counts["pauses"] += 1
            _check(store, writer.written)
            counts["reads"] += 1
    finally:
        writer.ended.set()
        writer.thread.join()
    _rest(store)
    _check(store, writer.written, exact=True)
    told = store.status().compaction
    names = ("compactions", "compactions_refused", "compactions_failed")
    return counts + Counter({"events": writer.written, **{name: told[name] for name in names}})


def _at_work(store: Client) -> int:
    """The process of a compactor that carries out a merge."""
    while True:
        for one in store.status().compactors:
            if one.get("merging"):
                return int(one["pid"])
        time.sleep(LOOK_S)


def _check(store: Client, least: int, exact: bool = False) -> None:
    row: dict[str, Any] = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d FROM logs").to_arrow().to_pylist()[0]
    assert row["c"] == row["d"] and (row["c"] == least if exact else row["c"] >= least), (row, least)


def _rest(store: Client) -> None:
    deadline_s = time.monotonic() + REST_S_MAX
    while (told := store.status().compaction)["compactions_running"] or told["compactions_waiting"]:
        assert time.monotonic() < deadline_s, told
        time.sleep(LOOK_S)


def main(seconds: float = 120.0, seed: int = 1) -> None:
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as place:
        config, storage = Path(place, "ray_config.yaml"), str(Path(place, "data"))
        config.write_text(CONFIG)
        with malamute.connect(storage=storage, config=str(config)) as store:
            counts = run(store, int(seed), float(seconds))
        objects = LocalObjectStore(storage, LocalFileSystem())
        wal = str(Path(storage, "wal"))
        report = verify_storage(StoragePlace(storage, objects, LocalFileSystem(), wal, SystemClock()), deep=True)
        assert not report.errors, report.errors[:3]
    print(", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())), "- nothing lost or doubled")


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
