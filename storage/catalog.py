"""Owns the catalog: tenants, their streams and placements, as one small versioned object. Never caches a refusal.

Like a manifest, a version is immutable and moves by create-if-absent of the next key; unlike a manifest it has many
writers, so a lost race is tried again on top of the winner.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final, NoReturn

from core.clock import Clock
from core.errors import Corrupt, InvalidRequest, NotFound, Unavailable, UnknownOutcome
from core.ids import check_name, nearest
from core.limits import DELETES_DONE_KEPT, DELETES_PENDING_MAX, MANIFEST_VERSIONS_KEPT
from storage.deletes import Delete, delete_from_plain, delete_to_plain, pending
from storage.envelope import seal, unseal
from storage.keys import CATALOG_PREFIX, catalog_key, version_of
from storage.objects import AlreadyExists, ObjectStore
from storage.retention import (
    TENANT_DEFAULT,
    Retention,
    check_retention,
    retention_to_plain,
    retentions_from_plain,
)
from storage.stream_settings import (
    Placement,
    StreamSettings,
    check_new_settings,
    check_settings,
    differences,
    settings_from_plain,
    settings_to_plain,
)

__all__ = ["Catalog", "CatalogStore", "Placement", "StreamSettings"]

MAGIC: Final = b"MLMTCATA"
FORMAT_VERSION: Final = 2

# What is written without deletes and retentions: an older release would show the events that they hide.
FORMAT_VERSION_WITHOUT_DELETES: Final = 1

DELETES_KEY: Final = "deletes"  # from format version 2 on, like the next
RETENTIONS_KEY: Final = "retentions"

_RACES_MAX: Final = 1_000  # each lost race means that another stream was made


@dataclass(frozen=True, slots=True)
class Catalog:
    """One version: tenant → stream → settings, all deletes, and retentions by tenant and stream (storage.retention).

    Version 0 is empty, before the first stream.
    """

    version: int = 0
    tenants: Mapping[str, Mapping[str, StreamSettings]] = field(default_factory=dict)
    deletes: tuple[Delete, ...] = ()
    retentions: Mapping[str, Mapping[str, Retention]] = field(default_factory=dict)

    def stream(self, tenant: str, stream: str) -> StreamSettings | None:
        """The settings of a stream, or None."""
        return self.tenants.get(tenant, {}).get(stream)

    def with_stream(self, tenant: str, settings: StreamSettings) -> Catalog:
        """The next version, with the stream added or replaced."""
        streams = {**self.tenants.get(tenant, {}), settings.name: settings}
        return replace(self, version=self.version + 1, tenants={**self.tenants, tenant: streams})

    def with_delete(self, delete: Delete) -> Catalog:
        """The next version, with the delete added or replaced; of those that are done the oldest are forgotten."""
        others = [one for one in self.deletes if one.id != delete.id]
        done = [one for one in others if one.done_at_us is not None]
        forgotten = {one.id for one in done[: max(0, len(done) - DELETES_DONE_KEPT)]}
        kept = sorted((delete, *(one for one in others if one.id not in forgotten)), key=lambda one: one.id)
        return replace(self, version=self.version + 1, deletes=tuple(kept))

    def with_retention(self, tenant: str, stream: str, retention: Retention) -> Catalog:
        """The next version, with the retention of a stream, or the tenant's default."""
        own = {**self.retentions.get(tenant, {}), stream: retention}
        return replace(self, version=self.version + 1, retentions={**self.retentions, tenant: own})


def encode_catalog(catalog: Catalog) -> bytes:
    """The bytes of a catalog."""
    tenants = {
        tenant: [settings_to_plain(streams[name]) for name in sorted(streams)]
        for tenant, streams in sorted(catalog.tenants.items())
    }
    body: dict[str, Any] = {"version": catalog.version, "tenants": tenants}
    version = FORMAT_VERSION_WITHOUT_DELETES
    if catalog.deletes or catalog.retentions:
        body[DELETES_KEY] = [delete_to_plain(delete) for delete in catalog.deletes]
        body[RETENTIONS_KEY] = {
            tenant: {stream: retention_to_plain(own[stream]) for stream in sorted(own)}
            for tenant, own in sorted(catalog.retentions.items())
        }
        version = FORMAT_VERSION
    return seal(MAGIC, version, body)


def decode_catalog(data: bytes, what: str = "catalog") -> Catalog:
    """The catalog of encode_catalog; raises Corrupt on any damage and on newer formats. `what` names it."""
    _, body = unseal(MAGIC, FORMAT_VERSION, data, what)
    try:
        tenants = {
            tenant: {settings.name: settings for settings in map(settings_from_plain, streams)}
            for tenant, streams in body["tenants"].items()
        }
        deletes = tuple(map(delete_from_plain, body.get(DELETES_KEY, ())))
        return Catalog(body["version"], tenants, deletes, retentions_from_plain(body.get(RETENTIONS_KEY, {})))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Corrupt(f"{what} has a body of an unexpected shape: {error!r}") from error


class CatalogStore:
    """The catalog on an object store; `shards` is what new streams are placed on. Thread-safe."""

    def __init__(
        self, objects: ObjectStore, clock: Clock, shards: int, *, versions_kept: int = MANIFEST_VERSIONS_KEPT
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._shards = shards
        self._versions_kept = versions_kept
        self._lock = threading.Lock()
        self._known = Catalog()
        self.delete_failures = 0

    def load(self) -> Catalog:
        """The newest catalog; raises Corrupt, Unavailable."""
        for _ in range(_RACES_MAX):
            found = self._objects.list(CATALOG_PREFIX)
            if not found:
                return Catalog()
            key = found[-1].key
            try:
                data = self._objects.get(key)
            except NotFound:
                continue  # newer ones were published and this one deleted since the listing
            catalog = decode_catalog(data, f"catalog {key!r}")
            if catalog.version != version_of(key):
                raise Corrupt(f"catalog {key!r} says version {catalog.version}: restore it")
            with self._lock:
                if catalog.version > self._known.version:
                    self._known = catalog
            return catalog
        raise Unavailable("the catalog changes faster than it can be read: retry")

    def ensure_stream(self, tenant: str, settings: StreamSettings) -> StreamSettings:
        """Make the stream unless it is there, and return its settings as stored.

        Raises InvalidRequest when it is there with other settings, InvalidName, InvalidSettings, Unavailable,
        UnknownOutcome (call again).
        """
        check_name("tenant", tenant)
        check_settings(settings)
        for _ in range(_RACES_MAX):
            catalog = self.load()
            present = catalog.stream(tenant, settings.name)
            if present is not None:
                changed = differences(present, settings)
                if changed:
                    raise InvalidRequest(
                        f"stream {settings.name!r} is there with other settings: {'; '.join(changed)}: "
                        "use those or another name"
                    )
                return present
            check_new_settings(settings)
            self._try_create(catalog.with_stream(tenant, self._stamped(settings)))
            # The next turn reads the winner: only what the newest version holds was made.
        raise Unavailable(f"stream {settings.name!r}: {_RACES_MAX} other changes of the catalog were faster: retry")

    def deletes(self) -> tuple[Delete, ...]:
        """All deletes, as they were when the catalog was read or changed last; read when it never was."""
        with self._lock:
            known = self._known
        return known.deletes if known.version else self.load().deletes

    def add_delete(self, delete: Delete) -> Delete:
        """Begin a delete, under a number of its own: whoever asks deletes() afterwards finds it.

        Raises InvalidRequest (too many), Unavailable, UnknownOutcome.
        """

        def begun(catalog: Catalog) -> Delete:
            number = 1 + max((known.id for known in catalog.deletes), default=0)
            waiting = sum(known.tenant == delete.tenant for known in pending(catalog.deletes))
            if waiting >= DELETES_PENDING_MAX:
                raise InvalidRequest(
                    f"{waiting} deletes are under way, {DELETES_PENDING_MAX} are allowed: put conditions together, as "
                    "in usr.id IN (1, 2), or wait until some are done"
                )
            return replace(delete, id=number, created_at_us=self._clock.now_us())

        return self._change_delete(begun)

    def update_delete(self, delete: Delete) -> Delete:
        """Store how far a delete has come. Raises Unavailable, UnknownOutcome: it may be repeated."""
        return self._change_delete(lambda catalog: delete)

    def retentions(self, tenant: str) -> Mapping[str, Retention]:
        """The retentions of a tenant by stream, known as deletes() are."""
        with self._lock:
            known = self._known
        return (known if known.version else self.load()).retentions.get(tenant, {})

    def tenants_with_retention(self) -> list[str]:
        """The tenants that have any, read anew."""
        return sorted(self.load().retentions)

    def set_retention(self, tenant: str, stream: str, retention: Retention) -> None:
        """Keep events of a stream that is there, or by default those of a tenant, for so long.

        Raises InvalidSettings, NotFound, Unavailable, UnknownOutcome.
        """
        check_retention(retention)
        if stream != TENANT_DEFAULT:
            self.get(tenant, stream)
        self._change(lambda catalog: catalog.with_retention(tenant, stream, retention))

    def _change_delete(self, change: Callable[[Catalog], Delete]) -> Delete:
        changed: list[Delete] = []

        def following(catalog: Catalog) -> Catalog:
            changed.append(change(catalog))
            return catalog.with_delete(changed[-1])

        self._change(following)
        return changed[-1]

    def _change(self, change: Callable[[Catalog], Catalog]) -> None:
        for _ in range(_RACES_MAX):
            following = change(self.load())
            try:
                created = self._try_create(following)
            except UnknownOutcome as error:
                self._settle(error)
            if created:
                with self._lock:
                    if following.version > self._known.version:
                        self._known = following
                return
        raise Unavailable(f"{_RACES_MAX} other changes of the catalog were faster: retry")

    def _settle(self, error: UnknownOutcome) -> NoReturn:
        """Learn whether what has an unknown outcome happened, as far as that can be told, and raise `error`."""
        with suppress(Unavailable):
            self.load()
        raise error

    def _stamped(self, settings: StreamSettings) -> StreamSettings:
        now_us = settings.created_at_us or self._clock.now_us()
        placements = settings.placements or (Placement(1, now_us, self._shards),)
        return replace(settings, created_at_us=now_us, placements=placements)

    def _try_create(self, catalog: Catalog) -> bool:
        """Make this version the newest; False when another one is there."""
        try:
            self._objects.put_new(catalog_key(catalog.version), encode_catalog(catalog))
        except AlreadyExists:
            return False
        old = catalog.version - self._versions_kept
        try:
            if old > 0:
                self._objects.delete([catalog_key(old)])
        except Unavailable:
            self.delete_failures += 1
        return True

    def known_streams(self, tenant: str) -> tuple[StreamSettings, ...]:
        """The streams of a tenant by name, as they were when the catalog was read last."""
        with self._lock:
            streams = self._known.tenants.get(tenant, {})
        return tuple(streams[name] for name in sorted(streams))

    def streams(self, tenant: str) -> tuple[StreamSettings, ...]:
        """The streams of a tenant by name, read anew; () for an unknown tenant."""
        streams = self.load().tenants.get(tenant, {})
        return tuple(streams[name] for name in sorted(streams))

    def get(self, tenant: str, stream: str) -> StreamSettings:
        """The settings of a stream, read anew only when it is not known yet; raises NotFound with the nearest name."""
        with self._lock:
            known = self._known.stream(tenant, stream)
        if known is not None:
            return known
        catalog = self.load()
        found = catalog.stream(tenant, stream)
        if found is not None:
            return found
        similar = nearest(stream, catalog.tenants.get(tenant, {}))
        hint = f"did you mean {similar!r}?" if similar else "append to it or create it first"
        raise NotFound(f"stream {stream!r} is not there: {hint}")
