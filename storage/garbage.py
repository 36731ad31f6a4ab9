"""Owns the deletion of what was replaced: the files of removed segments, once nothing may read them. Never publishes.

A removed segment is read by queries that took their snapshot before, by older versions of the manifest that are kept,
and by named snapshots. So it stays for a grace that is longer than any query; then the versions that still name it are
deleted, then its files, unless a named snapshot holds them; then the manifest forgets it. A crash in between leaves
files that are deleted again, never a file that is needed less than it is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from core.clock import Clock
from storage.keys import index_key
from storage.manifest import Manifest, ManifestEdit, ManifestStore
from storage.manifest_format import RemovedSegment
from storage.named_snapshots import leased_names
from storage.objects import ObjectStore


def garbage(
    removed: Iterable[RemovedSegment], now_us: int, grace_s: float, leased: Collection[str]
) -> list[RemovedSegment]:
    """Which of the removed segments nothing may read any more at `now_us`; `leased` names those that snapshots hold."""
    latest_us = now_us - int(grace_s * 1e6)
    return [segment for segment in removed if segment.at_us <= latest_us and segment.name not in leased]


def delete_garbage(
    manifest: Manifest, manifests: ManifestStore, objects: ObjectStore, clock: Clock, grace_s: float
) -> tuple[str, ...]:
    """Delete what is due of the shard whose owner asks; returns the names, which are to be forgotten.

    Raises Unavailable, or Corrupt when a snapshot does not read: what it holds is not known, so everything stays.
    """
    now_us = clock.now_us()
    if manifest.sealed > manifest.served or not garbage(manifest.removed, now_us, grace_s, ()):
        return ()  # what a sealed shard has to delete is deleted by its heir
    due = garbage(manifest.removed, now_us, grace_s, leased_names(objects, now_us))
    if due:
        manifests.retire_before(max(segment.version for segment in due))
        objects.delete([key for segment in due for key in (segment.name, index_key(segment.name))])
    return tuple(segment.name for segment in due)


def forgetting(manifest: Manifest, names: Collection[str]) -> ManifestEdit | str:
    """The edit that forgets the removed segments of these names, whose files are gone, or why there is none."""
    forget = tuple(segment.name for segment in manifest.removed if segment.name in names)
    return ManifestEdit(forget=forget) if forget else "they were forgotten by a publish whose answer was lost"
