"""Owns the JSON report of a load test: what ran, where, how fast, and whether it was exact. Never prints."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from ingest.generate import generator
from malamute.load_series import latency_summary, per_second
from malamute.load_verify import Found
from malamute.loadgen import LoadRun

VERSION = 1
SAMPLE_EVENTS = 10_000
PRIVATE = ("storage", "wal_directory")  # where somebody's data are: of no use to whoever reads a report

_LIBRARIES = ("malamute", "ray", "pyarrow", "duckdb", "numpy", "numba")


def json_bytes_per_event(shape: str, seed: int) -> float:
    """How large an event of the shape is as NDJSON, line end included, from a sample."""
    now_us = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6)
    return len(generator(shape, seed).ndjson(SAMPLE_EVENTS, now_us)) / SAMPLE_EVENTS


def load_report(
    run: LoadRun, found: Sequence[Found], settings: Sequence[tuple[str, str, str]], began: datetime
) -> dict[str, Any]:
    """Everything about one load test, as plain data."""
    series = run.series
    json_bytes = json_bytes_per_event(run.plan.shape, run.plan.seed)
    return {
        "report_version": VERSION,
        "began": began.isoformat(timespec="seconds"),
        "run": run.run_id,
        **where_and_what(),
        "plan": {**asdict(run.plan), "shards": run.shards},
        "settings": {key: value for key, value, _ in settings if key not in PRIVATE},
        "events": series.total_events,
        "batches": series.batches,
        "duplicates": series.duplicates,
        "wall_s": round(series.wall_s, 3),
        "events_per_s": round(series.events_per_s),
        "json_bytes_per_event": round(json_bytes, 1),
        "json_bytes_per_s": round(series.events_per_s * json_bytes),
        "arrow_bytes_per_s": round(series.arrow_bytes / series.wall_s) if series.wall_s else 0,
        "ack_ms": latency_summary(series.since_sent_s()),
        "due_ms": latency_summary(series.since_due_s()),
        "shard_memory_bytes_max": {str(shard): size for shard, size in sorted(run.memory_bytes_max.items())},
        "verification": {
            "exact": bool(found) and all(item.exact for item in found),
            "producers": [asdict(item) for item in found],
        },
        "per_second": per_second(series),
        "shards_after": run.status,
    }


def where_and_what() -> dict[str, Any]:
    """The commit, the machine and the versions that a measurement belongs to."""
    return {
        "commit": _commit(),
        "machine": {
            "system": platform.platform(),
            "processor": _processor(),
            "cpus": os.cpu_count(),
            "load_average": round(os.getloadavg()[0], 2),  # much more than the test's own: others were at work
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _LIBRARIES}},
    }


def _commit() -> str:
    """The checkout's commit, with a mark when files differ from it; "unknown" outside of a checkout."""
    home = Path(__file__).resolve().parents[1]
    command = ["git", "-C", str(home), "describe", "--always", "--dirty", "--abbrev=40", "--match="]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return "unknown"
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"
