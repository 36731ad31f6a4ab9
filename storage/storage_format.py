"""Owns `format.json`, which says at the root of a storage what wrote it and for how many shards. Written once."""

from __future__ import annotations

import json
from typing import Final

from core.errors import Corrupt, InvalidSettings, NotFound
from storage.keys import FORMAT_KEY, RESTORE_KEY
from storage.objects import AlreadyExists, ObjectStore

STORAGE_FORMAT: Final = 1


def open_storage(objects: ObjectStore, shards: int) -> None:
    """Mark a new storage, or check that an existing one is of this format and of `shards` shards.

    Raises InvalidSettings (other number of shards, or a restore into it was cut off), Corrupt (newer format, or not
    ours), Unavailable.
    """
    if _is_unfinished(objects):
        raise InvalidSettings("a restore or clone into this storage was cut off: run the same command again")
    wanted = {"malamute_format": STORAGE_FORMAT, "shards": shards}
    try:
        found = objects.get(FORMAT_KEY)
    except NotFound:
        try:
            objects.put_new(FORMAT_KEY, json.dumps(wanted).encode() + b"\n")
            return
        except AlreadyExists:
            found = objects.get(FORMAT_KEY)
    try:
        present = json.loads(found)
        version, present_shards = int(present["malamute_format"]), int(present["shards"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{FORMAT_KEY} at the storage root cannot be read: use an empty storage or restore it") from error
    if version > STORAGE_FORMAT:
        raise Corrupt(f"storage has format {version}, this release reads up to {STORAGE_FORMAT}: upgrade")
    if present_shards != shards:
        raise InvalidSettings(
            f"storage was made with {present_shards} shards, the settings say {shards}: set shards to {present_shards}"
        )


def _is_unfinished(objects: ObjectStore) -> bool:
    try:
        objects.get(RESTORE_KEY)
    except NotFound:
        return False
    return True
