"""Owns the manifest of one shard on the object store: who may move it, and how. Never looks inside a segment.

The compare-and-swap is create-if-absent of the next version's key. A writer takes an epoch first; whoever finds a
newer epoch in its way is fenced for good. After every create the writer looks for newer versions, because a writer
that was paused long enough could create a number anew that was already deleted.

A publish with an unknown outcome is settled, by creating the very same object again, before anything else is
published: create-if-absent makes that harmless whichever way it went.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from core.clock import Clock
from core.errors import Corrupt, Fenced, InvalidSettings, InvariantViolation, NotFound, Unavailable, UnknownOutcome
from core.ids import ShardId
from core.limits import MANIFEST_VERSIONS_KEPT
from storage.keys import manifest_key, manifest_prefix, version_of
from storage.manifest_format import (
    Manifest,
    ManifestEdit,
    PackedSegments,
    WalStart,
    apply_edit,
    check_successor,
    decode_manifest,
    encode_manifest,
)
from storage.objects import AlreadyExists, ObjectStore

__all__ = ["Manifest", "ManifestEdit", "ManifestStore"]

# Each lost race means that another writer moved on; this many in a row is a fight that someone must look at.
_RACES_MAX = 1_000


def random_writer() -> int:
    """A random number of 63 bits."""
    return secrets.randbits(63)


@dataclass(slots=True)
class _Unsettled:
    """A publish under way; `doubtful` once an attempt may have created its object."""

    edit: ManifestEdit
    manifest: Manifest
    data: bytes
    doubtful: bool = False


class ManifestStore:
    """The manifests of one shard. load() is for anyone; publish() for the one owner of an epoch. Thread-safe.

    `wal_on_objects` says where this deployment keeps the WAL of a shard; it is settled by the shard's first manifest.
    """

    def __init__(
        self,
        objects: ObjectStore,
        shard: ShardId,
        clock: Clock,
        *,
        new_writer: Callable[[], int] = random_writer,
        versions_kept: int = MANIFEST_VERSIONS_KEPT,
        wal_on_objects: bool = False,
    ) -> None:
        self._objects = objects
        self._shard = shard
        self._clock = clock
        self._writer = new_writer()
        self._versions_kept = versions_kept
        self._wal_on_objects = wal_on_objects
        self._lock = threading.RLock()
        self._current: Manifest | None = None
        self._unsettled: _Unsettled | None = None
        self._fenced: str | None = None
        self._packed = PackedSegments()
        self._doomed: set[str] = set()
        self.delete_failures = 0

    def load(self) -> Manifest | None:
        """The newest manifest, or None before the first; raises Corrupt, Unavailable."""
        for _ in range(_RACES_MAX):
            found = self._objects.list(manifest_prefix(self._shard))
            if not found:
                return None
            key = found[-1].key
            try:
                data = self._objects.get(key)
            except NotFound:
                continue  # newer ones were published and this one deleted since the listing
            manifest = decode_manifest(data, f"manifest {key!r}")
            if (manifest.shard, manifest.version) != (self._shard, version_of(key)):
                raise Corrupt(f"manifest {key!r} says shard {manifest.shard} version {manifest.version}: restore it")
            return manifest
        raise Unavailable(f"shard {self._shard} publishes faster than its manifest can be read: retry")

    def take_epoch(self) -> Manifest:
        """Become the owner: publish the newest manifest again under the next epoch, which fences all older ones.

        Raises Unavailable, Corrupt, InvalidSettings (the WAL of the shard is kept elsewhere), or UnknownOutcome (take
        another epoch; the lost one is used by nobody).
        """
        with self._lock:
            for _ in range(_RACES_MAX):
                taken = self._try_take()
                if taken is not None:
                    self._current, self._unsettled, self._fenced = taken, None, None
                    oldest_kept = taken.version - self._versions_kept + 1
                    found = self._objects.list(manifest_prefix(self._shard))
                    self._doomed = {info.key for info in found if version_of(info.key) < oldest_kept}
                    self._collect()
                    return taken
            raise Unavailable(f"shard {self._shard}: {_RACES_MAX} other owners were faster: retry")

    def _try_take(self) -> Manifest | None:
        before = self.load() or Manifest(self._shard, 0, 0)
        self.check_wal(before)
        if before.version == 0:
            # Nobody owned it yet: it is new, or was restored. Its WAL begins where this owner wants it.
            before = replace(before, wal_start=WalStart(before.epoch + 1, 0) if self._wal_on_objects else None)
        candidate = replace(
            before,
            version=before.version + 1,
            epoch=before.epoch + 1,
            created_at_us=max(self._clock.now_us(), before.created_at_us),
            writer=self._writer,
        )
        check_successor(before, candidate)
        key = manifest_key(self._shard, candidate.version)
        try:
            self._objects.put_new(key, encode_manifest(candidate, self._packed))
        except AlreadyExists:
            return None
        newer = self._objects.list(manifest_prefix(self._shard), after=key)
        return None if newer else candidate

    def check_wal(self, manifest: Manifest) -> None:
        """Refuse to serve a shard without its WAL: events that were acknowledged would be missing silently."""
        if manifest.version == 0 or (manifest.wal_start is not None) == self._wal_on_objects:
            return
        where, setting = ("a local disk", "local") if manifest.wal_start is None else ("the object store", "object")
        raise InvalidSettings(f"the wal of shard {self._shard} is on {where}: set durability to {setting!r}")

    def newer_epoch(self, epoch: int) -> int | None:
        """The newest epoch when it is above `epoch`, else None: whether an owner was replaced."""
        newest = self.load()
        return newest.epoch if newest is not None and newest.epoch > epoch else None

    def publish(self, edit: ManifestEdit) -> Manifest:
        """Apply `edit` to the current manifest and make the result the newest.

        Raises Fenced (a newer epoch owns the shard: open it again; when it took over from this very version, its
        manifest holds the edit), InvariantViolation, Unavailable (not published) or UnknownOutcome. After
        UnknownOutcome publish again: should the first have happened, an edit to the same WAL floor is not applied
        twice, and the manifest that holds it is returned.
        """
        with self._lock:
            current = self._owned()
            unsettled = self._unsettled
            if unsettled is not None:
                current = self._settle(unsettled)
                if _repeats(edit, unsettled.edit):
                    return current
            candidate = replace(apply_edit(current, edit, self._clock.now_us()), writer=self._writer)
            data = encode_manifest(candidate, self._packed)
            self._unsettled = _Unsettled(edit, candidate, data)
            return self._settle(self._unsettled)

    def settled(self) -> Manifest:
        """The current manifest, once it is certain whether an earlier publish happened. Raises what publish raises."""
        with self._lock:
            return self._owned() if self._unsettled is None else self._settle(self._unsettled)

    def retire_before(self, version: int) -> None:
        """Delete the versions before `version`, however few are left. Raises Unavailable."""
        with self._lock:
            oldest_kept = max(0, self._owned().version - self._versions_kept)
            self._objects.delete([manifest_key(self._shard, number) for number in range(oldest_kept, version)])

    def _owned(self) -> Manifest:
        if self._fenced is not None:
            raise Fenced(self._fenced)
        current = self._current
        if current is None:
            message = f"shard {self._shard} was published to before its epoch was taken"
            raise InvariantViolation(f"MAN-2: {message}", invariant="MAN-2")
        return current

    def _settle(self, unsettled: _Unsettled) -> Manifest:
        """Create the object until it is certain whether it became the newest; then it is the current one."""
        manifest = unsettled.manifest
        key = manifest_key(self._shard, manifest.version)
        try:
            self._create(key, unsettled)
            newer = self._objects.list(manifest_prefix(self._shard), after=key)
        except UnknownOutcome:
            unsettled.doubtful = True
            raise
        except Unavailable as error:
            if not unsettled.doubtful:
                self._unsettled = None
                raise
            raise UnknownOutcome(f"manifest {key!r} may or may not be published: {error}") from error
        if newer:
            self._lost(manifest)
        self._current, self._unsettled = manifest, None
        if manifest.version >= self._versions_kept:
            self._doomed.add(manifest_key(self._shard, manifest.version - self._versions_kept))
        self._collect()
        return manifest

    def _create(self, key: str, unsettled: _Unsettled) -> None:
        try:
            self._objects.put_new(key, unsettled.data)
        except AlreadyExists:
            # A definite conflict, unless an earlier attempt of this very publish may have arrived late.
            if not (unsettled.doubtful and self._holds(key, unsettled.data)):
                self._lost(unsettled.manifest)
        unsettled.doubtful = True  # it is there; whether it is the newest is not known yet

    def _holds(self, key: str, data: bytes) -> bool:
        try:
            return self._objects.get(key) == data
        except NotFound:
            return False  # so old that a newer owner deleted it

    def _lost(self, manifest: Manifest) -> NoReturn:
        """Another manifest stands where ours should: raise Fenced, or InvariantViolation when nobody fenced us."""
        self._unsettled = None
        newest = self.load()
        epoch = newest.epoch if newest else 0
        if epoch > manifest.epoch:
            self._fenced = (
                f"shard {self._shard} epoch {manifest.epoch} was fenced by epoch {epoch}: open the shard again"
            )
            raise Fenced(self._fenced)
        message = f"shard {self._shard} has a second writer in epoch {manifest.epoch} at version {manifest.version}"
        raise InvariantViolation(f"MAN-2: {message}", invariant="MAN-2")

    def _collect(self) -> None:
        """Delete versions beyond those kept; what cannot be deleted now is tried again at the next publish."""
        try:
            self._objects.delete(sorted(self._doomed))
        except Unavailable:
            self.delete_failures += 1
        else:
            self._doomed.clear()


def _repeats(edit: ManifestEdit, earlier: ManifestEdit) -> bool:
    """Whether `edit` is `earlier` tried again: a flush to the same WAL floor, though under new segment names, or the
    same placement, though under new names of runs.
    """
    if edit.placement is not None and earlier.placement is not None:
        return edit.placement.version == earlier.placement.version
    if edit.wal_floor is None or edit.remove or earlier.remove:
        return edit == earlier
    return edit.wal_floor == earlier.wal_floor
