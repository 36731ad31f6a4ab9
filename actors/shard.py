"""Owns the Ray side of one shard: threads, pins, flush loop. Decides nothing: storage.shard does.

The constructor recovers. A SIGKILL at any moment makes Ray run it again; nothing lives only in this process.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from typing import Any

import pyarrow as pa
import ray

from actors.incarnation import end_if_replaced
from actors.memory import memory_numbers, use_steady_allocator
from actors.spare_time import SpareTime
from actors.work import make_worker, rows_of
from core.append import Ack, AppendRequest, ProducerOpened
from core.clock import SystemClock
from core.errors import Fenced, MalamuteError
from core.limits import (
    ACTOR_CALLS_PENDING_MAX,
    COMPACTION_LEASE_S,
    FLUSH_POLL_S,
    FLUSH_RETRY_S,
    SHARD_APPENDS_MAX,
    SHARD_QUERIES_MAX,
)
from core.placement import Placement
from query.attempt import Attempt, Attempted, run_attempt
from query.erase import offsets_found
from query.fragment import DistributedPlan, Leaf, LeafResult
from query.holdings import Teller, Told
from query.tasks import Task, task_snapshots
from storage.compaction import Job
from storage.deletes import Delete
from storage.deployment import ShardConfig, open_configured_shard
from storage.open_objects import object_requests
from storage.pins import Pins
from storage.replacement import Replacement
from storage.retention import Expired
from storage.shard_host import ShardHost
from storage.warm_up import warm_up

GROUPS = {"append": SHARD_APPENDS_MAX, "query": SHARD_QUERIES_MAX, "control": 4, "erase": 1, "health": 1}


@ray.remote(
    max_restarts=-1,
    max_task_retries=0,
    max_pending_calls=ACTOR_CALLS_PENDING_MAX,
    concurrency_groups=GROUPS,
    enable_task_events=False,
)
class ShardActor:
    """One shard of a deployment, named `<deployment>.shard-<n>`."""

    def __init__(self, config: ShardConfig) -> None:
        use_steady_allocator()
        self._clock = SystemClock()
        self._shard, self._url = config.shard, config.url
        self._host = ShardHost(lambda: open_configured_shard(config, self._clock), self._clock)
        self._worker = make_worker(config, "shard")
        self._teller = Teller()
        # A constructor that raises would end the actor for good: what cannot be opened now is tried again when asked.
        with suppress(MalamuteError):
            self._host.open()
        self._pins = Pins(self._clock, config.query_seconds_max)
        # Before the first flush asks for them: loading takes a second, most of it with the interpreter's lock held.
        self._loading = threading.Thread(target=warm_up, name="load kernels", daemon=True)
        self._loading.start()
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_loop, name="flush", daemon=True)
        self._flusher.start()
        self._spare_time = SpareTime(config, self._host, self._clock)
        self._spare_time.start()

    @ray.method(concurrency_group="control")
    def open(self) -> None:
        """Return when the shard serves; raises why it cannot."""
        self._host.open()

    @ray.method(concurrency_group="health")
    def health(self) -> str:
        """The state of the shard, from a thread that is never busy with anything else."""
        return self._host.state

    @ray.method(concurrency_group="control")
    def be_warm(self) -> None:
        """Return when everything is loaded that the first append would have to wait for."""
        self._loading.join()

    @ray.method(concurrency_group="append")
    def append(self, request: AppendRequest) -> Ack:
        """See storage.shard.Shard.append."""
        self._spare_time.used()
        return self._host.append(request)

    @ray.method(concurrency_group="control")
    def open_producer(self, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        """See storage.shard.Shard.open_producer."""
        return self._host.open_producer(tenant, stream, producer_id, placement)

    @ray.method(concurrency_group="control")
    def seal(self, placement: int) -> None:
        """See storage.shard.Shard.seal."""
        self._host.seal(placement)

    @ray.method(concurrency_group="control")
    def adopt(self, before: Placement, after: Placement) -> None:
        """See storage.shard.Shard.adopt."""
        self._host.adopt(before, after)

    @ray.method(concurrency_group="query")
    def describe(self, query_id: str, tenant: str, known: dict[str, int]) -> dict[str, Told]:
        """Pin one snapshot of each stream under `query_id` and say what they hold beyond what is known of them."""
        snapshots = self._host.snapshots(tenant, list(known))
        if any(snapshot.memtable for snapshot in snapshots.values()):
            self._pins.pin(query_id, snapshots)
        else:
            self._pins.release(query_id)  # what an earlier description pinned
        return {stream: self._teller.tell(snapshot, known[stream]) for stream, snapshot in snapshots.items()}

    @ray.method(concurrency_group="query")
    def attempt(self, tenant: str, attempt: Attempt) -> Attempted:
        """Say what the streams hold beyond what is known of them, and run a task over it; see query.attempt."""
        self._spare_time.used()
        return run_attempt(attempt, self._host.snapshots(tenant, list(attempt.known)), self._teller, self._worker)

    @ray.method(concurrency_group="query")
    def run_leaf(self, query_id: str, leaf: Leaf, task: Task, seconds: float, cache: bool) -> LeafResult:
        """Run a task of a query: its segments, and the pinned memtable batches, which are let go of."""
        self._spare_time.used()
        snapshots = task_snapshots(task, self._pins.take(query_id) if task.memtable else {})
        return self._worker.run_leaf(leaf, snapshots, seconds=seconds, query_id=query_id, cache=cache)

    @ray.method(concurrency_group="query")
    def run_rows(self, query_id: str, plan: DistributedPlan, task: Task, seconds: float) -> pa.Table:
        """The rows of a task of a plan that works piece by piece; see run_leaf."""
        return rows_of(self._worker, plan, self.run_leaf(query_id, plan.leaf, task, seconds, True), query_id)

    @ray.method(concurrency_group="control")
    def take_merge(self) -> Job | None:
        """See storage.compaction_jobs.CompactionJobs.take: until it is renewed."""
        return self._spare_time.take(COMPACTION_LEASE_S)

    @ray.method(concurrency_group="control")
    def renew_merge(self, name: str) -> bool:
        """See storage.compaction_jobs.CompactionJobs.renew."""
        return self._spare_time.renew(name)

    @ray.method(concurrency_group="control")
    def finish_merge(self, replacement: Replacement) -> bool:
        """See storage.compaction_jobs.CompactionJobs.finish."""
        return self._spare_time.finish(replacement)

    @ray.method(concurrency_group="control")
    def give_up_merge(self, job: Job, reason: str) -> None:
        """See storage.compaction_jobs.CompactionJobs.give_up."""
        self._spare_time.give_up(job, reason)

    @ray.method(concurrency_group="control")
    def cancel(self, query_id: str) -> None:
        """Stop what runs of a query, and let go of its pins."""
        self._worker.cancel(query_id)
        self._pins.release(query_id)

    @ray.method(concurrency_group="control")
    def release(self, query_id: str) -> None:
        """Let go of a query that will not run its leaf."""
        self._pins.release(query_id)

    @ray.method(concurrency_group="erase")
    def erase(self, delete: Delete, leaf: Leaf) -> tuple[int, int]:
        """Go on with a delete for a moment; how many of the segments that it concerns are done, and how many left."""
        return self._spare_time.erase(delete, offsets_found(self._worker, leaf, self._shard))

    @ray.method(concurrency_group="erase")
    def expire(self, names: Expired, leaf: Leaf | None) -> None:
        """Remove segments that retention does not keep, and rewrite others without what `leaf` finds in them."""
        self._spare_time.expire(names, offsets_found(self._worker, leaf, self._shard) if leaf is not None else None)

    @ray.method(concurrency_group="control")
    def flush(self) -> int:
        """See storage.shard.Shard.flush."""
        return self._host.flush()

    @ray.method(concurrency_group="control")
    def streams(self) -> dict[tuple[str, str], int]:
        """Events per (tenant, stream)."""
        return self._host.streams()

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """The shard's numbers, with its process and node."""
        node = ray.get_runtime_context().get_node_id()
        numbers = {**memory_numbers(), **self._host.status(), "caches": self._worker.status()}
        numbers["compaction"] = self._spare_time.status()
        process = {"pid": os.getpid(), "node": node, "cpu_s": time.process_time()}
        return {**process, "requests": object_requests(self._url), **numbers}

    @ray.method(concurrency_group="control")
    def close(self) -> None:
        """Flush, seal and let go of the storage; the process is to be ended next."""
        self._stopping.set()
        self._spare_time.stop()
        self._flusher.join()
        self._host.close()

    def _flush_loop(self) -> None:
        while not self._stopping.wait(FLUSH_POLL_S):
            self._pins.expire()
            try:
                self._host.open()
                if self._host.flush_due():
                    self._host.flush()
            except Fenced:
                # Everything is refused from now on. It goes as soon as Ray has another process for the shard; until
                # then it stays, because one that ended would be begun again and take the shard from its new owner.
                end_if_replaced()
                self._stopping.wait(FLUSH_RETRY_S)
            except Exception:
                # Counted and shown in status(); the memtable stays, and its bound pushes back. A thread that ended
                # here would stop flushing without a word.
                self._stopping.wait(FLUSH_RETRY_S)
