"""Durable ingestion through producers, shards and WAL: as fast as possible, and at one million events a second.

Each run is a load test of its own on an empty embedded store, proved by query; the result is a list of its reports.
"""

from __future__ import annotations

import json
import sys
import tempfile

from benchmarks.record import RESULTS
from core.append import LOCAL
from malamute.commands.load import load_and_verify
from malamute.commands.store import Choice, open_store
from malamute.display import output, remarks
from malamute.display_load import proof, summary
from malamute.loadgen import LoadPlan, default_batch_rows

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
PRODUCERS = 2
RATES_PER_S = (0, 1_000_000)


def main() -> int:
    out, err, reports = output(), remarks(), []
    for rate_per_s in RATES_PER_S:
        plan = LoadPlan(rate_per_s, SECONDS, PRODUCERS, default_batch_rows(rate_per_s, PRODUCERS), LOCAL)
        with (
            tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory,
            open_store(Choice(storage=directory), err, create=True) as store,
        ):
            report, found = load_and_verify(store, plan, err)
        out.print(summary(report))
        out.print()
        out.print(proof(found))
        out.print()
        reports.append({"benchmark": "ingest", **report})
    (RESULTS / "ingest.json").write_text(json.dumps(reports, indent=1, default=str) + "\n", encoding="utf-8")
    return 0 if all(report["verification"]["exact"] for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
