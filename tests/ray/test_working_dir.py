"""The repository works when Ray ships it as a working_dir, as `ray job submit --working-dir .` does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import ray

from cluster.ray_environment import LOOPBACK

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("malamute", "cluster", "actors", "ingest", "query", "storage", "core")

# What a job's entry point does: connect to the cluster that runs, here on the copy that Ray unpacked.
JOB = """
import os, sys, ray
ray.init(address=sys.argv[1], namespace="malamute", runtime_env={"working_dir": sys.argv[2]}, log_to_driver=False)

@ray.remote
def entry_point(storage):
    import subprocess, sys, os
    import malamute, core.errors
    home = os.getcwd()
    assert malamute.__file__.startswith(home) and core.errors.__file__.startswith(home), malamute.__file__
    ran = subprocess.run([sys.executable, "-m", "malamute", "--help"], capture_output=True, text=True, check=True)
    assert "launch" in ran.stdout.lower()
    with malamute.connect(storage=storage) as store:
        assert store.write("logs", [{"service": "web"}] * 10).accepted == 10
        store.flush()
        return store.sql("SELECT service, count(*) AS c FROM logs GROUP BY 1").to_pylist()

print(ray.get(entry_point.options(num_cpus=0).remote(sys.argv[3])))
"""


def test_shipped_as_working_dir(ray_session, storage, tmp_path):
    shipped = tmp_path / "shipped"
    for package in PACKAGES:
        shutil.copytree(REPOSITORY / package, shipped / package, ignore=shutil.ignore_patterns("__pycache__"))
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-c", JOB, address, str(shipped), storage],
        cwd=tmp_path,
        env={**os.environ, **LOOPBACK, "RAY_ADDRESS": address},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "[{'service': 'web', 'c': 10}]" in done.stdout
