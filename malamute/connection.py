"""Owns connect(): an embedded deployment in this process's Ray, or the one that runs on a cluster."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable

from cluster.launch import is_running, launch, settled, stop
from cluster.ray_session import attach_ray, is_connected, start_local_ray
from cluster.settings import Settings, load_settings
from cluster.transport import Transport
from core.errors import InvalidRequest, InvalidSettings
from core.ids import DEFAULT_TENANT
from ingest.ready import get_ready
from malamute.client import Client
from malamute.recorded import user_records
from malamute.siblings import check_siblings

DEPLOYMENT_DEFAULT = "malamute"


def connect(
    address: str | None = None,
    *,
    storage: str | os.PathLike[str] | None = None,
    shards: int | None = None,
    durability: str | None = None,
    tenant: str = DEFAULT_TENANT,
    name: str | None = None,
    config: str | os.PathLike[str] | None = None,
) -> Client:
    """Open Malamute.

    Without `address`: an embedded deployment. Ray starts in this process unless it runs already; data lie in `storage`
    (default ./malamute-data); closing the client flushes and stops it. `config` names a ray_config.yaml to begin with.
    With "auto" (on a node of a Ray cluster) or "ray://host:10001" (from outside; slow for bulk data): the deployment
    `name` that `malamute up` launched there. `durability` is the default level of writes: "memory", "local", or
    "object" of a deployment whose WAL is on the object store.

    Raises NotFound when nothing runs at `address`, StorageInUse when another process holds `storage`,
    InvalidSettings for values out of range.
    """
    check_siblings()
    get_ready()
    if address is not None:
        return _attach(address, storage, shards, durability, tenant, name)
    overrides = {
        "storage": None if storage is None else str(storage),
        "shards": shards,
        "durability": durability,
        "name": name,
    }
    settings = load_settings(None if config is None else str(config), overrides, os.environ)
    if name is None and config is None:
        settings = settings.model_copy(update={"name": embedded_name(settings.storage)})
    return _embedded(settings, tenant)


def embedded_name(storage: str) -> str:
    """The deployment name of an embedded store: one per storage, so that a process may open several."""
    return f"embedded-{zlib.crc32(storage.encode()):08x}"


def _attach(
    address: str,
    storage: str | os.PathLike[str] | None,
    shards: int | None,
    durability: str | None,
    tenant: str,
    name: str | None,
) -> Client:
    if storage is not None or shards is not None:
        raise InvalidSettings(
            f"storage and shards belong to 'malamute up', not to connect({address!r}): leave them out"
        )
    if address != "auto" and not address.startswith("ray://"):
        raise InvalidRequest(f"address {address!r} is not allowed: use 'auto', 'ray://host:10001', or none to embed")
    deployment = name or DEPLOYMENT_DEFAULT
    disconnect = _join(address, deployment)
    try:
        transport = Transport(deployment)
        return Client(transport, tenant, durability or transport.info["durability"], disconnect)
    except BaseException:
        disconnect()
        raise


def _join(address: str, deployment: str) -> Callable[[], None]:
    """Connect to the Ray at `address`; "auto" is first of all the one that `malamute up` began on this machine."""
    record = user_records().named(deployment) if address == "auto" and "RAY_ADDRESS" not in os.environ else None
    if record is not None and record.alive and not is_connected():
        return record.attach()
    return attach_ray(address)


def _embedded(settings: Settings, tenant: str) -> Client:
    settings = settled(settings)
    disconnect = start_local_ray(settings)
    try:
        attached = is_running(settings.name)
        transport = Transport(settings.name) if attached else launch(settings)
    except BaseException:
        disconnect()
        raise

    def close() -> None:
        if not attached:
            stop(settings.name)
        disconnect()

    return Client(transport, tenant, settings.durability, close)
