"""Owns this process's connection to Ray: joining one, or starting a local one on the loopback interface."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import ray
from ray._private import services

from cluster.ray_environment import loopback_only, quiet_environment, use_new_token
from cluster.settings import Settings
from cluster.transport import NAMESPACE
from core.errors import NotFound, Unavailable
from core.limits import GIB

# A laptop's Ray: batches are consumed at once, so the object store need not be large.
OBJECT_STORE_BYTES_DEFAULT = 1 * GIB


def is_connected() -> bool:
    """Whether this process is connected to a Ray."""
    return bool(ray.is_initialized())


def attach_ray(address: str) -> Callable[[], None]:
    """Connect to the Ray at `address` unless this process is connected; returns how to disconnect."""
    if ray.is_initialized():
        return _nothing
    try:
        with loopback_only() if _is_on_loopback(address) else nullcontext():
            ray.init(address=address, namespace=NAMESPACE, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise NotFound(f"no ray cluster answers at {address!r}: start one with 'malamute up' or 'ray start'") from error
    except RuntimeError as error:
        raise Unavailable(f"cannot connect to ray at {address!r}: {error}") from error
    return ray.shutdown


def start_local_ray(settings: Settings) -> Callable[[], None]:
    """Start a Ray in this process as settings.ray says, unless one is connected; returns how to end it."""
    if ray.is_initialized():
        return _nothing
    options = settings.ray
    # Inside a Ray job the cluster is there already, and Ray says where.
    address = options.address or os.environ.get("RAY_ADDRESS")
    if address is not None and address != "local":
        return attach_ray(address)
    arguments: dict[str, Any] = {
        # Ray starts as many workers ahead as there are CPUs: one for each of our actors makes them ready sooner.
        "num_cpus": options.num_cpus or max(os.cpu_count() or 1, settings.shards + 1),
        "object_store_memory": options.object_store_memory or OBJECT_STORE_BYTES_DEFAULT,
        "include_dashboard": options.include_dashboard,
    }
    if options.num_gpus is not None:
        arguments["num_gpus"] = options.num_gpus
    if options.resources:
        arguments["resources"] = dict(options.resources)
    if options.include_dashboard:
        arguments |= {"dashboard_host": options.dashboard_host, "dashboard_port": options.dashboard_port}
    quiet_environment()
    forget_token = use_new_token()
    try:
        with loopback_only():
            ray.init(
                address="local",
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address="127.0.0.1",
                **arguments,
            )
    except BaseException:
        forget_token()
        raise

    def end() -> None:
        ray.shutdown()
        forget_token()

    return end


def _is_on_loopback(address: str) -> bool:
    """Whether the Ray at `address` may listen on the loopback interface only: Ray would look for it elsewhere."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or services.find_bootstrap_address(None) or ""
    return address.removeprefix("ray://").rpartition(":")[0] in ("127.0.0.1", "localhost", "[::1]")


def _nothing() -> None:
    """The connection belongs to whoever made it."""
