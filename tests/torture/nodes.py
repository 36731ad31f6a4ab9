"""T19 and T28 on Ray: several nodes, kills, pauses and cuts of processes and whole nodes by seed, the history checked.

    python -m tests.torture.nodes --seed 1 --minutes 10

Run without --config it begins the nodes in a process of their own, with the failover settings of `malamute up`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Mapping
from typing import Any

import malamute
from cluster.faults import CutTransport
from malamute.chaos import process_faults, run
from malamute.client import Client
from tests.support.nodes import nodes, run_program

NAME = "torture-nodes"
SHARDS = 2
SECONDS = 60.0  # of faults in one round
ROUND_S_MAX = 600.0


def campaign(seed: int, seconds: float = SECONDS) -> Mapping[str, Any]:
    """One round; AssertionError when an event is lost, unseen, doubled or moved. What was done, counted."""
    with tempfile.TemporaryDirectory(prefix="malamute-torture-") as place:
        config = f"{place}/config.yaml"
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                f"name: {NAME}\nstorage: {place}/data\ndurability: object\nshards: {SHARDS}\n"
                "shard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\nflush:\n  age_s: 3s\n"
            )
        output = run_program(
            "tests.torture.nodes", "--config", config, "--seed", str(seed), "--minutes", str(seconds / 60),
            timeout_s=seconds + ROUND_S_MAX,
        )  # fmt: skip
    counts: Mapping[str, Any] = json.loads(output.splitlines()[-1])
    return counts


def drive(config: str, seed: int, seconds: float) -> Mapping[str, Any]:
    """The same, in this process, which begins the nodes."""
    with nodes(SHARDS + 1) as cluster, malamute.connect(config=config):
        transport = CutTransport(NAME, seed)
        client = Client(transport, "default", "object", lambda: None)
        faults = process_faults(client, transport)
        faults |= {"node killed": cluster.kill_one, "node paused and replaced": cluster.pause_one}
        report = run(client, "history", faults, seed, seconds)
    assert not report.findings.counts, f"seed {seed}: {report.findings}"
    return {
        **{name: len(back_s) for name, back_s in report.back_s.items()},
        "events acknowledged": report.acknowledged,
        "answers checked": report.reads,
        "queries failed": report.failed_reads,
        "served again after at most s": round(max(max(back_s, default=0.0) for back_s in report.back_s.values()), 1),
    }


def main(minutes: float, seed: int) -> None:
    deadline_s = time.monotonic() + 60 * minutes
    while time.monotonic() < deadline_s:
        seconds = min(SECONDS, max(1.0, deadline_s - time.monotonic()))
        print(f"seed {seed}: {json.dumps(campaign(seed, seconds))}", flush=True)
        seed += 1


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(prog="python -m tests.torture.nodes")
    arguments.add_argument("--minutes", type=float, default=5.0)
    arguments.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments.add_argument("--config", default="", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.config:
        print(json.dumps(drive(given.config, given.seed, 60 * given.minutes)))
    else:
        main(given.minutes, given.seed)
