"""Owns the Ray side of queries and of the catalog: fan-out to shards, merge. Stateless: any restart may happen.

What a query means is decided in query/, what a stream is in storage.catalog.
"""

from __future__ import annotations

import os
from typing import Any, Final

import ray

from actors.deleting import Deleting
from actors.fleet import RayBackend
from actors.keeper import Keeper
from actors.memory import use_steady_allocator
from actors.placement import ShardPlan
from actors.retaining import Retaining
from actors.scaling import AutoscalePlan, Scaling
from actors.scrubber import Scrubbing, ScrubPlan
from core.append import Ack, AppendRequest
from core.clock import SystemClock
from core.errors import NotFound
from core.ids import ShardId
from core.limits import ACTOR_CALLS_PENDING_MAX, COORDINATOR_QUERIES_MAX, RETRY_SECONDS_DEFAULT
from core.placement import Placement
from query.coordinate import Queries
from query.executor import Executor
from query.fragment import DistributedPlan
from query.options import QueryAnswer, QueryOptions
from query.stream_files import StreamFiles, stream_files, stream_segments
from query.tasks import Task
from storage.catalog import CatalogStore, StreamSettings
from storage.deletes import DeleteStatus
from storage.deployment import open_objects, spill_directory
from storage.exports import export_iceberg
from storage.iceberg.exported import Exported
from storage.named_snapshot_format import NamedSnapshot, SnapshotSummary
from storage.named_snapshots import NamedSnapshots
from storage.open_objects import object_requests
from storage.placements import PlacementStore
from storage.retention import Retention

GROUPS = {"query": COORDINATOR_QUERIES_MAX, "control": 4}
_ENGINE_SHARE: Final = 0.75  # of a query's memory: what the leaves send is the rest, and the engine does not count it


@ray.remote(
    max_restarts=-1,
    max_task_retries=0,
    max_pending_calls=ACTOR_CALLS_PENDING_MAX,
    concurrency_groups=GROUPS,
    enable_task_events=False,
)
class CoordinatorActor:
    """The coordinator of a deployment, named `<deployment>.coordinator`."""

    def __init__(
        self,
        name: str,
        namespace: str,
        template: ShardPlan,
        readers: int,
        scrub: ScrubPlan | None,
        autoscale: AutoscalePlan,
    ) -> None:
        use_steady_allocator()
        self._config = config = template.config
        self._clock = SystemClock()
        objects = open_objects(config)
        self._catalog = CatalogStore(objects, self._clock, config.shards)
        executor = Executor(
            threads=config.query_threads,
            memory_bytes=int(config.query_bytes_max * _ENGINE_SHARE),
            temp_directory=spill_directory(config, "coordinator"),
        )
        compactors = config.compactors if config.compaction else 0
        self._backend = RayBackend(name, namespace, readers, compactors, self._clock)
        placements = PlacementStore(objects, self._clock, config.shards)
        self._scaling = Scaling(template, objects, placements, self._backend, self._clock, autoscale)
        self._scaling.start()
        self._keeper = Keeper(lambda: self._scaling.plans, self._backend.handles)
        self._keeper.start()
        self._scrubbing = Scrubbing(scrub)
        self._scrubbing.start()
        self._snapshots = NamedSnapshots(objects, self._clock, self._catalog)
        self._queries = Queries(
            self._backend, executor, self._clock, self._catalog, self._snapshots, config.query_seconds_max
        )
        self._deleting = Deleting(
            self._backend,
            self._queries,
            self._catalog,
            objects,
            self._clock,
            config.garbage_grace_s,
            lambda: range(self._scaling.placements.next_shard),
        )
        self._deleting.start()
        self._retaining = Retaining(self._backend, self._queries, self._catalog, self._clock)
        self._retaining.start()

    @ray.method(concurrency_group="control")
    def info(self) -> dict[str, Any]:
        """What a client needs to route: placement, defaults, process."""
        config = self._config
        return {
            "pid": os.getpid(),
            "node": ray.get_runtime_context().get_node_id(),
            "placement": self._scaling.placements.current,
            "storage": config.url,
            "durability": config.durability,
        }

    @ray.method(concurrency_group="control")
    def placement_after(self, version: int) -> Placement | None:
        """See storage.placements.Placements.after."""
        return self._scaling.placements.after(version)

    @ray.method(concurrency_group="control")
    def last_word(self, shard: int, request: AppendRequest) -> Ack:
        """See storage.scaling.last_word."""
        return self._scaling.last_word(shard, request)

    @ray.method(concurrency_group="control")
    def scale(self, count: int, dry_run: bool = False) -> dict[str, Any]:
        """See actors.scaling.Scaling.scale."""
        return self._scaling.scale(count, dry_run)

    @ray.method(concurrency_group="control")
    def scale_decision(self) -> dict[str, Any]:
        """See actors.scaling.Scaling.decision."""
        return self._scaling.decision()

    @ray.method(concurrency_group="control")
    def placement_status(self) -> dict[str, Any]:
        """See actors.scaling.Scaling.status."""
        return self._scaling.status()

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
        """Run one statement over one snapshot of every shard."""
        return self._queries.answer(text, parameters, tenant, options)

    @ray.method(concurrency_group="query")
    def begin(self, tenant: str, kind: str, text: str, parameters: Any, options: QueryOptions, cursor: str) -> Any:
        """See query.coordinate.Queries.begin."""
        return self._queries.begin(kind, text, parameters, tenant, options, cursor)

    @ray.method(concurrency_group="query")
    def take(self, tenant: str, cursor: str) -> Any:
        """See query.coordinate.Queries.take. No streaming of Ray's: it would block a thread for a slow taker."""
        return self._queries.take(tenant, cursor)

    @ray.method(concurrency_group="query")
    def parts(
        self, tenant: str, text: str, parameters: Any, options: QueryOptions
    ) -> tuple[DistributedPlan, list[Task], str]:
        """The plan and tasks of a query, for a client that sends them to the workers itself."""
        return self._queries.parts(text, parameters, tenant, options)

    @ray.method(concurrency_group="query")
    def files(self, tenant: str, stream: str, at: str | None) -> StreamFiles:
        """See query.stream_files."""
        return stream_files(self._backend, tenant, stream, self._config.url, self._past(tenant, stream, at))

    @ray.method(concurrency_group="query")
    def export_iceberg(self, tenant: str, stream: str, location: str | None, at: str | None) -> Exported:
        """See storage.exports."""
        segments, _ = stream_segments(self._backend, tenant, stream, self._past(tenant, stream, at))
        return export_iceberg(self._config, tenant, stream, segments, location)

    def _past(self, tenant: str, stream: str, at: str | None) -> NamedSnapshot | None:
        """The snapshot named `at`. Raises NotFound when the stream is not in it, or is not there now without a name."""
        if at is None:
            self._catalog.get(tenant, stream)
            return None
        past = self._snapshots.get(tenant, at)
        if stream not in past.catalog.tenants.get(tenant, {}):
            raise NotFound(f"stream {stream!r} is not in snapshot {at!r}")
        return past

    @ray.method(concurrency_group="control")
    def cancel(self, tenant: str, query_id: str) -> bool:
        """Stop the queries that `tenant` calls so, wherever they run; False when none does."""
        return self._queries.cancel(tenant, query_id)

    @ray.method(concurrency_group="control")
    def status(self) -> dict[str, Any]:
        """The numbers of coordinator, shards, readers, compactors, scrubber; what does not answer says why."""
        own = {**self.info(), **self._queries.status(), "delete_failures": self._catalog.delete_failures}
        own["placement"] = self._scaling.status()
        own["requests"] = object_requests(self._config.url)
        own["keeper"] = self._keeper.status()
        own["deletes"] = self._deleting.status()
        own["retention"] = self._retaining.status()
        return {"coordinator": own, **self._backend.status(), "scrub": self._scrubbing.status()}

    @ray.method(concurrency_group="control")
    def flush(self) -> int:
        """Flush every shard; returns the rows that went into segments."""
        return self._backend.flush(RETRY_SECONDS_DEFAULT)

    @ray.method(concurrency_group="query")
    def delete(self, tenant: str, stream: str, where: str) -> DeleteStatus:
        """See actors.deleting.Deleting.begin."""
        return self._deleting.begin(tenant, stream, where)

    @ray.method(concurrency_group="query")
    def count(self, tenant: str, stream: str, where: str) -> int:
        """How many events a delete would remove now."""
        return self._queries.delete_of(tenant, stream, where).matched

    @ray.method(concurrency_group="control")
    def set_retention(self, tenant: str, stream: str, retention: Retention) -> None:
        """See storage.catalog.CatalogStore.set_retention."""
        self._retaining.set(tenant, stream, retention)

    @ray.method(concurrency_group="control")
    def retentions(self, tenant: str) -> dict[str, Retention]:
        """The retentions of a tenant by stream."""
        return dict(self._catalog.retentions(tenant))

    @ray.method(concurrency_group="control")
    def deletes(self, tenant: str) -> list[DeleteStatus]:
        """See actors.deleting.Deleting.all."""
        return self._deleting.all(tenant)

    @ray.method(concurrency_group="control")
    def take_snapshot(self, tenant: str | None, name: str, ttl_s: float | None) -> SnapshotSummary:
        """See storage.named_snapshots.NamedSnapshots.take."""
        shards = [ShardId(number) for number in self._backend.shards]
        with self._deleting.lock:  # a delete that is over must not miss the snapshot that is just being taken
            return self._snapshots.take(tenant, name, ttl_s, shards, self.flush)

    @ray.method(concurrency_group="control")
    def snapshots(self, tenant: str | None) -> list[SnapshotSummary]:
        """See storage.named_snapshots.NamedSnapshots.all."""
        return self._snapshots.all(tenant)

    @ray.method(concurrency_group="control")
    def drop_snapshot(self, tenant: str | None, name: str) -> None:
        """See storage.named_snapshots.NamedSnapshots.drop."""
        self._snapshots.drop(tenant, name)
