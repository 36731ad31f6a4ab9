"""Owns the attempt to answer in one round: run a plan for what the streams held last, and see whether they still do.

Pins nothing, and proves nothing by itself: what comes back counts only if the plan would be the same for the snapshot
that came with it (unchanged()).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from query.fragment import Leaf, LeafResult
from query.holdings import Holding, Teller, Told
from query.tasks import Task, shard_worker, task_snapshots
from query.worker import Worker
from storage.snapshot import StreamSnapshot


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a shard is asked: what it holds beyond the `known` manifest versions of streams, and to run `task` over it.

    `task` None only asks. `seconds` and `cache` as in Worker.run_leaf.
    """

    query_id: str
    known: Mapping[str, int]
    leaf: Leaf
    task: Task | None
    seconds: float
    cache: bool


@dataclass(frozen=True, slots=True)
class Attempted:
    """What a shard holds of each stream, and what the task gave over that; None when it was not run."""

    told: Mapping[str, Told]
    result: LeafResult | None


def by_shard(tasks: Iterable[Task]) -> dict[int, Task] | None:
    """The task of each shard; None when one has more than one, or one that is for somebody else."""
    placed: dict[int, Task] = {}
    for task in tasks:
        if task.shard in placed or task.workers[0] != shard_worker(task.shard):
            return None
        placed[task.shard] = task
    return placed


def run_attempt(attempt: Attempt, snapshots: Mapping[str, StreamSnapshot], teller: Teller, worker: Worker) -> Attempted:
    """The shard's side, over `snapshots` by stream. Raises what Worker.run_leaf raises.

    Nothing is run when a version is another one, or when there is a memtable where none was expected or the reverse.
    """
    told = {stream: teller.tell(snapshot, attempt.known[stream]) for stream, snapshot in snapshots.items()}
    same = all(snapshot.manifest_version == attempt.known[stream] for stream, snapshot in snapshots.items())
    memtable = any(snapshot.memtable for snapshot in snapshots.values())
    if attempt.task is None or not same or memtable != attempt.task.memtable:
        return Attempted(told, None)
    held = task_snapshots(attempt.task, snapshots if memtable else {})
    result = worker.run_leaf(
        attempt.leaf, held, seconds=attempt.seconds, query_id=attempt.query_id, cache=attempt.cache
    )
    return Attempted(told, result)


def unchanged(before: Mapping[str, Sequence[Holding]], after: Mapping[str, Sequence[Holding]]) -> bool:
    """Whether plan and tasks for `before` are those for `after`: all that may have come is more rows in a memtable."""
    return all(
        one.version == other.version
        and bool(one.batches) == bool(other.batches)
        and one.memtable.signature == other.memtable.signature
        for stream in before
        for one, other in zip(before[stream], after[stream], strict=True)
    )
