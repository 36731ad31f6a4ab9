"""Owns on which node a shard's actor begins: where its WAL is, when that is on a disk. Never opens a shard."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from actors.errors import unwrap
from actors.shard import ShardActor
from core.errors import MalamuteError
from core.ids import ShardId
from core.limits import DISK_LOOK_WAIT_S_MAX
from storage.deployment import ShardConfig
from storage.recovery import MARKER_NAME


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """What the actor of one shard is begun with. `name` is its name on Ray."""

    name: str
    namespace: str
    config: ShardConfig
    num_cpus: float
    memory_bytes: int


def plan_of(template: ShardPlan, shard: int) -> ShardPlan:
    """The plan of another shard of the deployment that `template` is of."""

    def beside(directory: str) -> str:
        return f"{directory.rpartition('/')[0]}/{shard:04d}"

    config = template.config
    directory = config.wal_directory
    config = replace(
        config,
        shard=ShardId(shard),
        wal_directory=None if directory is None else beside(directory),
        cache_directory=beside(config.cache_directory),
    )
    return replace(template, name=f"{template.name.rpartition('-')[0]}-{shard}", config=config)


def begin_shard(plan: ShardPlan, node: str | None) -> Any:
    """The handle of the shard's actor, begun on `node` if there is none of its name; None leaves the node to Ray.

    A node that is lost later does not keep the actor: Ray begins it on another, where it waits for its disk.
    """
    affinity = {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)} if node else {}
    return ShardActor.options(  # type: ignore[attr-defined]
        name=plan.name,
        namespace=plan.namespace,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=plan.num_cpus,
        memory=plan.memory_bytes,
        **affinity,
    ).remote(plan.config)


def node_with_disk(config: ShardConfig) -> str | None:
    """The node on which the shard's WAL is; None when no node has it, or all of them: a disk that all mount."""
    nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
    if config.wal_directory is None or len(nodes) == 1:
        return None
    marker = f"{config.wal_directory}/{MARKER_NAME}"
    asked = {node: _is_there.options(scheduling_strategy=_on(node)).remote(marker) for node in nodes}
    having = [node for node, ref in asked.items() if _answer(ref)]
    return having[0] if 0 < len(having) < len(nodes) else None


@ray.remote(num_cpus=0, max_retries=0, enable_task_events=False)
def _is_there(path: str) -> bool:
    return Path(path).exists()


def _on(node: str) -> NodeAffinitySchedulingStrategy:
    return NodeAffinitySchedulingStrategy(node, soft=False)


def _answer(ref: Any) -> bool:
    try:
        return bool(unwrap(ref, DISK_LOOK_WAIT_S_MAX, "looking for a disk"))
    except MalamuteError:
        return False  # a node that does not answer has no disk for anybody
