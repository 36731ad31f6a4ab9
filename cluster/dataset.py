"""Owns the way from a query to a Ray Dataset: its parts run on the workers, their rows stay where they were made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import ray

from actors.errors import send
from cluster.transport import Transport
from core.errors import InvalidRequest
from core.limits import TASKS_IN_FLIGHT_MAX
from query.fragment import DistributedPlan
from query.tasks import Task


def blocks(
    transport: Transport, query_id: str, plan: DistributedPlan, tasks: Sequence[Task], timeout_s: float
) -> list[Any]:
    """References to the rows of each task, on the nodes that made them. A few run at a time on each worker."""
    refs: list[Any] = []
    running: dict[str, list[Any]] = {}
    shared = ray.put(plan)
    for task in tasks:
        worker = task.workers[0]
        mine = running.setdefault(worker, [])
        if len(mine) >= TASKS_IN_FLIGHT_MAX:
            _, mine = ray.wait(mine, num_returns=1, timeout=timeout_s, fetch_local=False)
        ref = send(transport.worker(worker), "run_rows", query_id, shared, task, timeout_s)
        running[worker] = [*mine, ref]
        refs.append(ref)
    return refs


def dataset_of(rows: pa.Table | list[Any]) -> Any:
    """A Dataset of one table, or of references to tables. Raises InvalidRequest without Ray's data library."""
    try:
        import ray.data
    except ImportError as error:
        raise InvalidRequest(f"dataset() needs ray's data library: pip install 'ray[data]' ({error})") from error
    return ray.data.from_arrow(rows) if isinstance(rows, pa.Table) else ray.data.from_arrow_refs(rows)
