"""Owns the Ray side of one reader: runs tasks over segments, with caches of its own. Stateless: any restart may happen.

Readers take the reading of segments from the shards, and may be as many as there is work; they never see a memtable.
"""

from __future__ import annotations

import os
from typing import Any

import pyarrow as pa
import ray

from actors.memory import memory_numbers, use_steady_allocator
from actors.work import make_worker, rows_of
from core.limits import ACTOR_CALLS_PENDING_MAX, SHARD_QUERIES_MAX
from query.fragment import DistributedPlan, Leaf, LeafResult
from query.tasks import Task, task_snapshots
from storage.deployment import ShardConfig
from storage.open_objects import object_requests

GROUPS = {"query": SHARD_QUERIES_MAX, "control": 2}


@ray.remote(
    max_restarts=-1,
    max_task_retries=0,
    max_pending_calls=ACTOR_CALLS_PENDING_MAX,
    concurrency_groups=GROUPS,
    enable_task_events=False,
)
class ReaderActor:
    """One reader of a deployment, named `<deployment>.reader-<n>`."""

    def __init__(self, config: ShardConfig, number: int) -> None:
        use_steady_allocator()
        self._url = config.url
        self._worker = make_worker(config, f"reader-{number}")

    @ray.method(concurrency_group="query")
    def run_leaf(self, query_id: str, leaf: Leaf, task: Task, seconds: float, cache: bool) -> LeafResult:
        """Run a task of a query over its segments."""
        return self._worker.run_leaf(leaf, task_snapshots(task, {}), seconds=seconds, query_id=query_id, cache=cache)

    @ray.method(concurrency_group="query")
    def run_rows(self, query_id: str, plan: DistributedPlan, task: Task, seconds: float) -> pa.Table:
        """The rows of a task of a plan that works piece by piece; see run_leaf."""
        return rows_of(self._worker, plan, self.run_leaf(query_id, plan.leaf, task, seconds, True), query_id)

    @ray.method(concurrency_group="control")
    def cancel(self, query_id: str) -> None:
        """Stop what runs of a query."""
        self._worker.cancel(query_id)

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """The reader's numbers, with its process and node."""
        node = ray.get_runtime_context().get_node_id()
        numbers = {**memory_numbers(), "caches": self._worker.status(), "requests": object_requests(self._url)}
        return {"pid": os.getpid(), "node": node, **numbers}
