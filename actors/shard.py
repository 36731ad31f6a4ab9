"""Owns the Ray side of one shard: threads, pins, flush loop. Decides nothing: storage.shard does.

The constructor recovers. A SIGKILL at any moment makes Ray run it again; nothing lives only in this process.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any

import ray

from actors.memory import memory_numbers, use_steady_allocator
from core.append import Ack, AppendRequest, ProducerOpened
from core.clock import SystemClock
from core.errors import Fenced, MalamuteError
from core.limits import ACTOR_CALLS_PENDING_MAX, FLUSH_POLL_S, FLUSH_RETRY_S, SHARD_APPENDS_MAX, SHARD_QUERIES_MAX
from query.executor import Executor
from query.fragment import Leaf, LeafResult
from query.run import run_leaf
from query.shape import StreamShape, describe
from storage.deployment import ShardConfig, data_directories, open_configured_shard, segment_files, spill_directory
from storage.pins import Pins
from storage.shard_host import ShardHost

GROUPS = {"append": SHARD_APPENDS_MAX, "query": SHARD_QUERIES_MAX, "control": 4}


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
        self._host = ShardHost(lambda: open_configured_shard(config, self._clock), self._clock)
        self._files = segment_files(config)
        self._executor = Executor(
            threads=config.query_threads,
            memory_bytes=config.query_bytes_max,
            temp_directory=spill_directory(config, "shard"),
            data_directories=data_directories(config),
        )
        self._query_seconds_max = config.query_seconds_max
        # A constructor that raises would end the actor for good: what cannot be opened now is tried again when asked.
        with suppress(MalamuteError):
            self._host.open()
        self._pins = Pins(self._clock, config.query_seconds_max)
        self._stopping = threading.Event()
        self._flusher = threading.Thread(target=self._flush_loop, name="flush", daemon=True)
        self._flusher.start()

    @ray.method(concurrency_group="control")
    def open(self) -> None:
        """Return when the shard serves; raises why it cannot."""
        self._host.open()

    @ray.method(concurrency_group="append")
    def append(self, request: AppendRequest) -> Ack:
        """See storage.shard.Shard.append."""
        return self._host.append(request)

    @ray.method(concurrency_group="control")
    def open_producer(self, tenant: str, stream: str, producer_id: str) -> ProducerOpened:
        """See storage.shard.Shard.open_producer."""
        return self._host.open_producer(tenant, stream, producer_id)

    @ray.method(concurrency_group="query")
    def describe(self, query_id: str, tenant: str, streams: list[str]) -> dict[str, StreamShape]:
        """Pin one snapshot of each stream under `query_id` and say what they hold."""
        snapshots = self._host.snapshots(tenant, streams)
        self._pins.pin(query_id, snapshots)
        return {stream: describe(snapshot) for stream, snapshot in snapshots.items()}

    @ray.method(concurrency_group="query")
    def run_leaf(self, query_id: str, leaf: Leaf) -> LeafResult:
        """Run a leaf over the pinned snapshots and let go of them."""
        snapshots = self._pins.take(query_id)
        return run_leaf(
            leaf, snapshots, self._files.path, self._executor, seconds=self._query_seconds_max, query_id=query_id
        )

    @ray.method(concurrency_group="control")
    def release(self, query_id: str) -> None:
        """Let go of a query that will not run its leaf."""
        self._pins.release(query_id)

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
        return {"pid": os.getpid(), "node": node, **memory_numbers(), **self._host.status()}

    @ray.method(concurrency_group="control")
    def close(self) -> None:
        """Flush, seal and let go of the storage; the process is to be ended next."""
        self._stopping.set()
        self._flusher.join()
        self._host.close()

    def _flush_loop(self) -> None:
        while not self._stopping.wait(FLUSH_POLL_S):
            try:
                self._host.open()
                if self._host.flush_due():
                    self._host.flush()
            except Fenced:
                return  # a newer owner serves this shard; appends are refused from now on
            except Exception:
                # Counted and shown in status(); the memtable stays, and its bound pushes back. A thread that ended
                # here would stop flushing without a word.
                self._stopping.wait(FLUSH_RETRY_S)
