"""Run as a program: several Ray nodes on this machine, a shard with its WAL on the object store, and kills of its node.

Prints `killed <seconds until the next acknowledgement> <seconds until Ray knew of the node's death>` for each.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from typing import Any

import ray
from ray.cluster_utils import Cluster

import malamute

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}


def shard(store: Any) -> dict[str, Any]:
    (found,) = store.status().to_dict()["shards"]
    return dict(found)


def main(config: str, kills: int) -> None:
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(**NODE)
    ray.init(address=cluster.address, namespace="malamute", log_to_driver=False)
    store = malamute.connect(config=config)
    total = 0
    with store.producer("rider", stream="logs") as producer:

        def send(count: int) -> float:
            """Send and wait for the acknowledgement; the moment of it."""
            nonlocal total
            producer.send_batch([{"n": total + number} for number in range(count)])
            total += count
            assert producer.flush().accepted == total
            return time.monotonic()

        send(100)
        for _ in range(kills):
            before = shard(store)
            victim = next(node for node in cluster.worker_nodes if node.node_id == before["node"])
            told = Told(before["node"])
            killed_s = time.monotonic()
            for process in processes_of(victim, before["pid"]):
                os.kill(process, signal.SIGKILL)
            acknowledged_s = send(50)
            print(f"killed {acknowledged_s - killed_s:.3f} {told.when() - killed_s:.3f}", flush=True)
            after = shard(store)
            assert after["node"] != before["node"] and after["epoch"] > before["epoch"], (before, after)
            cluster.remove_node(victim, allow_graceful=False)
            cluster.add_node(**NODE)
        rows = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM logs").to_pylist()
        assert rows == [{"c": total, "d": total, "m": total - 1}], rows
    print(f"exact {total}", flush=True)
    store.close()
    ray.shutdown()
    cluster.shutdown()


class Told:
    """Notes when Ray first says that a node is dead."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._told_s = float("nan")
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not any(node["NodeID"] == self._node and not node["Alive"] for node in ray.nodes()):
            time.sleep(0.02)
        self._told_s = time.monotonic()

    def when(self) -> float:
        self._thread.join(60)
        return self._told_s


def processes_of(node: Any, shard_pid: int) -> list[int]:
    """The shard's process and the processes of its node: all at once, as when a machine loses its power."""
    found = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [*found, shard_pid]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
