"""Durable ingestion as fast as possible with compaction and without it, in turns; each run proved by query.

Of a store that is written to without a pause merges get the time that is left over: see docs/compaction.md.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import store, value
from core.append import LOCAL
from malamute.commands.load import load_and_verify
from malamute.commands.store import Choice, open_store
from malamute.display import remarks
from malamute.loadgen import LoadPlan, default_batch_rows

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
ROUNDS = 2
PRODUCERS = 2
PLAN = LoadPlan(0, SECONDS, PRODUCERS, default_batch_rows(0, PRODUCERS), LOCAL)


def run(enabled: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """(the report of a load test on an empty embedded store, what compaction did by the end of it)."""
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        config = Path(directory) / "bench.yaml"
        config.write_text(f"compaction:\n  enabled: {str(enabled).lower()}\n")
        with open_store(Choice(storage=f"{directory}/store", config=str(config)), remarks(), create=True) as held:
            report, _ = load_and_verify(held, PLAN, remarks())
            return report, held.client.status().compaction


def main() -> int:
    """Measure; 1 when a store did not hold exactly what it acknowledged."""
    reports: dict[bool, list[dict[str, Any]]] = {False: [], True: []}
    merged = []
    for number in range(2 * ROUNDS):
        enabled = number % 4 in (1, 2)
        report, compaction = run(enabled)
        reports[enabled].append(report)
        if enabled:
            merged.append(compaction)
    without, with_ = (statistics.median(r["events_per_s"] for r in reports[enabled]) for enabled in (False, True))
    store(
        "compaction_ingest",
        [
            value("ingestion without compaction", without / 1e3, "k events/s"),
            value("ingestion with compaction", with_ / 1e3, "k events/s"),
            value("with compaction, of that without", with_ / without, "x", "≥ 0.75"),
        ],
        {"seconds": SECONDS, "reports": [*reports[False], *reports[True]], "compaction": merged},
    )
    return 0 if all(r["verification"]["exact"] for held in reports.values() for r in held) else 1


if __name__ == "__main__":
    sys.exit(main())
