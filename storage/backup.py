"""Owns backups: what a snapshot of all tenants holds, copied elsewhere, and the way back. No Ray; decides no schedule.

    backups/<time>                   the snapshot (named_snapshot_format.py), written when all its files are there
    files/<name>.<crc32c>.<ending>   segments, indexes and runs of ids, of all backups together

A file is copied once, whichever backups need it: its key says name and content. Names differ from those of a storage,
so that a deployment launched there by mistake finds nothing, and removes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from core.errors import Corrupt, InvalidRequest, NotFound
from core.ids import nearest
from storage.keys import FORMAT_KEY
from storage.named_snapshot_format import (
    NamedSnapshot,
    SnapshotSummary,
    decode_snapshot,
    decode_summary,
    encode_snapshot,
)
from storage.objects import AlreadyExists, ObjectStore, is_there
from storage.snapshot_files import Copied, OnCopied, SnapshotFile, copy_all, create_once, files_of, verified

BACKUPS_PREFIX: Final = "backups/"
FILES_PREFIX: Final = "files/"


def back_up(
    snapshot: NamedSnapshot, source: ObjectStore, target: ObjectStore, on_copied: OnCopied | None = None
) -> tuple[str, Copied]:
    """Copy what `target` does not have of `snapshot`, which nobody drops meanwhile; returns the backup's name.

    Raises InvalidRequest (a storage lies there), Corrupt (a file of `source` is damaged or missing), Unavailable,
    UnknownOutcome. What was cut off is gone on with by the next backup.
    """
    if is_there(target, FORMAT_KEY):
        raise InvalidRequest("a malamute storage lies there: name another place for backups")
    name = _name(snapshot.created_at_us)
    there = {info.key: info.size for info in target.list(FILES_PREFIX)}

    def copy(file: SnapshotFile) -> None:
        data = verified(file, _read(source, file.name, "the storage"), "the storage")
        create_once(target, backup_file_key(file), data)

    done = copy_all(files_of(snapshot), lambda file: there.get(backup_file_key(file)) == file.bytes, copy, on_copied)
    kept = replace(snapshot, name=name, expires_at_us=None)
    try:
        target.put_new(BACKUPS_PREFIX + name, encode_snapshot(kept))
    except AlreadyExists as error:
        raise InvalidRequest(f"a backup of this very moment, {name}, is there already: back up again") from error
    return name, done


def backups(store: ObjectStore) -> list[SnapshotSummary]:
    """All backups, oldest first. Raises Corrupt, Unavailable."""
    keys = [info.key for info in store.list(BACKUPS_PREFIX)]
    return [decode_summary(store.get(key), f"backup {key!r}")[0] for key in keys]


def load_backup(store: ObjectStore, name: str | None = None) -> NamedSnapshot:
    """The backup `name`, None: the newest. Raises NotFound with the nearest name, Corrupt, Unavailable."""
    names = [info.key.removeprefix(BACKUPS_PREFIX) for info in store.list(BACKUPS_PREFIX)]
    if not names:
        raise NotFound("there is no backup there: make one with 'malamute backup'")
    if name is not None and name not in names:
        similar = nearest(name, names)
        there = f"did you mean {similar!r}?" if similar else f"there are: {', '.join(names[-10:])}"
        raise NotFound(f"backup {name!r} is not there: {there}")
    key = BACKUPS_PREFIX + (name or names[-1])
    return decode_snapshot(store.get(key), f"backup {key!r}")


def check_backup(store: ObjectStore, backup: NamedSnapshot, on_copied: OnCopied | None = None) -> Copied:
    """Read every file of `backup`; raises Corrupt when one is missing or damaged, Unavailable."""
    return copy_all(files_of(backup), lambda file: False, lambda file: read_backup_file(store, file), on_copied)


def read_backup_file(store: ObjectStore, file: SnapshotFile) -> bytes:
    """The bytes of a file of a backup; raises Corrupt when it is missing or damaged, Unavailable."""
    return verified(file, _read(store, backup_file_key(file), "the backup"), "the backup")


def backup_file_key(file: SnapshotFile) -> str:
    """The key of a file of backups: its name and content, with the ending that readers of Parquet look for."""
    stem, _, ending = file.name.rpartition(".")
    return f"{FILES_PREFIX}{stem}.{file.crc32c:08x}.{ending}"


def _read(store: ObjectStore, key: str, where: str) -> bytes:
    try:
        return store.get(key)
    except NotFound as error:
        raise Corrupt(f"{key} is missing in {where}") from error


def _name(time_us: int) -> str:
    milliseconds = time_us // 1_000
    seconds = datetime.fromtimestamp(milliseconds // 1_000, UTC)
    return f"{seconds:%Y%m%dT%H%M%S}.{milliseconds % 1_000:03d}Z"
