"""T8, T20, T21, T27 and T28 on a deployment with a Ray of its own: scrubs, probes, whole batches, dead and hung shards.

    python -m tests.torture.deployment scrubs|probes|batches|kills|hangs DIRECTORY SEED SECONDS

A seed chooses what is written and done; how far the deployment has come by then it does not. Times are counted in
steps, so that rounds can be added.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import malamute
from cluster.faults import CutTransport
from malamute.chaos import Fault, Heal, process_faults, run
from malamute.client import Client
from tests.ray.test_snapshots import BATCH_ROWS, QUESTIONS, transfers
from tests.support.nodes import run_program

NAME = "torture"
COUNTS = "counts.json"
BEGIN_AND_END_S_MAX = 300.0
FLUSH_PAUSE_S = 0.5
FOUND_S_MAX = 60.0  # until a flipped byte is found
REPLACED_S_MAX = 120.0  # until a stopped shard is ended and has a successor
LOAD_ROWS = 2_000  # of a batch that is written beside

Counts = Counter[str]


def campaign(what: str, seed: int, seconds: float) -> Counts:
    """One round; AssertionError when anything is wrong. What was done, counted."""
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as place:
        run_program(
            "tests.torture.deployment", what, place, str(seed), str(seconds), timeout_s=seconds + BEGIN_AND_END_S_MAX
        )
        return Counter(json.loads(Path(place, COUNTS).read_bytes()))


def scrubs(store: Client, seed: int, seconds: float) -> Counts:
    """T8: nothing is found while everything changes, and a flipped byte of any segment is."""
    rng = random.Random(f"scrubs {seed}")
    works = [lambda: _write(store, "load", rng.randrange(1000)), lambda: _flush(store), lambda: _scale(store, rng)]
    with _load(store, works):
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            last = store.status().scrub["last_round"]
            assert last is None or not last["errors"], last
            time.sleep(0.2)
    store.flush()
    rounds = store.status().scrub["rounds"]
    path = _flip(store, rng)
    deadline_s = time.monotonic() + FOUND_S_MAX
    while not ((last := store.status().scrub["last_round"]) and last["errors"]):
        assert time.monotonic() < deadline_s, f"nobody finds a flipped byte of {path}"
        if path not in store.files("load").paths:
            path = _flip(store, rng)  # it was merged before
        time.sleep(0.2)
    assert [path.endswith(one["where"]) for one in last["findings"]] == [True], (path, last)
    placement = store.status().placement["version"]
    return Counter({"rounds without a finding": rounds, "placements": placement, "flipped bytes found": 1})


def probes(store: Client, seed: int, seconds: float) -> Counts:
    """T20: each event is asked for as soon as it is acknowledged, while others are written and flushed."""
    rng = random.Random(f"probes {seed}")
    answered_s: list[float] = []
    missed = 0
    with _load(store, [lambda: _write(store, "load", rng.randrange(1000)), lambda: _flush(store)]):
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            number = len(answered_s)
            store.write("probe", [{"n": number, "key": rng.randrange(1 << 40)}])
            acknowledged_s = time.monotonic()
            found = store.sql("SELECT count(*) FROM probe WHERE n = ?", [number]).scalar()
            answered_s.append(time.monotonic() - acknowledged_s)
            missed += found != 1
    assert missed == 0, f"{missed} of {len(answered_s)} acknowledged events were not in the next answer"
    counted = store.sql("SELECT count(*) FROM probe").scalar()
    assert counted == len(answered_s), (counted, len(answered_s))
    return Counter({"probes": len(answered_s), "missed": missed}) + _steps(answered_s, "answered", (0.05, 0.2, 1.0))


def batches(store: Client, seed: int, seconds: float) -> Counts:
    """T21: every answer holds whole batches, whose amounts are 0 together, while segments are flushed and merged."""
    rng = random.Random(f"batches {seed}")
    store.write("bank", transfers(rng))
    asked = counted = 0
    with _load(store, [lambda: store.write("bank", transfers(rng)), lambda: _flush(store)]):
        deadline_s = time.monotonic() + seconds
        while time.monotonic() < deadline_s:
            (row,) = store.sql(QUESTIONS[asked % len(QUESTIONS)], cache=asked % 3 > 0).to_pylist()
            assert row["s"] == 0 and row["c"] % BATCH_ROWS == 0, row
            assert row["c"] >= counted, "an event that a query saw is not there any more"
            asked, counted = asked + 1, row["c"]
    return Counter({"queries": asked, "batches": counted // BATCH_ROWS})


def kills(store: Client, seed: int, seconds: float) -> Counts:
    """T27: shards are killed under producers and a reader; the history of it is checked."""
    transport = CutTransport(NAME, seed)
    return _history(store, "kills", process_faults(store, transport)["shard killed"], seed, seconds, (1.0, 5.0, 15.0))


def hangs(store: Client, seed: int, seconds: float) -> Counts:
    """T28: shards are stopped under producers and a reader until the coordinator has ended them; the same."""

    def hang(rng: random.Random) -> Heal:
        number = rng.randrange(len(store.status().shards))
        stopped = store.status().shards[number]["pid"]
        os.kill(stopped, signal.SIGSTOP)

        def heal() -> None:
            deadline_s = time.monotonic() + REPLACED_S_MAX
            while store.status().shards[number].get("pid") in (None, stopped):
                assert time.monotonic() < deadline_s, f"shard {number} hangs and nobody ends it"
            with suppress(ProcessLookupError):
                os.kill(stopped, signal.SIGCONT)

        return heal

    return _history(store, "hangs", hang, seed, seconds, (40.0, 60.0))


WHAT: dict[str, Callable[[Client, int, float], Counts]] = {
    "scrubs": scrubs,
    "probes": probes,
    "batches": batches,
    "kills": kills,
    "hangs": hangs,
}


def _history(store: Client, name: str, fault: Fault, seed: int, seconds: float, steps: Sequence[float]) -> Counts:
    report = run(store, "history", {name: fault}, seed, seconds)
    assert not report.findings.counts, f"{report.findings}"
    back_s = report.back_s[name]
    done = {name: len(back_s), "events acknowledged": report.acknowledged, "answers checked": report.reads}
    return Counter(done) + _steps(back_s, "served again", steps)


def _steps(seconds: Sequence[float], what: str, steps: Sequence[float]) -> Counts:
    """How many took at most so long; a step that none needs more than is the last."""
    counts = Counter({f"{what} within {step:g} s": sum(one <= step for one in seconds) for step in steps})
    later = sum(one > steps[-1] for one in seconds)
    return counts + Counter({f"{what} later": later})


@contextmanager
def _load(store: Client, works: Sequence[Callable[[], object]]) -> Iterator[None]:
    """Does all of `works` over and over in threads of their own; raises what one of them raised."""
    done = threading.Event()
    failures: list[BaseException] = []

    def keep(work: Callable[[], object]) -> None:
        try:
            while not done.is_set():
                work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=keep, args=[work]) for work in works]
    with ExitStack() as stack:
        for thread in threads:
            thread.start()
            stack.callback(thread.join)
        stack.callback(done.set)
        yield
    assert not failures, failures


def _write(store: Client, stream: str, seed: int) -> None:
    store.write(stream, [{"n": n, "seed": seed, "text": f"event {n} of {seed}"} for n in range(LOAD_ROWS)])


def _flip(store: Client, rng: random.Random) -> str:
    """Change a bit of a segment; returns its path."""
    path = rng.choice(store.files("load").paths)
    data = bytearray(Path(path).read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    Path(path).write_bytes(data)
    return path


def _scale(store: Client, rng: random.Random) -> None:
    time.sleep(rng.uniform(1.0, 5.0))
    store.scale(rng.randrange(1, 4))


def _flush(store: Client) -> None:
    time.sleep(FLUSH_PAUSE_S)
    store.flush()


def main(what: str, directory: str, seed: int, seconds: float) -> None:
    config = Path(directory, "config.yaml")
    scrub = "100ms" if what == "scrubs" else "0s"
    settings = f"name: {NAME}\nstorage: {directory}/data\nflush:\n  age_s: 2s\nscrub:\n  interval_s: {scrub}\n"
    config.write_text(settings, encoding="utf-8")
    with malamute.connect(config=config) as store:
        counts = WHAT[what](store, seed, seconds)
    # Not what it prints: Ray prints there as well.
    Path(directory, COUNTS).write_text(json.dumps(counts), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
