"""Owns the form of a benchmark's result: named values with unit, target, commit, machine and versions, as JSON."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
LIBRARIES = ("ray", "pyarrow", "duckdb", "numpy", "lz4", "google-crc32c")


def value(name: str, number: float, unit: str, target: str = "") -> dict[str, Any]:
    """One measured figure; `target` says in words what was to be reached."""
    return {"name": name, "value": round(number, 4), "unit": unit, "target": target}


def store(benchmark: str, values: list[dict[str, Any]], details: dict[str, Any] | None = None) -> Path:
    """Write benchmarks/results/<benchmark>.json and print the figures. Returns the path."""
    result = {
        "benchmark": benchmark,
        **provenance(),
        "versions": {name: version(name) for name in LIBRARIES},
        "values": values,
        "details": details or {},
    }
    path = RESULTS / f"{benchmark}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    for row in values:
        print(f"{row['name']:60} {row['value']:>14,.4g} {row['unit']:12} {row['target']}")
    return path


def provenance() -> dict[str, Any]:
    """What a result is of: date, commit (with "+changes" when the tree differs from it), machine, Python."""
    commit, dirty = _git("rev-parse", "--short=12", "HEAD"), bool(_git("status", "--porcelain", "--untracked-files=no"))
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": f"{commit}{'+changes' if dirty else ''}",
        "cpu_count": os.cpu_count(),
        "cpu": _cpu_model(),
        "python": platform.python_version(),
    }


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
