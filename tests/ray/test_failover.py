"""With the WAL on the object store a shard serves again on another node when its own is lost, without a hand."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from cluster.ray_environment import LOOPBACK

REPOSITORY = Path(__file__).resolve().parents[2]
KILLS = int(os.environ.get("MALAMUTE_NODE_KILLS", "1"))
# How soon Ray's head takes a silent node for dead: by default after some 15 s.
QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}


@pytest.mark.parametrize("checks", [{}, QUICK], ids=["as ray comes", "quick health checks"])
def test_a_lost_node_is_ridden_through_and_its_shard_opens_elsewhere(tmp_path, checks):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: failover\nstorage: {tmp_path}/data\ndurability: object\nshards: 1\n"
        "shard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\n"
    )
    directory = tempfile.mkdtemp(prefix="mlm-")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.failover", str(config), str(KILLS)],
            cwd=REPOSITORY,
            env={**clean, **LOOPBACK, **checks, "RAY_TMPDIR": directory},
            capture_output=True,
            text=True,
            timeout=100 + 40 * KILLS,
            check=False,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    lines = [line.split() for line in done.stdout.splitlines()]
    killed = [line for line in lines if line[:1] == ["killed"]]
    assert len(killed) == KILLS and ["exact", str(100 + 50 * KILLS)] in lines
    back, known = (sorted(float(line[column]) for line in killed) for column in (1, 2))
    print(f"{KILLS} nodes lost; first acknowledgement after p50 {statistics.median(back):.2f} s, max {back[-1]:.2f} s")
    print(f"until Ray knew: p50 {statistics.median(known):.2f} s, max {known[-1]:.2f} s")
