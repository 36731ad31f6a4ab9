"""Owns what a source needs of a store: a transport, streams, and one question. Never reads a source, never prints."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from cluster.transport import Transport as DeploymentTransport
from core.ids import DEFAULT_TENANT
from core.placement import Placement
from ingest.sender import Transport
from ingest.shred import ShredSettings
from malamute.client import Client


class ShardedTransport(Transport, Protocol):
    """A transport that knows the placement."""

    placement: Placement


class StreamForm(NamedTuple):
    """How events of a stream become columns, and the path of their ids when it keeps each id once."""

    settings: ShredSettings
    dedup_key: str | None


class SourceStore(Protocol):
    """The store as sources see it."""

    transport: ShardedTransport
    tenant: str
    level: str  # durability of what they write

    def stream(self, name: str) -> StreamForm:
        """The form of a stream, which is there afterwards."""
        ...

    def select(self, stream: str, paths: Sequence[str], where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """These attributes of all events of a stream that have the values of `where`, oldest first."""
        ...

    def largest(self, stream: str, path: str, where: Mapping[str, Any]) -> int | None:
        """The largest value of an attribute in the events of a stream that have the values of `where`."""
        ...


class ClientStore:
    """A SourceStore over an open client. Thread-safe."""

    def __init__(self, client: Client, deployment: str) -> None:
        self._client = client
        self.transport: ShardedTransport = DeploymentTransport(deployment)
        self.tenant = DEFAULT_TENANT
        self._asking = threading.Lock()
        self.level: str = self.transport.info["durability"]

    def stream(self, name: str) -> StreamForm:
        settings = self._client.streams().get(name) or self._client.create_stream(name)
        return StreamForm(ShredSettings(settings.timestamp, settings.max_paths), settings.dedup_key)

    def select(self, stream: str, paths: Sequence[str], where: Mapping[str, Any]) -> list[dict[str, Any]]:
        # Names of their own: a path that no event has yet must not be taken for its own alias.
        columns = ", ".join(f"{path} AS column{number}" for number, path in enumerate(paths))
        rows = self._ask(f"SELECT {columns}", stream, where, "ORDER BY _ingested_at, _offset")
        return [dict(zip(paths, row.values(), strict=True)) for row in rows]

    def largest(self, stream: str, path: str, where: Mapping[str, Any]) -> int | None:
        (row,) = self._ask(f"SELECT max({path}) AS largest", stream, where)
        return None if row["largest"] is None else int(row["largest"])

    def _ask(self, what: str, stream: str, where: Mapping[str, Any], order: str = "") -> list[dict[str, Any]]:
        conditions = " AND ".join(f"{path} = ?" for path in where)
        text = f'{what} FROM "{stream}" WHERE {conditions} {order}'
        # One at a time: a coordinator refuses more than a few of a tenant.
        with self._asking:
            return self._client.sql(text, list(where.values()), cache=False).to_pylist()
