"""A long campaign of changes of the number of shards of a real deployment: writers, sources' producers, reads, kills.

python -m tests.torture.scale_on_ray [changes] [seed]
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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import malamute
from core.errors import MalamuteError

CHANGES = 6  # of one round
SHARDS_MAX = 5
PRODUCERS = 3
BATCH = 50
CONFIG = (
    "name: scale-on-ray\nreaders:\n  count: 1\n  num_cpus: 0.1\ncompaction:\n  compactors: 1\n  num_cpus: 0.1\n"
    "query:\n  timeout_s: 30\nray:\n  num_cpus: 32\n"
)
COUNTED = "SELECT p, count(*) AS c, count(DISTINCT n) AS d FROM numbers GROUP BY p"


class Load:
    """Named producers that each send numbers, and a reader that checks that what was acknowledged is there once."""

    def __init__(self, store: malamute.Client) -> None:
        self.store = store
        self.done = threading.Event()
        self.acknowledged: Counter[str] = Counter()
        self.reads = 0

    def write(self, name: str) -> None:
        with self.store.producer(name, stream="numbers") as producer:
            while not self.done.is_set():
                first = self.acknowledged[name]
                producer.send_batch([{"p": name, "n": n, "id": f"{name}-{n}"} for n in range(first, first + BATCH)])
                producer.flush()
                self.acknowledged[name] += BATCH

    def read(self) -> None:
        while not self.done.wait(0.2):
            least = Counter(self.acknowledged)
            found = self.counted()
            for name, count in least.items():
                if found[name] < count:
                    raise AssertionError(f"{name}: {count} acknowledged, {found[name]} seen")
            self.reads += 1

    def counted(self) -> Counter[str]:
        rows = self.store.sql(COUNTED, cache=False).to_pylist()
        twice = [row for row in rows if row["c"] != row["d"]]
        if twice:
            raise AssertionError(f"stored twice: {twice}")
        return Counter({row["p"]: row["c"] for row in rows})


def course(seed: int, changes: int = CHANGES) -> dict[str, int]:
    """Changes of one deployment; how much was done. Raises AssertionError when an event is lost, doubled or unseen."""
    rng = random.Random(seed)
    kills = 0
    with tempfile.TemporaryDirectory(prefix="malamute-scale-") as directory:
        config = Path(directory) / "ray_config.yaml"
        config.write_text(CONFIG)
        with malamute.connect(storage=str(Path(directory) / "data"), config=str(config)) as store:
            store.create_stream("numbers", dedup_key="id" if rng.random() < 0.5 else None)
            load = Load(store)
            with ThreadPoolExecutor(PRODUCERS + 1) as pool:
                work = [pool.submit(load.write, f"p{number}") for number in range(PRODUCERS)]
                while len(load.acknowledged) < PRODUCERS:
                    time.sleep(0.1)
                work.append(pool.submit(load.read))
                try:
                    for _ in range(changes):
                        kills += _change(store, rng)
                finally:
                    load.done.set()
                for one in work:
                    one.result()
            if load.counted() != load.acknowledged:
                raise AssertionError(f"acknowledged {load.acknowledged}, stored {load.counted()}")
    events = sum(load.acknowledged.values())
    return {"changes": changes, "kills": kills, "events": events, "reads": load.reads}


def main(changes: int = 30, seed: int = 1) -> None:
    started_s = time.monotonic()
    counts = ", ".join(f"{count:,} {name}" for name, count in course(seed, changes).items())
    print(f"{counts} in {time.monotonic() - started_s:.0f} s (seed {seed}): nothing lost, doubled or unseen")


def _change(store: malamute.Client, rng: random.Random) -> int:
    """One change of the number of shards, with kills of shards while it goes on; returns how many."""
    serving = [shard["pid"] for shard in store.status().shards if shard["state"] == "serving"]
    victims = rng.sample(serving, min(len(serving), rng.choice((0, 1, 1, 2))))
    timers = [threading.Timer(rng.uniform(0, 4), _kill, (pid,)) for pid in victims]
    for timer in timers:
        timer.start()
    try:
        store.scale(rng.randint(1, SHARDS_MAX))
    except MalamuteError as error:
        raise AssertionError(f"a change did not come to its end: {error}") from error
    for timer in timers:
        timer.join()
    return len(victims)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:  # it was retired and has ended
        return


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
