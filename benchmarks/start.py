"""How long a user waits: `import malamute`, and embedded connect() beside a bare ray.init()."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile

from benchmarks.record import REPOSITORY, store, value

RUNS = 5

IMPORT = "import time; t = time.perf_counter(); import malamute; print(time.perf_counter() - t)"
INIT = """
import time, logging, ray
t = time.perf_counter()
ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
         _node_ip_address="127.0.0.1", object_store_memory=2**30, num_cpus=2)
print(time.perf_counter() - t)
ray.shutdown()
"""
CONNECT = """
import sys, time, ray, malamute
t = time.perf_counter()
store = malamute.connect(storage=sys.argv[1])
print(time.perf_counter() - t)
store.close()
"""


def main() -> None:
    imports, inits, connects = [], [], []
    for _ in range(RUNS):
        imports.append(_seconds(IMPORT))
        inits.append(_seconds(INIT))
        with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
            connects.append(_seconds(CONNECT, directory))
    beyond = statistics.median(c - i for c, i in zip(connects, inits, strict=True))
    store(
        "start",
        [
            value("import malamute", statistics.median(imports), "s", "under 0.5"),
            value("ray.init() alone", statistics.median(inits), "s"),
            value("embedded connect() until ready", statistics.median(connects), "s"),
            value("connect() beyond ray.init()", beyond, "s", "at most 3"),
        ],
        {"import_s": imports, "init_s": inits, "connect_s": connects},
    )


def _seconds(code: str, *arguments: str) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return float(done.stdout.split()[0])


if __name__ == "__main__":
    main()
