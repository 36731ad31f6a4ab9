"""Owns starting and stopping a deployment's actors on a connected Ray. Knows names and resources, holds no data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ray

from actors.compactor import CompactorActor
from actors.coordinator import CoordinatorActor
from actors.errors import ask_again, unwrap
from actors.placement import ShardPlan, begin_shard, node_with_disk, plan_of
from actors.reader import ReaderActor
from actors.scaling import AutoscalePlan
from actors.scrubber import ScrubPlan
from cluster.settings import Settings
from cluster.transport import (
    NAMESPACE,
    Transport,
    compactor_name,
    coordinator_name,
    reader_name,
    scrubber_name,
    shard_name,
)
from core.autoscale import AutoscaleRules
from core.clock import SystemClock
from core.errors import InvalidSettings, MalamuteError, StorageInUse
from core.ids import ShardId
from core.limits import LAUNCH_WAIT_S_MAX, STOP_WAIT_S_MAX
from storage.deployment import ShardConfig, open_objects
from storage.placements import PlacementStore
from storage.scrub import ScrubOptions
from storage.storage_format import open_storage, shards_at_first


def shard_config(settings: Settings, shard: int) -> ShardConfig:
    """What the process of one shard is told."""
    return ShardConfig(
        shard=ShardId(shard),
        shards=settings.shards,
        url=settings.storage,
        wal_directory=f"{settings.wal_path}/{shard:04d}" if settings.wal_path else None,
        cache_directory=str(Path(tempfile.gettempdir()) / "malamute-cache" / settings.name / f"{shard:04d}"),
        durability=settings.durability,
        options=storage_options(settings),
        memtable_bytes_target=settings.flush.memtable_bytes_target,
        memtable_bytes_max=settings.limits.memtable_bytes_max,
        flush_age_s=settings.flush.age_s,
        wal_file_bytes_target=settings.limits.wal_file_bytes_target,
        wal_object_interval_ms=settings.wal_object_interval_ms,
        query_threads=settings.query.threads,
        query_bytes_max=settings.query.memory_bytes_max,
        query_seconds_max=settings.query.timeout_s,
        compaction=settings.compaction.enabled,
        compactors=settings.compaction.compactors,
    )


def storage_options(settings: Settings) -> dict[str, str | bool]:
    """The options of a remote object store that are set, with the secret in the clear: never to be logged."""
    options = settings.storage_options
    secret = options.secret_access_key.get_secret_value() if options.secret_access_key else None
    given = {**options.model_dump(exclude={"secret_access_key"}), "secret_access_key": secret}
    return {key: value for key, value in given.items() if value is not None}


def is_running(deployment: str) -> bool:
    """Whether the deployment's coordinator lives on the connected Ray."""
    return any(
        actor["name"] == coordinator_name(deployment) and actor["namespace"] == NAMESPACE
        for actor in ray.util.list_named_actors(all_namespaces=True)
    )


def launch(settings: Settings) -> Transport:
    """Start the deployment's actors and wait until every shard has recovered.

    A storage that is there has the shards that its placement says. Raises StorageInUse when the name runs already or
    another process holds the storage, InvalidSettings when other shards were asked for; what was started is stopped.
    """
    if is_running(settings.name):
        raise StorageInUse(
            f"a malamute named {settings.name!r} runs on this ray cluster already: stop it with 'malamute down', or "
            f"connect to it with connect('auto')"
        )
    objects = open_objects(shard_config(settings, 0))
    began_with = open_storage(objects, settings.shards)
    placements = PlacementStore(objects, SystemClock(), began_with).load()
    _check_shards(settings, len((placements.coming or placements.current).shards))
    settings = settings.model_copy(update={"shards": began_with})
    template = _shard_plan(settings, 0)
    try:
        plans = {shard: plan_of(template, shard) for shard in placements.serving}
        handles = {shard: begin_shard(plan, node_with_disk(plan.config)) for shard, plan in plans.items()}
        for number in range(settings.readers.count):
            _start_reader(settings, number)
        for number in range(settings.compaction.compactors if settings.compaction.enabled else 0):
            _start_compactor(settings, number)
        coordinator = _start_coordinator(settings, template)
        for shard, handle in handles.items():
            ask_again(handle, "open", timeout_s=LAUNCH_WAIT_S_MAX, what=f"start of shard {shard}")
        ask_again(coordinator, "info", timeout_s=LAUNCH_WAIT_S_MAX, what="start of the coordinator")
    except MalamuteError:
        stop(settings.name, graceful=False)
        raise
    return Transport(settings.name)


def _check_shards(settings: Settings, present: int) -> None:
    """Refuse another number that was asked for just now; one in a file is what a new storage begins with."""
    if settings.source_of("shards") == "argument" and settings.shards != present:
        raise InvalidSettings(
            f"the storage has {present} shards, and {settings.shards} were asked for: leave the number out, and change "
            f"it while the deployment runs, with 'malamute scale --shards {settings.shards}' or Client.scale"
        )


def settled(settings: Settings) -> Settings:
    """The settings with the number of shards that the storage has, when it is there: Ray is begun with room for them.

    Raises InvalidSettings when another number was asked for just now.
    """
    objects = open_objects(shard_config(settings, 0))
    began_with = shards_at_first(objects)
    if began_with is None:
        return settings
    placements = PlacementStore(objects, SystemClock(), began_with).load()
    present = len((placements.coming or placements.current).shards)
    _check_shards(settings, present)
    return settings.model_copy(update={"shards": present})


def _shard_plan(settings: Settings, number: int) -> ShardPlan:
    return ShardPlan(
        name=shard_name(settings.name, number),
        namespace=NAMESPACE,
        config=shard_config(settings, number),
        num_cpus=settings.shard.num_cpus,
        memory_bytes=settings.shard.memory_bytes,
    )


def _start_reader(settings: Settings, number: int) -> Any:
    return ReaderActor.options(  # type: ignore[attr-defined]
        name=reader_name(settings.name, number),
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=settings.readers.num_cpus,
        memory=settings.readers.memory_bytes,
    ).remote(shard_config(settings, number % settings.shards), number)


def _start_compactor(settings: Settings, number: int) -> Any:
    return CompactorActor.options(  # type: ignore[attr-defined]
        name=compactor_name(settings.name, number),
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=settings.compaction.num_cpus,
        memory=settings.compaction.memory_bytes,
    ).remote(settings.name, NAMESPACE, shard_config(settings, 0), number)


def _scrub_plan(settings: Settings) -> ScrubPlan | None:
    scrub = settings.scrub
    if scrub.interval_s == 0:
        return None
    options = ScrubOptions(scrub.interval_s, scrub.bytes_per_s)
    config = shard_config(settings, 0)
    return ScrubPlan(scrubber_name(settings.name), NAMESPACE, config, settings.wal_path, options)


def _autoscale_plan(settings: Settings) -> AutoscalePlan:
    rules = settings.autoscale.model_dump(exclude={"enabled"})
    return AutoscalePlan(settings.autoscale.enabled, AutoscaleRules(**rules))


def _start_coordinator(settings: Settings, template: ShardPlan) -> Any:
    return CoordinatorActor.options(  # type: ignore[attr-defined]
        name=coordinator_name(settings.name),
        namespace=NAMESPACE,
        lifetime="detached",
        num_cpus=settings.coordinator.num_cpus,
        memory=settings.coordinator.memory_bytes,
    ).remote(
        settings.name, NAMESPACE, template, settings.readers.count, _scrub_plan(settings), _autoscale_plan(settings)
    )


def stop(deployment: str, *, graceful: bool = True) -> list[str]:
    """Close every shard (flush, seal), then end the actors. Returns what could not be closed in order."""
    problems: list[str] = []
    _kill([_find(coordinator_name(deployment))])  # first: it begins shards
    handles = {name: _find(name) for name in _named(shard_name(deployment, 0).removesuffix("0"))}
    refs = {name: handle.close.remote() for name, handle in handles.items() if handle is not None and graceful}
    for name, ref in refs.items():
        try:
            unwrap(ref, STOP_WAIT_S_MAX, f"close of {name}")
        except MalamuteError as error:
            problems.append(f"{name}: {error}")
    readers = [_find(name) for name in _named(reader_name(deployment, 0).removesuffix("0"))]
    compactors = [_find(name) for name in _named(compactor_name(deployment, 0).removesuffix("0"))]
    _kill([*handles.values(), *readers, *compactors, _find(scrubber_name(deployment))])
    return problems


def _kill(handles: list[Any]) -> None:
    for handle in handles:
        if handle is not None:
            ray.kill(handle, no_restart=True)


def _named(prefix: str) -> list[str]:
    actors = ray.util.list_named_actors(all_namespaces=True)
    return [a["name"] for a in actors if a["namespace"] == NAMESPACE and a["name"].startswith(prefix)]


def _find(name: str) -> Any:
    try:
        return ray.get_actor(name, namespace=NAMESPACE)
    except ValueError:
        return None
