"""Owns the names of objects below a storage root. Never reads or writes one.

    format.json                                                    storage_format.py
    catalog/<version:020d>                                         catalog.py
    placements/<version:020d>                                      placements.py
    snapshots/<tenant>/<name>                                      named_snapshots.py (_all: of all tenants)
    iceberg/<tenant>/<stream>/metadata/…                           iceberg/table.py: an export, which nobody here reads
    shards/<shard:04d>/manifest/<version:020d>                     manifest.py
    shards/<shard:04d>/wal/<epoch:010d>-<number:012d>              wal_object_format.py
    shards/<shard:04d>/segments/<tenant>/<stream>/<window>-<epoch:08d>-<number:08d>.parquet
    shards/<shard:04d>/segments/<tenant>/<stream>/<window>-<epoch:08d>-<number:08d>.index
    shards/<shard:04d>/segments/<tenant>/<stream>/<window>-by<heir:04d>-<epoch:08d>-<number:08d>.parquet, and .index
    shards/<shard:04d>/ids/<tenant>/<stream>/<slice>-<epoch:08d>-<number:08d>.ids     dedup_run.py

Versions are padded to 20 digits, so that the order of names is the order of versions.
"""

from __future__ import annotations

import re
from typing import Final

from core.errors import Corrupt

FORMAT_KEY: Final = "format.json"
CATALOG_PREFIX: Final = "catalog/"
PLACEMENTS_PREFIX: Final = "placements/"
SHARDS_PREFIX: Final = "shards/"
SNAPSHOTS_PREFIX: Final = "snapshots/"
RESTORE_KEY: Final = "restore.json"  # while a restore into the storage is not finished

_VERSION_DIGITS: Final = 20
_ALL_TENANTS: Final = "_all"  # no tenant is called so
_SEGMENT_SUFFIX: Final = ".parquet"
_INDEX_SUFFIX: Final = ".index"
_IDS_SUFFIX: Final = ".ids"
_WAL_NAME: Final = re.compile(r"(\d{10})-(\d{12})\Z")
_ORIGIN: Final = re.compile(r"shards/(\d{4,})/segments/")
_WRITER: Final = re.compile(r"-by(\d{4,})-\d{8,}-\d{8,}\.(?:parquet|index)\Z")
_SEGMENT_NUMBER: Final = re.compile(r"-(\d{8,})-\d{8,}\.(?:parquet|index|ids)\Z")


def exports_prefix(tenant: str) -> str:
    """Prefix of a tenant's exports."""
    return f"iceberg/{tenant}/"


def catalog_key(version: int) -> str:
    """Object key of one version of the catalog."""
    return f"{CATALOG_PREFIX}{version:0{_VERSION_DIGITS}d}"


def snapshots_prefix(tenant: str | None) -> str:
    """What the keys of all named snapshots of a tenant begin with; None: those of all tenants together."""
    return f"{SNAPSHOTS_PREFIX}{tenant or _ALL_TENANTS}/"


def snapshot_key(tenant: str | None, name: str) -> str:
    """Object key of a named snapshot."""
    return snapshots_prefix(tenant) + name


def manifest_prefix(shard: int) -> str:
    """What the keys of all manifests of a shard begin with."""
    return f"shards/{shard:04d}/manifest/"


def manifest_key(shard: int, version: int) -> str:
    """Object key of one version of a shard's manifest."""
    return f"{manifest_prefix(shard)}{version:0{_VERSION_DIGITS}d}"


def version_of(key: str) -> int:
    """The version that a catalog or manifest key ends in; raises Corrupt when it ends in anything else."""
    digits = key.rpartition("/")[2]
    if len(digits) != _VERSION_DIGITS or not digits.isascii() or not digits.isdigit():
        raise Corrupt(f"object {key!r} does not end in a version of {_VERSION_DIGITS} digits: remove what is not ours")
    return int(digits)


def placements_key(version: int) -> str:
    """Object key of a version of the placements."""
    return f"{PLACEMENTS_PREFIX}{version:0{_VERSION_DIGITS}d}"


def wal_prefix(shard: int) -> str:
    """What the keys of all WAL objects of a shard begin with."""
    return f"shards/{shard:04d}/wal/"


def wal_key(shard: int, epoch: int, number: int) -> str:
    """Object key of a WAL object; the order of keys is the order of (epoch, number)."""
    return f"{wal_prefix(shard)}{epoch:010d}-{number:012d}"


def wal_position_of(key: str) -> tuple[int, int] | None:
    """The (epoch, number) of the key of a WAL object, or None when it is no such key."""
    match = _WAL_NAME.match(key.rpartition("/")[2])
    return (int(match[1]), int(match[2])) if match else None


def shard_prefix(shard: int) -> str:
    """What the keys of all objects of a shard begin with."""
    return f"shards/{shard:04d}/"


def segments_prefix(shard: int) -> str:
    """What the keys of all segments of a shard begin with."""
    return f"shards/{shard:04d}/segments/"


def segment_prefix(shard: int, tenant: str, stream: str) -> str:
    """What the keys of all segments of a stream on one shard begin with."""
    return f"{segments_prefix(shard)}{tenant}/{stream}/"


def segment_key(shard: int, tenant: str, stream: str, window: str, number: str) -> str:
    """Object key of a segment. `number` makes it unique for ever (see segment_number); `window` is for people."""
    return f"{segment_prefix(shard, tenant, stream)}{window}-{number}{_SEGMENT_SUFFIX}"


def origin_of(segment_name: str) -> int | None:
    """The shard that wrote the events of a segment, to whose offsets theirs belong; None when it is no such key."""
    match = _ORIGIN.match(segment_name)
    return int(match[1]) if match else None


def index_key(segment_name: str) -> str:
    """Object key of the index of a segment."""
    return segment_name.removesuffix(_SEGMENT_SUFFIX) + _INDEX_SUFFIX


def ids_prefix(shard: int) -> str:
    """What the keys of all runs of ids of a shard begin with."""
    return f"shards/{shard:04d}/ids/"


def ids_key(shard: int, tenant: str, stream: str, slice_: str, number: str) -> str:
    """Object key of a run of ids; `slice_` is for people, `number` as in segment_key."""
    return f"{ids_prefix(shard)}{tenant}/{stream}/{slice_}-{number}{_IDS_SUFFIX}"


def segment_epoch(key: str) -> int | None:
    """The epoch in the key of a segment, its index or a run of ids, or None when it is no such key."""
    match = _SEGMENT_NUMBER.search(key)
    return int(match[1]) if match else None


def segment_number(epoch: int, number: int) -> str:
    """What no other segment of the shard ever is called: `number` is never used twice within `epoch`."""
    return f"{epoch:08d}-{number:08d}"


def number_beside(number: str, shard: int, origin: int) -> str:
    """What a segment of the events of `origin` is called that `shard` writes under a `number` of its own."""
    return number if shard == origin else f"by{shard:04d}-{number}"


def writer_of(key: str) -> int | None:
    """The shard that wrote a segment, or the index of one, of the events of another, or None when it is no such key."""
    match = _WRITER.search(key)
    return int(match[1]) if match else None
