"""Run as a program: Ray nodes with a disk each. The node of a shard is lost; its disk comes back with another node.

python -m tests.support.disks DIRECTORY
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import malamute
from core.errors import WalMissing
from tests.support.nodes import nodes

FIRST, LATER = 1000, 200  # events before the node is lost and after its disk is back
WAITS_S_MAX = 60.0


def shard(store: malamute.Client) -> dict[str, Any]:
    (found,) = store.status().shards
    return found


def main(directory: str) -> None:
    wal, disk, other = (f"{directory}/{name}" for name in ("wal", "disk", "other"))
    for path in (wal, disk, other):
        os.makedirs(path)
    config = f"{directory}/config.yaml"
    with open(config, "w", encoding="utf-8") as file:
        file.write(
            f"name: disks\nstorage: {directory}/data\nwal_directory: {wal}\nshards: 1\n"
            "shard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\n"
        )
    with nodes(0) as cluster:
        lost = cluster.add_with_disk(disk, wal)
        with malamute.connect(config=config) as store:
            assert store.write("logs", [{"n": n} for n in range(FIRST)]).accepted == FIRST
            cluster.add_with_disk(other, wal)
            cluster.kill(lost)
            deadline_s = time.monotonic() + WAITS_S_MAX
            while shard(store)["state"] != "waiting for its disk":
                assert time.monotonic() < deadline_s, shard(store)
                time.sleep(0.2)
            try:
                raise AssertionError(store.sql("SELECT count(*) FROM logs").to_pylist())
            except WalMissing:
                print("waited", flush=True)
            back = cluster.add_with_disk(disk, wal)
            assert store.write("logs", [{"n": n} for n in range(FIRST, FIRST + LATER)]).accepted == LATER
            assert shard(store)["node"] == back.node_id, shard(store)
            rows = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM logs").to_pylist()
            assert rows == [{"c": FIRST + LATER, "d": FIRST + LATER, "m": FIRST + LATER - 1}], rows
    print(f"exact {FIRST + LATER}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
