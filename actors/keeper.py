"""Owns bringing shards to their disks: one that waits for its WAL is begun again on the node that has it.

Runs in the coordinator. Never touches a shard that serves; which node has the disk is placement's to find.
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping, Sequence
from typing import Any

import ray

from actors.errors import send, unwrap
from actors.placement import ShardPlan, begin_shard, node_with_disk
from core.errors import MalamuteError, WalMissing
from core.limits import DISK_LOOK_S, STATUS_WAIT_S_MAX
from query.tasks import shard_worker


class Keeper:
    """Looks after the shards of one deployment, in a thread of its own. `handles` are the coordinator's, by worker."""

    def __init__(self, plans: Sequence[ShardPlan], handles: MutableMapping[str, Any]) -> None:
        self._plans = plans
        self._handles = handles

    def start(self) -> None:
        """Begin to look; without effect for shards that need no disk."""
        if any(plan.config.wal_directory is not None for plan in self._plans):
            threading.Thread(target=self._look, name="keeper", daemon=True).start()

    def _look(self) -> None:
        pause = threading.Event()
        while not pause.wait(DISK_LOOK_S):
            for number, plan in enumerate(self._plans):
                worker = shard_worker(number)
                if self._waits(worker) and (node := node_with_disk(plan.config)) is not None:
                    self._handles[worker] = _begun_again(self._handles[worker], plan, node)

    def _waits(self, worker: str) -> bool:
        try:
            unwrap(send(self._handles[worker], "open"), STATUS_WAIT_S_MAX, f"open {worker}")
        except WalMissing:
            return True
        except MalamuteError:
            return False  # not the disk: it is on its way, or says in its status what it lacks
        return False


def _begun_again(handle: Any, plan: ShardPlan, node: str) -> Any:
    """The shard's actor on `node`. When this process dies in between, its successor begins the actor anew."""
    ray.kill(handle, no_restart=True)
    return begin_shard(plan, node)
