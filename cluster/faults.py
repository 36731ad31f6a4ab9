"""Owns the faults that a test deployment is given: signals to its processes, requests and answers that get lost.

For test clusters only. Never touches a process that is not an actor of the deployment.
"""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import unwrap
from cluster.transport import Transport
from core.append import Ack, AppendRequest, ProducerOpened
from core.errors import Unavailable, UnknownOutcome
from core.limits import CONTROL_WAIT_S_MAX
from core.placement import FIRST


@dataclass(frozen=True, slots=True)
class ActorProcess:
    """A process of the deployment, as its status names it."""

    name: str  # such as "shard 0"
    pid: int
    node: str


def actor_processes(status: dict[str, Any], kind: str) -> list[ActorProcess]:
    """The processes of a kind, "shard", "reader" or "coordinator", that answered; Unavailable when none did."""
    if kind == "coordinator":
        return [ActorProcess(kind, status["coordinator"]["pid"], status["coordinator"]["node"])]
    found = [one for one in status[f"{kind}s"] if one.get("pid") is not None]
    if not found:
        raise Unavailable(f"no {kind} says where it runs: see 'malamute status'")
    return [ActorProcess(f"{kind} {one[kind]}", one["pid"], one["node"]) for one in found]


def signal_process(process: ActorProcess, number: int) -> bool:
    """Send a signal to a process, from a task on its node; False when it is gone. UnknownOutcome without an answer."""
    where = NodeAffinitySchedulingStrategy(process.node, soft=False)
    ref = _signal.options(scheduling_strategy=where).remote(process.pid, number)
    return bool(unwrap(ref, CONTROL_WAIT_S_MAX, f"signal to {process.name}"))


@ray.remote(num_cpus=0, max_retries=0)
def _signal(pid: int, number: int) -> bool:
    # The process id may be another program's by now: only a worker of Ray with one of our actors is meant.
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if not command.startswith((b"ray::ShardActor", b"ray::ReaderActor", b"ray::CoordinatorActor")):
            return False
        os.kill(pid, number)
    except (FileNotFoundError, ProcessLookupError):
        return False
    return True


class CutTransport(Transport):
    """A transport that loses every request to a shard, or its answer, while the shard is in `cut`."""

    def __init__(self, deployment: str, seed: int) -> None:
        super().__init__(deployment)
        self.cut: frozenset[int] = frozenset()
        self._rng = random.Random(f"cut {seed}")

    def open_producer(
        self, shard: int, tenant: str, stream: str, producer_id: str, placement: int = FIRST
    ) -> ProducerOpened:
        """See Transport; while the shard is cut off nothing is sent."""
        if shard in self.cut:
            raise _lost(shard)
        return super().open_producer(shard, tenant, stream, producer_id, placement)

    def submit(self, shard: int, request: AppendRequest) -> Any:
        """See Transport; while the shard is cut off every second request is lost."""
        lost = shard in self.cut and self._rng.random() < 0.5
        return (shard, None, request) if lost else super().submit(shard, request)

    def result(self, pending: Any, timeout_s: float) -> Ack:
        """See Transport; while the shard is cut off every answer is lost."""
        shard, ref, _ = pending
        if ref is None or shard in self.cut:
            raise _lost(shard)
        return super().result(pending, timeout_s)


def _lost(shard: int) -> UnknownOutcome:
    return UnknownOutcome(f"shard {shard} is cut off by the test: retry")
