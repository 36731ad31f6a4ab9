"""Owns the Ray side of queries and of the catalog: fan-out to shards, merge. Stateless: any restart may happen.

What a query means is decided in query/, what a stream is in storage.catalog.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray

from actors.errors import send, unwrap
from core.clock import SystemClock
from core.errors import MalamuteError, NotFound, Overloaded
from core.limits import ACTOR_CALLS_PENDING_MAX, COORDINATOR_QUERIES_MAX, RETRY_SECONDS_DEFAULT, STATUS_WAIT_S_MAX
from query.coordinate import QueryAnswer, QueryOptions, run_query
from query.executor import Executor
from query.shape import StreamShape
from storage.catalog import CatalogStore, StreamSettings
from storage.deployment import ShardConfig, open_objects, spill_directory

GROUPS = {"query": COORDINATOR_QUERIES_MAX, "control": 4}


@ray.remote(
    max_restarts=-1,
    max_task_retries=0,
    max_pending_calls=ACTOR_CALLS_PENDING_MAX,
    concurrency_groups=GROUPS,
    enable_task_events=False,
)
class CoordinatorActor:
    """The coordinator of a deployment, named `<deployment>.coordinator`."""

    def __init__(self, name: str, namespace: str, shards: int, config: ShardConfig) -> None:
        self._config = config
        self._clock = SystemClock()
        self._catalog = CatalogStore(open_objects(config), self._clock, shards)
        self._executor = Executor(
            threads=config.query_threads,
            memory_bytes=config.query_bytes_max,
            temp_directory=spill_directory(config, "coordinator"),
        )
        self._shards = _Shards(name, namespace, shards)

    @ray.method(concurrency_group="control")
    def info(self) -> dict[str, Any]:
        """What a client needs to route: number of shards, defaults, process."""
        config = self._config
        return {"pid": os.getpid(), "shards": len(self._shards), "storage": config.url, "durability": config.durability}

    @ray.method(concurrency_group="control")
    def ensure_stream(self, tenant: str, settings: StreamSettings | None, stream: str) -> StreamSettings:
        """The settings of a stream, created on the way when it is new; `settings` None takes what is there."""
        if settings is not None:
            return self._catalog.ensure_stream(tenant, settings)
        try:
            return self._catalog.get(tenant, stream)
        except NotFound:
            return self._catalog.ensure_stream(tenant, StreamSettings(name=stream))

    @ray.method(concurrency_group="control")
    def streams(self, tenant: str) -> dict[str, StreamSettings]:
        """All streams of a tenant by name."""
        return {settings.name: settings for settings in self._catalog.streams(tenant)}

    @ray.method(concurrency_group="query")
    def sql(self, tenant: str, text: str, parameters: Any, options: QueryOptions) -> QueryAnswer:
        """Run one SELECT over one snapshot of every shard."""
        return run_query(
            text, parameters, tenant, options, self._catalog.streams, self._shards, self._executor, self._clock
        )

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """The coordinator's and every shard's numbers; a shard that does not answer says why."""
        return {"coordinator": self.info(), "shards": self._shards.status()}

    @ray.method(concurrency_group="control")
    def flush(self) -> int:
        """Flush every shard; returns the rows that went into segments."""
        return sum(self._shards.call("flush", RETRY_SECONDS_DEFAULT))


class _Shards:
    """The shard actors of a deployment, called all at once. Implements query.coordinate.Leaves."""

    def __init__(self, name: str, namespace: str, count: int) -> None:
        self._names = [f"{name}.shard-{number}" for number in range(count)]
        self._handles = [ray.get_actor(actor_name, namespace=namespace) for actor_name in self._names]

    def __len__(self) -> int:
        return len(self._handles)

    def describe(
        self, query_id: str, tenant: str, streams: Sequence[str], timeout_s: float
    ) -> list[dict[str, StreamShape]]:
        return self.call("describe", timeout_s, query_id, tenant, list(streams))

    def run_leaf(self, query_id: str, leaf: Any, timeout_s: float) -> list[Any]:
        return self.call("run_leaf", timeout_s, query_id, leaf)

    def release(self, query_id: str) -> None:
        for handle in self._handles:
            # A shard that is that busy lets go by itself when the query's time is over.
            with suppress(Overloaded):
                send(handle, "release", query_id)

    def call(self, method: str, timeout_s: float, *arguments: Any) -> list[Any]:
        """The answers of all shards; raises the first error."""
        refs = [send(handle, method, *arguments) for handle in self._handles]
        return [unwrap(ref, timeout_s, f"{method} on {name}") for ref, name in zip(refs, self._names, strict=True)]

    def status(self) -> list[dict[str, Any]]:
        refs = [_ask_status(handle) for handle in self._handles]
        return [_status(ref, number) for number, ref in enumerate(refs)]


def _ask_status(handle: Any) -> Any:
    try:
        return send(handle, "status")
    except Overloaded as refusal:
        return refusal


def _status(ref: Any, shard: int) -> dict[str, Any]:
    try:
        if isinstance(ref, Overloaded):
            raise ref
        answer: dict[str, Any] = unwrap(ref, STATUS_WAIT_S_MAX, f"status of shard {shard}")
        return {"shard": shard, **answer}
    except MalamuteError as error:
        return {"shard": shard, "state": "unavailable", "reason": str(error)}
