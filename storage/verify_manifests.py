"""Owns verifying what describes a storage: format.json, placements, catalog, all kept manifests. Read-only."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from core.errors import Corrupt, InvalidRequest, InvariantViolation, MalamuteError, NotFound
from core.placement import first_placement
from storage.catalog import Catalog, decode_catalog
from storage.keys import CATALOG_PREFIX, FORMAT_KEY, PLACEMENTS_PREFIX, SHARDS_PREFIX, manifest_prefix, version_of
from storage.manifest import Manifest
from storage.manifest_format import check_successor, decode_manifest
from storage.objects import ObjectStore
from storage.placements import Placements, load_placements
from storage.storage_format import STORAGE_FORMAT
from storage.stream_settings import check_settings
from storage.verify_producers import check_states
from storage.verify_report import CORRUPT, DOUBLE, MISSING, ORPHAN, RETRY, UNREADABLE, WRONG, Findings

T = TypeVar("T", Catalog, Manifest)

_SHARD: Final = re.compile(r"shards/(\d{4,})/")
_NO_OLD: Final = "nothing that runs needs this older version; remove it, or restore it from a backup"


@dataclass(slots=True)
class Versions:
    """How many versions were read, their bytes."""

    count: int = 0
    bytes: int = 0


def placements_of(objects: ObjectStore, found: Findings) -> tuple[Placements, int]:
    """(the newest placements, bytes of format.json); raises NotFound when there is no storage at all.

    What cannot be read is a finding; then all shards of which there is anything count as in force.
    """
    keys = [info.key for info in objects.list(SHARDS_PREFIX)]
    numbers = {int(match[1]) for key in keys if (match := _SHARD.match(key))}
    present = max(numbers, default=-1) + 1
    try:
        data = objects.get(FORMAT_KEY)
    except NotFound:
        if not keys and not objects.list(CATALOG_PREFIX):
            raise
        found.add(MISSING, FORMAT_KEY, f"it is not there, though there are objects of {present} shards")
        return _newest_placements(objects, max(present, 1), found), 0
    stated = _stated_shards(data, found)
    placements = _newest_placements(objects, stated or max(present, 1), found)
    if stated is not None and placements.next_shard < present:
        where, what = (FORMAT_KEY, stated) if placements.version == 0 else (PLACEMENTS_PREFIX, placements.next_shard)
        found.add(WRONG, where, f"it says {what} shards, there are objects of {present}")
        placements = Placements(placements.version, (first_placement(present),), present)
    return placements, len(data)


def _newest_placements(objects: ObjectStore, first_shards: int, found: Findings) -> Placements:
    try:
        return load_placements(objects, first_shards)
    except Corrupt as error:
        found.add(CORRUPT, PLACEMENTS_PREFIX, str(error), "restore it from a backup: nothing is served without it")
    except MalamuteError as error:
        found.add(UNREADABLE, PLACEMENTS_PREFIX, str(error), RETRY)
    return Placements(0, (first_placement(first_shards),), first_shards)


def _stated_shards(data: bytes, found: Findings) -> int | None:
    try:
        plain = json.loads(data)
        version, shards = plain["malamute_format"], plain["shards"]
        if type(version) is not int or type(shards) is not int or shards < 1 or version < 1:
            raise ValueError(f"format {version!r}, shards {shards!r}")
    except (ValueError, KeyError, TypeError) as error:
        found.add(CORRUPT, FORMAT_KEY, f"it cannot be read: {error}")
        return None
    if version > STORAGE_FORMAT:
        message = f"it says format {version}, this release reads up to {STORAGE_FORMAT}"
        found.add(CORRUPT, FORMAT_KEY, message, "verify with the release that wrote it, or restore it")
    elif len(plain) == 2 and data != json.dumps(plain).encode() + b"\n":
        found.add(CORRUPT, FORMAT_KEY, "it reads, but its bytes are not those that were written")
    return shards


def catalog_of(objects: ObjectStore, shards: int, found: Findings) -> tuple[Catalog | None, Versions]:
    """The newest catalog (None: there is none that reads) after looking at all versions that are kept."""
    counted = Versions()
    newest = None
    for catalog in _versions(objects, CATALOG_PREFIX, decode_catalog, found, counted):
        newest = catalog
    if newest is None:
        return (None if found.has(CORRUPT, UNREADABLE) else Catalog()), counted
    for tenant, streams in newest.tenants.items():
        for name, settings in streams.items():
            try:
                check_settings(settings)
            except (InvalidRequest, TypeError) as error:
                found.add(WRONG, CATALOG_PREFIX, f"the settings of stream {tenant}/{name} are not allowed: {error}")
            beyond = [placement for placement in settings.placements if placement.shards > shards]
            if beyond:
                message = f"stream {tenant}/{name} is placed on {beyond[0].shards} shards, there are {shards}"
                found.add(WRONG, CATALOG_PREFIX, message)
    return newest, counted


def _versions(
    objects: ObjectStore, prefix: str, decode: Callable[[bytes, str], T], found: Findings, counted: Versions
) -> list[T]:
    """The newest one or none, after every kept version was read; at most two are in memory."""
    infos = objects.list(prefix)
    before: T | None = None
    newest: list[T] = []
    for info in infos:
        is_newest = info is infos[-1]
        try:
            data = objects.get(info.key)
            counted.count += 1
            counted.bytes += len(data)
            value = decode(data, "this version")
            if value.version != version_of(info.key):
                raise Corrupt(f"it says that it is version {value.version}")
        except NotFound:
            continue  # deleted since, as old versions are
        except Corrupt as error:
            advice = _NO_OLD if not is_newest else "restore it from a backup: nothing is served without it"
            found.add(CORRUPT, info.key, str(error), advice)
            before = None
            continue
        except MalamuteError as error:
            found.add(UNREADABLE, info.key, str(error), RETRY)
            before = None
            continue
        if isinstance(value, Manifest):
            _check_manifest(before if isinstance(before, Manifest) else None, value, info.key, prefix, found)
        before = value
        if is_newest:
            newest = [value]
    return newest


def _check_manifest(before: Manifest | None, manifest: Manifest, key: str, prefix: str, found: Findings) -> None:
    if manifest_prefix(manifest.shard) != prefix:
        found.add(CORRUPT, key, f"it says that it is of shard {manifest.shard}")
        return
    names = [segment.name for segment in manifest.segments]
    for name in sorted({name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else ()):
        found.add(DOUBLE, key, f"it names segment {name} {names.count(name)} times: its events count more than once")
    if before is None or before.version + 1 != manifest.version:
        before = Manifest(manifest.shard, manifest.version - 1, manifest.epoch, wal_start=manifest.wal_start)
    try:
        check_successor(before, manifest)
    except InvariantViolation as error:
        if error.invariant != "MAN-5":
            found.add(WRONG, key, f"it breaks an invariant of manifests, {error}")
    except TypeError as error:
        found.add(WRONG, key, f"it holds values of other types: {error}")
    check_states(manifest, key, found)


def check_manifests(objects: ObjectStore, shard: int, found: Findings) -> Versions:
    """Look at all kept manifests of a shard; returns how many there were."""
    counted = Versions()
    _versions(objects, manifest_prefix(shard), decode_manifest, found, counted)
    return counted


def note_strangers(objects: ObjectStore, shards: int, found: Findings) -> None:
    """Warn of objects below shards/ that belong to none of the shards."""
    for info in objects.list(SHARDS_PREFIX):
        match = _SHARD.match(info.key)
        if match is None or int(match[1]) >= shards:
            found.add(ORPHAN, info.key, "no shard of this storage writes there", "remove it if it is not yours")
