"""Run as a program: several Ray nodes, one shard with its WAL on the object store, and kills of what is named.

    python -m tests.support.failover CONFIG node|shard|coordinator KILLS

For each kill it prints `killed`, the seconds until the next acknowledgement and until the next answer of a query.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

import malamute
from tests.support.nodes import nodes

FIRST, EACH = 100, 50  # events before the kills and after each


def shard(store: malamute.Client) -> dict[str, Any]:
    (found,) = store.status().shards
    return found


def main(config: str, what: str, kills: int) -> None:
    with nodes(2) as cluster, malamute.connect(config=config) as store:
        total = 0
        with store.producer("rider", stream="logs") as producer:

            def send(count: int) -> None:
                nonlocal total
                producer.send_batch([{"n": total + number} for number in range(count)])
                total += count
                assert producer.flush().accepted == total

            def ask() -> None:
                rows = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM logs").to_pylist()
                assert rows == [{"c": total, "d": total, "m": total - 1}], rows

            send(FIRST)
            for _ in range(kills):
                before = shard(store)
                victim = cluster.node(before["node"])
                killed_s = time.monotonic()
                if what == "node":
                    cluster.kill(victim)
                elif what == "shard":
                    os.kill(before["pid"], signal.SIGKILL)
                else:
                    os.kill(store.status().to_dict()["coordinator"]["pid"], signal.SIGKILL)
                send(EACH)
                acknowledged_s = time.monotonic()
                ask()
                print(f"killed {acknowledged_s - killed_s:.3f} {time.monotonic() - killed_s:.3f}", flush=True)
                after = shard(store)
                assert what == "coordinator" or after["epoch"] > before["epoch"], (before, after)
                if what == "node":
                    assert after["node"] != before["node"], (before, after)
                    cluster.replace(victim)
            ask()
    print(f"exact {total}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
