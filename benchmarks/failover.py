"""How long after a SIGKILL a producer is acknowledged again and a query answered: of a shard, a node, the coordinator.

Several Ray nodes on this machine, one shard with its WAL on a directory as object store, the settings of failover that
`malamute up` begins its Ray with; for a node also with Ray's own.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import store, value
from tests.support.nodes import run_program

KILLS = 20
START_S_MAX = 120.0
KILL_S_MAX = 60.0
RAYS_OWN: dict[str, str] = {}


def main(kills: int) -> None:
    values: list[dict[str, Any]] = []
    details: dict[str, Any] = {"kills": kills}
    for what in ("shard", "coordinator", "node"):
        values += _figures(f"{what} killed", _measured(what, kills, None), details, "p50 under 5")
    own = _measured("node", max(1, kills // 4), RAYS_OWN)
    values += _figures("node killed, health checks as Ray comes", own, details, "")
    store("failover", values, details)


def _measured(what: str, kills: int, environment: dict[str, str] | None) -> list[tuple[float, float]]:
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        config = Path(directory, "config.yaml")
        config.write_text(
            f"name: failover\nstorage: {directory}/data\ndurability: object\nshards: 1\n"
            "shard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\n"
        )
        output = run_program(
            "tests.support.failover",
            str(config),
            what,
            str(kills),
            timeout_s=START_S_MAX + kills * KILL_S_MAX,
            environment=environment,
        )
    lines = [line.split() for line in output.splitlines() if line.startswith("killed ")]
    return [(float(acknowledged), float(answered)) for _, acknowledged, answered in lines]


def _figures(
    name: str, measured: list[tuple[float, float]], details: dict[str, Any], target: str
) -> list[dict[str, Any]]:
    values = []
    for number, event in enumerate(("acknowledgement", "answer of a query")):
        seconds = sorted(pair[number] for pair in measured)
        details[f"{name}: {event}"] = seconds
        aim = target if event == "acknowledgement" else ""
        values.append(value(f"{name}: next {event}, p50", statistics.median(seconds), "s", aim))
        values.append(value(f"{name}: next {event}, p99 of {len(seconds)}", _p99(seconds), "s"))
    return values


def _p99(ordered: list[float]) -> float:
    return ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)
