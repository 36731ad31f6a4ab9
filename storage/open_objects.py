"""Owns the choice of an object store by URL, and the options of the remote ones. Never shows a secret."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from obstore import exceptions
from obstore.store import AzureStore, GCSStore, MemoryStore, S3Store

from core.clock import Clock, SystemClock
from core.errors import InvalidSettings
from core.ids import nearest
from storage.fs import FileSystem
from storage.local_objects import LocalObjectStore
from storage.object_traffic import requests_to, traffic_with
from storage.objects import ObjectStore
from storage.remote_objects import RemoteObjectStore

# One attempt; a PUT of a 100 MiB segment at 10 MB/s takes 10 s. Retries are ours, see remote_objects.py.
_REQUEST_S_MAX: Final = 60
_CONNECT_S_MAX: Final = 5

# Our option → obstore's, by scheme. Credentials that are not given come from the environment of the process.
_OPTIONS: Final[dict[str, dict[str, str]]] = {
    "s3": {
        "endpoint": "endpoint",
        "region": "region",
        "access_key_id": "access_key_id",
        "secret_access_key": "secret_access_key",
        "session_token": "session_token",
    },
    "gs": {"endpoint": "base_url", "service_account_key": "service_account_key"},
    "az": {"endpoint": "endpoint", "account_name": "account_name", "account_key": "account_key"},
    "memory": {},
}
_STORES: Final = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
_CONTAINER: Final = {"s3": "bucket", "gs": "bucket", "az": "container_name"}


def open_object_store(
    url: str, fs: FileSystem, options: Mapping[str, Any] | None = None, *, clock: Clock | None = None
) -> ObjectStore:
    """The object store at `url`: a path, file://, s3://bucket/prefix, gs://, az:// or memory://.

    `options` are endpoint, allow_http (bool or "true") and what _OPTIONS names for the scheme; `clock` times retries.
    Raises InvalidSettings.
    """
    scheme, path = _split(url)
    if scheme in ("", "file"):
        return LocalObjectStore(path.rstrip("/") or "/", fs)
    if scheme not in _OPTIONS:
        raise InvalidSettings(f"storage {scheme}://… is not known: use a path, s3://, gs://, az:// or memory://")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    known = _OPTIONS[scheme]
    for name in given:
        if name not in known and name != "allow_http":
            similar = nearest(name, [*known, "allow_http"])
            hint = f"did you mean {similar!r}?" if similar else f"known are {sorted([*known, 'allow_http'])}"
            raise InvalidSettings(f"storage option {name!r} is not known for {scheme}://: {hint}")
    if scheme == "memory":
        return RemoteObjectStore(MemoryStore(), clock or SystemClock(), name="memory://")
    name = f"{scheme}://{path}"
    store = _remote(scheme, path, given)
    return RemoteObjectStore(store, clock or SystemClock(), name=name, traffic=traffic_with(name))


def object_requests(url: str) -> dict[str, int]:
    """What this process has asked of the object store at `url`, see object_requests.py; {} when nothing."""
    scheme, path = _split(url)
    return requests_to(f"{scheme}://{path}")


def object_address(url: str, key: str) -> str:
    """Where others find the object `key` of the store at `url`: a path, or a URL. `key` "" is the store itself."""
    scheme, path = _split(url)
    if scheme == "memory":
        raise InvalidSettings("objects of memory:// have no address: no other program can read them")
    root = os.path.normpath(path) if scheme in ("", "file") else f"{scheme}://{path.rstrip('/')}"
    return f"{root}/{key}" if key else root


def _split(url: str) -> tuple[str, str]:
    if "://" not in url:
        return "", url
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username or parts.password:
        raise InvalidSettings(f"storage {parts.scheme}://… may hold a bucket and a prefix only: use storage_options")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InvalidSettings(f"storage {url!r} names the host {parts.netloc!r}: use file:///path")
        return "file", unquote(parts.path)
    return parts.scheme, parts.netloc + parts.path


def _remote(scheme: str, path: str, options: dict[str, Any]) -> Any:
    container, _, prefix = path.partition("/")
    if not container:
        raise InvalidSettings(f"storage {scheme}:// lacks a bucket: use {scheme}://bucket/prefix")
    config = {_OPTIONS[scheme][name]: value for name, value in options.items() if name != "allow_http"}
    client = {
        "timeout": timedelta(seconds=_REQUEST_S_MAX),
        "connect_timeout": timedelta(seconds=_CONNECT_S_MAX),
        "allow_http": str(options.get("allow_http", False)).casefold() == "true",
    }
    try:
        return _STORES[scheme](
            prefix=prefix.strip("/") or None,
            client_options=client,
            retry_config={"max_retries": 0},
            **{_CONTAINER[scheme]: container},
            **config,
        )
    except exceptions.BaseError as error:
        # The message may quote the options; only its kind is safe to show.
        kind = type(error).__name__
        raise InvalidSettings(f"storage {scheme}://{path} cannot be opened with these options: {kind}") from None
