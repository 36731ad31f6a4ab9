"""Owns what a coordinator needs of the processes that hold and read the data. Implemented over Ray by actors/."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from query.attempt import Attempt, Attempted
from query.dispatch import Fleet
from query.fragment import Leaf
from query.holdings import Told
from storage.deletes import Delete
from storage.retention import Retention
from storage.stream_settings import StreamSettings


class Backend(Protocol):
    """All shards and readers of a deployment."""

    @property
    def shards(self) -> Sequence[int]:
        """The shards that may hold something: of two placements while one gives way to the other."""

    @property
    def readers(self) -> Sequence[str]:
        """The names of the readers that are there; () when shards read their own segments."""

    def describe(
        self, query_id: str, tenant: str, known: Mapping[int, Mapping[str, int]], timeout_s: float
    ) -> Mapping[int, Mapping[str, Told]]:
        """Pin the memtables of each shard under `query_id`; what each shard holds.

        `known` gives by shard the streams with the manifest version whose segments are known. The first error of a
        shard is raised.
        """

    def attempt(self, tenant: str, attempts: Mapping[int, Attempt], timeout_s: float) -> Mapping[int, Attempted]:
        """Ask shards without pins, by number; see query.attempt. The first error of a shard is raised."""

    def fleet(self, query_id: str, leaf: Leaf, timeout_s: float, cache: bool) -> Fleet:
        """The workers, to run tasks of `leaf` on."""

    def release(self, query_id: str) -> None:
        """Let go of the query's pins on all shards."""

    def cancel(self, query_id: str) -> None:
        """Stop what runs of the query on all workers."""


class Streams(Protocol):
    """The catalog, as a query needs it (storage.catalog.CatalogStore)."""

    def known_streams(self, tenant: str) -> Sequence[StreamSettings]:
        """The streams as they were read last."""

    def streams(self, tenant: str) -> Sequence[StreamSettings]:
        """The streams, read anew."""

    def deletes(self) -> Sequence[Delete]:
        """All deletes, of all tenants."""

    def retentions(self, tenant: str) -> Mapping[str, Retention]:
        """The retentions of a tenant; see storage.retention."""
