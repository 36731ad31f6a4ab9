"""Owns making a storage of a snapshot of all tenants: from a backup, or beside the storage that has it. No Ray.

Every shard gets a manifest of version 0, which nobody has owned yet: whoever opens it first begins a WAL for it. Until
all is there, `restore.json` keeps deployments from beginning on a part; a restore that was cut off goes on.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace

from core.errors import Corrupt, InvalidRequest, NotFound, Unavailable
from storage.backup import read_backup_file
from storage.catalog import encode_catalog
from storage.keys import FORMAT_KEY, RESTORE_KEY, SHARDS_PREFIX, catalog_key, manifest_key, placements_key
from storage.local_objects import LocalObjectStore
from storage.manifest_format import encode_manifest
from storage.named_snapshot_format import NamedSnapshot
from storage.objects import AlreadyExists, ObjectStore
from storage.placements import encode_placements
from storage.snapshot_files import Copied, OnCopied, SnapshotFile, copy_all, create_once, files_of, verified


def restore(
    backup: NamedSnapshot, store: ObjectStore, target: ObjectStore, on_copied: OnCopied | None = None
) -> Copied:
    """Make a storage of `backup`, whose files are in `store`. `target` is empty, or holds a part of this very restore.

    Raises InvalidRequest (it is not empty), Corrupt (a file of the backup is damaged or missing), Unavailable,
    UnknownOutcome (call again).
    """

    def copy(file: SnapshotFile) -> None:
        create_once(target, file.name, read_backup_file(store, file))

    return _make(backup, target, copy, on_copied)


def clone(
    snapshot: NamedSnapshot, source: ObjectStore, target: ObjectStore, on_copied: OnCopied | None = None
) -> Copied:
    """Make a storage of `snapshot`, which is of the storage `source` and is not dropped meanwhile; as restore().

    On one local file system both have the same files on disk, under names of their own: neither can remove the other's.
    Elsewhere files are copied.
    """

    def share(file: SnapshotFile) -> None:
        if not _linked(source, target, file):
            create_once(target, file.name, verified(file, source.get(file.name), "the storage"))

    return _make(snapshot, target, share, on_copied)


def _make(
    snapshot: NamedSnapshot,
    target: ObjectStore,
    bring: Callable[[SnapshotFile], None],
    on_copied: OnCopied | None,
) -> Copied:
    _begin(snapshot, target)
    there = {info.key: info.size for info in target.list(SHARDS_PREFIX)}
    done = copy_all(files_of(snapshot), lambda file: there.get(file.name) == file.bytes, bring, on_copied)
    create_once(target, catalog_key(snapshot.catalog.version), encode_catalog(snapshot.catalog))
    if snapshot.placements is not None:
        create_once(target, placements_key(snapshot.placements.version), encode_placements(snapshot.placements))
    for manifest in snapshot.manifests:
        create_once(
            target, manifest_key(manifest.shard, 0), encode_manifest(replace(manifest, version=0, wal_start=None))
        )
    create_once(target, FORMAT_KEY, snapshot.storage_format)
    target.delete([RESTORE_KEY])
    return done


def _begin(snapshot: NamedSnapshot, target: ObjectStore) -> None:
    """See that `target` is empty, or is what an earlier attempt at the same left."""
    ticket = json.dumps({"snapshot": snapshot.name, "created_at_us": snapshot.created_at_us}).encode() + b"\n"
    try:
        found = target.get(RESTORE_KEY)
    except NotFound:
        present = target.list("")
        if present:
            raise InvalidRequest(f"the target is not empty, it holds {present[0].key!r}: name an empty one") from None
        target.put_new(RESTORE_KEY, ticket)
        return
    if found != ticket:
        raise InvalidRequest(
            "another restore, or a clone, into the target was cut off: restore that backup again, or empty the target"
        )
    target.remove_unfinished("")


def _linked(source: ObjectStore, target: ObjectStore, file: SnapshotFile) -> bool:
    """Whether `target` has the file of `source` on its disk now, under its own name."""
    path = source.local_path(file.name)
    if path is None or not isinstance(target, LocalObjectStore):
        return False
    if len(source.get_range(file.name, file.bytes - 1, 2)) != 1:
        raise Corrupt(f"{file.name} in the storage does not have the {file.bytes} bytes that were published")
    try:
        target.link_new(file.name, path)
    except AlreadyExists:
        return True
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            return False  # another file system, or one without links
        raise Unavailable(f"cannot link {path}: {error.strerror}: retry") from error
    return True
