"""`make bench`: every benchmark in turn, each in a process of its own; results go to benchmarks/results/."""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    "start",
    "replay",
    "ingest",
    "wal_object",
    "failover",
    "scaling",
    "write",
    "sources",
    "dedup",
    "compaction",
    "compaction_ingest",
    "compaction_sim",
    "manifest",
    "query",
    "budgets",
    "segment_parts",
    "ray_client",
    "shred",
    "kernels",
    "tokens",
    "encodings",
)


def main() -> int:
    for name in sys.argv[1:] or BENCHMARKS:
        print(f"== {name}", flush=True)
        code = subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=False).returncode
        if code:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
