"""Owns `format.json`, which says at the root of a storage what wrote it and how many shards it began with."""

from __future__ import annotations

import json
from typing import Final

from core.errors import Corrupt, InvalidSettings, NotFound
from storage.keys import FORMAT_KEY, RESTORE_KEY
from storage.objects import AlreadyExists, ObjectStore, is_there

STORAGE_FORMAT: Final = 1


def open_storage(objects: ObjectStore, shards: int) -> int:
    """Mark a new storage as one of `shards` shards, or check the format of an existing one; how many it began with.

    Raises InvalidSettings (a restore into it was cut off), Corrupt (newer format, or not ours), Unavailable.
    """
    if is_there(objects, RESTORE_KEY):
        raise InvalidSettings("a restore into this storage was cut off: run it again; after a clone, empty it first")
    wanted = {"malamute_format": STORAGE_FORMAT, "shards": shards}
    try:
        found = objects.get(FORMAT_KEY)
    except NotFound:
        try:
            objects.put_new(FORMAT_KEY, json.dumps(wanted).encode() + b"\n")
            return shards
        except AlreadyExists:
            found = objects.get(FORMAT_KEY)
    try:
        present = json.loads(found)
        version, present_shards = int(present["malamute_format"]), int(present["shards"])
    except (ValueError, KeyError, TypeError) as error:
        raise Corrupt(f"{FORMAT_KEY} at the storage root cannot be read: use an empty storage or restore it") from error
    if version > STORAGE_FORMAT:
        raise Corrupt(f"storage has format {version}, this release reads up to {STORAGE_FORMAT}: upgrade")
    return present_shards


def shards_at_first(objects: ObjectStore) -> int | None:
    """How many shards a storage began with, None when there is none yet; raises what open_storage raises."""
    return open_storage(objects, 1) if is_there(objects, FORMAT_KEY) else None
