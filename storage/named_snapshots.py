"""Owns named snapshots on the object store: taking, finding and dropping them, and what they lease. No Ray.

One object is a snapshot and its lease: the files that it names stay as long as it is there and not expired. Whoever
removes files that a manifest named once asks `leased_names` right before.

Taking is safe without a lock. The manifests are read first, so every file is live; a segment that is replaced
afterwards is removed only after a grace that is longer than SNAPSHOT_TAKE_S_MAX. What took longer than that, or misses
a file all the same, is no snapshot: it is deleted and taken anew.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from core.clock import Clock
from core.errors import InvalidRequest, NotFound, SnapshotExists, SnapshotExpired, Unavailable
from core.ids import ShardId, check_name, nearest
from core.limits import QUERY_SECONDS_MAX, SNAPSHOT_ATTEMPTS, SNAPSHOT_TAKE_S_MAX, SNAPSHOTS_MAX
from storage.catalog import CatalogStore
from storage.keys import FORMAT_KEY, SNAPSHOTS_PREFIX, snapshot_key, snapshots_prefix
from storage.manifest import Manifest, ManifestStore
from storage.named_snapshot_format import (
    NamedSnapshot,
    SnapshotSummary,
    decode_snapshot,
    decode_summary,
    encode_snapshot,
    names_of,
    of_tenant,
    summary_of,
)
from storage.objects import AlreadyExists, ObjectStore
from storage.placements import Placements, PlacementStore

_KEPT_MAX: Final = 8  # decoded snapshots: of 5,000 segments one takes a quarter of a second to decode
# A query that began before the end may still read.
_LEASE_US_AFTER_EXPIRY: Final = int(QUERY_SECONDS_MAX * 1e6)


class NamedSnapshots:
    """The named snapshots of a storage. Thread-safe."""

    def __init__(self, objects: ObjectStore, clock: Clock, catalog: CatalogStore) -> None:
        self._objects = objects
        self._clock = clock
        self._catalog = catalog
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, tuple[bytes, NamedSnapshot]] = OrderedDict()

    def take(
        self,
        tenant: str | None,
        name: str,
        ttl_s: float | None,
        shards: Iterable[ShardId],
        flush: Callable[[], object],
    ) -> SnapshotSummary:
        """Hold what `tenant` (None: anybody) has in the store now, for `ttl_s` seconds (None: for ever).

        Whatever was acknowledged before the call is in it. `shards` are those with which the storage began, `flush`
        writes the memtables of all that there are into segments.
        Raises SnapshotExists, InvalidName, InvalidRequest (too many), Unavailable, UnknownOutcome (it may or may not be
        there: see all()).
        """
        key = snapshot_key(tenant, check_name("snapshot", name))
        self._make_room(tenant, name)
        for _ in range(SNAPSHOT_ATTEMPTS):
            flush()
            started_s = self._clock.steady_s()
            snapshot = self._now(tenant, name, ttl_s, shards)
            try:
                self._objects.put_new(key, encode_snapshot(snapshot))
            except AlreadyExists as error:
                raise _exists(name) from error
            if self._is_whole(snapshot) and self._clock.steady_s() - started_s <= SNAPSHOT_TAKE_S_MAX:
                return summary_of(snapshot)
            self._objects.delete([key])
        raise Unavailable(
            f"snapshot {name!r} was not taken: {SNAPSHOT_ATTEMPTS} times files went away meanwhile or it took longer "
            f"than {SNAPSHOT_TAKE_S_MAX:g} s; if it happens again, run malamute verify"
        )

    def get(self, tenant: str | None, name: str) -> NamedSnapshot:
        """The snapshot `name`; raises NotFound with the nearest name, SnapshotExpired, Corrupt, Unavailable."""
        key = snapshot_key(tenant, check_name("snapshot", name))
        try:
            data = self._objects.get(key)
        except NotFound as error:
            raise self._unknown(tenant, name) from error
        with self._lock:
            kept = self._kept.get(key)
        snapshot = kept[1] if kept is not None and kept[0] == data else decode_snapshot(data, f"snapshot {name!r}")
        with self._lock:
            self._kept[key] = (data, snapshot)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT_MAX:
                self._kept.popitem(last=False)
        if is_expired(snapshot, self._clock.now_us()):
            raise SnapshotExpired(f"snapshot {name!r} has expired: its files may be gone; take one with a longer ttl")
        return snapshot

    def all(self, tenant: str | None) -> list[SnapshotSummary]:
        """The snapshots of `tenant` that have not expired, by name."""
        now_us = self._clock.now_us()
        held = _held(self._objects, snapshots_prefix(tenant))
        return [summary for summary, _ in held if not is_expired(summary, now_us)]

    def drop(self, tenant: str | None, name: str) -> None:
        """Let go of a snapshot and of its files; a query that reads it fails. Raises NotFound with the nearest name."""
        key = snapshot_key(tenant, check_name("snapshot", name))
        if name not in self._names(tenant):
            raise self._unknown(tenant, name)
        self._objects.delete([key])

    def drop_expired(self) -> None:
        """Delete what holds no file any more."""
        now_us = self._clock.now_us()
        held = _held(self._objects, SNAPSHOTS_PREFIX)
        self._objects.delete([snapshot_key(one.tenant, one.name) for one, _ in held if not _is_leased(one, now_us)])

    def _make_room(self, tenant: str | None, name: str) -> None:
        """See that `name` is free, and that there are not too many others."""
        self.drop_expired()
        names = self._names(tenant)
        if name in names:
            try:
                self.get(tenant, name)
            except SnapshotExpired:
                self._objects.delete([snapshot_key(tenant, name)])
            else:
                raise _exists(name)
        if len(names) >= SNAPSHOTS_MAX:
            raise InvalidRequest(f"there are {len(names)} snapshots, {SNAPSHOTS_MAX} are allowed: drop some of them")

    def _now(self, tenant: str | None, name: str, ttl_s: float | None, shards: Iterable[ShardId]) -> NamedSnapshot:
        placements = self._placements()
        if placements.version:  # the shards that the caller knew may have been retired since
            shards = map(ShardId, placements.current.shards)
        manifests = [self._manifest(shard) for shard in shards]
        if None in manifests:
            raise Unavailable("a shard has no manifest yet: launch the deployment and try again")
        if tenant is None:
            manifests += [self._last_word(shard) for shard in sorted(placements.retired)]
        # After the manifests: every stream that they name is in it.
        catalog = self._catalog.load()
        if self._placements() != placements:
            raise _moving()
        held = tuple(replace(manifest, removed=()) for manifest in manifests if manifest is not None)
        now_us = self._clock.now_us()
        times = (now_us, None if ttl_s is None else now_us + int(ttl_s * 1e6))
        if tenant is not None:
            catalog = replace(catalog, tenants={tenant: catalog.tenants.get(tenant, {})})
            return NamedSnapshot(name, tenant, *times, catalog, tuple(of_tenant(one, tenant) for one in held))
        storage_format = self._objects.get(FORMAT_KEY)
        return NamedSnapshot(
            name, None, *times, catalog, held, storage_format, placements if placements.version else None
        )

    def _manifest(self, shard: ShardId) -> Manifest | None:
        return ManifestStore(self._objects, shard, self._clock).load()

    def _last_word(self, shard: int) -> Manifest | None:
        """What a retired shard knows of its producers; its segments and ids are its heirs', who replace them."""
        manifest = self._manifest(ShardId(shard))
        return None if manifest is None else replace(manifest, segments=(), id_runs={})

    def _placements(self) -> Placements:
        """The placements of version 0 when there are none. Raises Unavailable while segments may change their shard."""
        placements = PlacementStore(self._objects, self._clock, 0).load()
        if placements.coming is not None:
            raise _moving()
        return placements

    def _is_whole(self, snapshot: NamedSnapshot) -> bool:
        names = names_of(snapshot)
        prefixes = {"/".join(name.split("/")[:2]) for name in names}  # a segment may have come from another shard
        there = {info.key for prefix in sorted(prefixes) for info in self._objects.list(f"{prefix}/")}
        return names <= there

    def _names(self, tenant: str | None) -> list[str]:
        return [info.key.rpartition("/")[2] for info in self._objects.list(snapshots_prefix(tenant))]

    def _unknown(self, tenant: str | None, name: str) -> NotFound:
        names = self._names(tenant)
        similar = nearest(name, names)
        there = f"there are: {', '.join(names[:10])}" if names else "there are none"
        return NotFound(f"snapshot {name!r} is not there: {f'did you mean {similar!r}?' if similar else there}")


def leased_names(objects: ObjectStore, now_us: int) -> set[str]:
    """The names of all segments, indexes and runs of ids that named snapshots hold at `now_us`: these may not go.

    Raises Corrupt, Unavailable: then nothing may be removed.
    """
    held = _held(objects, SNAPSHOTS_PREFIX)
    return set().union(*(names for summary, names in held if _is_leased(summary, now_us)))


def snapshots_of_stream(
    objects: ObjectStore, now_us: int, tenant: str, stream: str
) -> Iterator[tuple[str, NamedSnapshot]]:
    """Key and content, of `tenant` alone, of every named snapshot that holds files of a stream at `now_us`.

    Raises Corrupt, Unavailable: then nobody knows what is held.
    """
    for info in objects.list(SNAPSHOTS_PREFIX):
        try:
            data = objects.get(info.key)
        except NotFound:
            continue  # dropped since
        summary, _ = decode_summary(data, f"snapshot {info.key!r}")
        if summary.tenant not in (None, tenant) or not _is_leased(summary, now_us):
            continue
        snapshot = decode_snapshot(data, f"snapshot {info.key!r}")
        manifests = tuple(of_tenant(manifest, tenant) for manifest in snapshot.manifests)
        if any(segment.stream == stream for manifest in manifests for segment in manifest.segments):
            yield info.key, replace(snapshot, tenant=tenant, manifests=manifests)


def is_expired(snapshot: NamedSnapshot | SnapshotSummary, now_us: int) -> bool:
    """Whether queries may not begin to read it any more."""
    return snapshot.expires_at_us is not None and now_us >= snapshot.expires_at_us


def _is_leased(snapshot: SnapshotSummary, now_us: int) -> bool:
    """Whether its files may not be removed yet: a query that began in time may still run."""
    return not is_expired(snapshot, now_us - _LEASE_US_AFTER_EXPIRY)


def _held(objects: ObjectStore, prefix: str) -> list[tuple[SnapshotSummary, list[str]]]:
    """The snapshots below `prefix`, by key, and the names that each holds."""
    held = []
    for info in objects.list(prefix):
        try:
            held.append(decode_summary(objects.get(info.key), f"snapshot {info.key!r}"))
        except NotFound:
            continue  # dropped since
    return held


def _moving() -> Unavailable:
    return Unavailable("the number of shards is being changed: try again when 'malamute status' says that it is done")


def _exists(name: str) -> SnapshotExists:
    return SnapshotExists(f"snapshot {name!r} is there already: use it, drop it, or take another name")
