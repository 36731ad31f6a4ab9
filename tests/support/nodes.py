"""Several Ray nodes on this machine, and faults of whole nodes: killed as by a power cut, stopped and woken."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from cluster.ray_environment import LOOPBACK, QUICK_FAILOVER
from tests.support.sockets import descendants

REPOSITORY = Path(__file__).resolve().parents[2]
NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
DEAD_S_MAX = 60.0  # until Ray says of a silent node that it is dead
_CLONE_NEWNS = 0x20000  # linux/sched.h: mounts of its own


def run_program(module: str, *arguments: str, timeout_s: float, environment: dict[str, str] | None = None) -> str:
    """What `python -m module` prints, in a Ray directory and environment of its own; AssertionError when it fails.

    `environment` takes the place of the settings of failover that `malamute up` begins its Ray with.
    """
    directory = tempfile.mkdtemp(prefix="mlm-", dir="/tmp" if Path("/tmp").is_dir() else None)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    checks = QUICK_FAILOVER if environment is None else environment
    try:
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=REPOSITORY,
            env={**clean, **LOOPBACK, **checks, "RAY_TMPDIR": directory},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-4000:]}"
    return done.stdout


class Nodes:
    """A head without room for shards, and `count` nodes with room for one each."""

    def __init__(self, count: int) -> None:
        self._cluster = Cluster(
            initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False}
        )
        for _ in range(count):
            self._cluster.add_node(**NODE)
        ray.init(address=self._cluster.address, namespace="malamute", log_to_driver=False)

    def node(self, node_id: str) -> Any:
        """The node that Ray calls so; it is not the head."""
        return next(node for node in self._cluster.worker_nodes if node.node_id == node_id)

    def add_with_disk(self, disk: str, place: str) -> Any:
        """A node that has the directory `disk` at `place`, as this process does now; earlier nodes do not see it.

        Needs the right to mount: OSError or CalledProcessError without it.
        """
        if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
            raise OSError(ctypes.get_errno(), "mounts of its own")
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        subprocess.run(["mount", "--bind", disk, place], check=True)
        return self._cluster.add_node(**NODE)

    def kill(self, node: Any) -> None:
        """End every process of a node at once, as when a machine loses its power."""
        _signal(processes_of(node), signal.SIGKILL)

    def replace(self, node: Any) -> None:
        """A new node in the place of one that is dead."""
        self._cluster.remove_node(node, allow_graceful=False)
        self._cluster.add_node(**NODE)

    def kill_one(self, rng: random.Random) -> Callable[[], None]:
        """A fault (malamute.chaos): a node is killed, later another takes its place."""
        node = rng.choice(self._nodes())
        self.kill(node)
        return lambda: self.replace(node)

    def pause_one(self, rng: random.Random) -> Callable[[], None]:
        """A fault: a node is stopped until Ray takes it for dead and its actors are replaced; then it is woken."""
        node = rng.choice(self._nodes())
        stopped = processes_of(node)
        _signal(stopped, signal.SIGSTOP)

        def heal() -> None:
            try:
                self._wait_until_dead(node.node_id)
                time.sleep(rng.uniform(2.0, 8.0))  # what was on it begins on other nodes
            finally:
                _signal(stopped, signal.SIGCONT)
            time.sleep(rng.uniform(0.5, 2.0))  # it wakes, and finds out
            self.replace(node)

        return heal

    def close(self) -> None:
        """End all nodes."""
        ray.shutdown()
        self._cluster.shutdown()

    def _nodes(self) -> list[Any]:
        return sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_id))

    def _wait_until_dead(self, node_id: str) -> None:
        deadline_s = time.monotonic() + DEAD_S_MAX
        while any(node["NodeID"] == node_id and node["Alive"] for node in ray.nodes()):
            assert time.monotonic() < deadline_s, f"ray takes the stopped node {node_id} for alive"
            time.sleep(0.1)


@contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """Nodes, ended afterwards."""
    running = Nodes(count)
    try:
        yield running
    finally:
        running.close()


def processes_of(node: Any) -> list[int]:
    """A node's own processes and all that they began, its actors among them."""
    own = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [*own, *(pid for process in own for pid in descendants(process))]


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
