"""Several Ray nodes on one machine: a shard on each; kills of a shard and of a whole node lose and double nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster.ray_environment import LOOPBACK

REPOSITORY = Path(__file__).resolve().parents[2]

# The WAL directories lie on a disk that all nodes see, as docs/guarantees.md asks for.
CLUSTER = """
import os, signal, sys
import ray
from ray.cluster_utils import Cluster
import malamute

def count():
    return store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d FROM logs").to_pylist()

def shards():
    return store.status().to_dict()["shards"]

node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=node)
second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
ray.init(address=cluster.address, namespace="malamute", log_to_driver=False)
store = malamute.connect(config=sys.argv[1])

assert len({shard["node"] for shard in shards()}) == 2, shards()
assert store.write("logs", [{"n": n} for n in range(1000)]).accepted == 1000
assert count() == [{"c": 1000, "d": 1000}]
os.kill(shards()[0]["pid"], signal.SIGKILL)
assert store.write("logs", [{"n": n} for n in range(1000, 1200)]).accepted == 200
assert count() == [{"c": 1200, "d": 1200}]
print("killed a shard", flush=True)

lost = second.node_id
cluster.remove_node(second, allow_graceful=False)
cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
assert store.write("logs", [{"n": n} for n in range(1200, 1500)]).accepted == 300
assert count() == [{"c": 1500, "d": 1500}]
assert lost not in {shard["node"] for shard in shards()} and len({shard["node"] for shard in shards()}) == 2
assert sum(shard["events"] for shard in shards()) == 1500
print("lost a node", flush=True)
store.close()
ray.shutdown()
cluster.shutdown()
"""


def test_shards_on_two_nodes_survive_kills_of_a_shard_and_of_a_node(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: nodes\nstorage: {tmp_path}/data\nshards: 2\nshard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\n"
    )
    directory = tempfile.mkdtemp(prefix="mlm-")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", CLUSTER, str(config)],
            cwd=REPOSITORY,
            env={**clean, **LOOPBACK, "RAY_TMPDIR": directory},
            capture_output=True,
            text=True,
            timeout=170,
            check=False,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert {"killed a shard", "lost a node"} <= set(done.stdout.splitlines())
