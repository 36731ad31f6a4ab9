"""Owns the plain data that tells a process where a deployment's shards live, and opens things from it. No Ray."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from core.clock import Clock
from core.ids import ShardId
from core.limits import (
    ADMISSION_WAIT_S,
    FLUSH_AGE_S_DEFAULT,
    GARBAGE_GRACE_S,
    INDEX_CACHE_BYTES_DEFAULT,
    MEMTABLE_BYTES_MAX,
    MEMTABLE_BYTES_TARGET,
    PARTS_CACHE_BYTES_DEFAULT,
    QUERY_SECONDS_DEFAULT,
    SEGMENT_CACHE_BYTES_DEFAULT,
    WAL_FILE_BYTES_TARGET,
    WAL_OBJECT_INTERVAL_MS_DEFAULT,
)
from storage.catalog import CatalogStore
from storage.fs import LocalFileSystem
from storage.keys import SHARDS_PREFIX
from storage.object_wal import ObjectWalOptions
from storage.objects import ObjectStore
from storage.open_objects import open_object_store
from storage.partial_segments import PartialSegments
from storage.recovery import open_object_shard, open_shard
from storage.segment_index import SegmentIndexes
from storage.segment_reader import SegmentFiles
from storage.shard import Shard, ShardOptions


@dataclass(frozen=True, slots=True)
class ShardConfig:
    """Where one shard lives and how large it may grow; sent to its process. `options` may hold secrets: not logged."""

    shard: ShardId
    shards: int  # of the deployment
    url: str
    wal_directory: str | None  # of this shard; None with durability object: its WAL is on the object store
    cache_directory: str  # of this process
    durability: str
    options: Mapping[str, str | bool] = field(default_factory=dict, repr=False)
    memtable_bytes_target: int = MEMTABLE_BYTES_TARGET
    memtable_bytes_max: int = MEMTABLE_BYTES_MAX
    flush_age_s: float = FLUSH_AGE_S_DEFAULT
    wal_file_bytes_target: int = WAL_FILE_BYTES_TARGET
    wal_object_interval_ms: int = WAL_OBJECT_INTERVAL_MS_DEFAULT
    query_threads: int = 1
    query_bytes_max: int = 512 * 1024 * 1024
    query_seconds_max: float = QUERY_SECONDS_DEFAULT
    compaction: bool = True
    compactors: int = 0  # actors that merge; 0: the shard itself

    @property
    def garbage_grace_s(self) -> float:
        """How long files of segments stay that were replaced."""
        return self.query_seconds_max + GARBAGE_GRACE_S


def open_objects(config: ShardConfig) -> ObjectStore:
    """The object store of the deployment."""
    return open_object_store(config.url, LocalFileSystem(), config.options)


def open_configured_shard(config: ShardConfig, clock: Clock) -> Shard:
    """Recover and open the shard that `config` describes."""
    options = ShardOptions(
        shard=config.shard,
        memtable_bytes_target=config.memtable_bytes_target,
        memtable_bytes_max=config.memtable_bytes_max,
        flush_age_s=config.flush_age_s,
        wal_file_bytes_target=config.wal_file_bytes_target,
        admission_wait_s=ADMISSION_WAIT_S,
    )
    objects = open_objects(config)
    stream_settings = CatalogStore(objects, clock, config.shards).get
    if config.wal_directory is None:
        return open_object_shard(
            options,
            objects=objects,
            clock=clock,
            new_file_id=_new_file_id,
            stream_settings=stream_settings,
            wal_options=ObjectWalOptions(interval_s=config.wal_object_interval_ms / 1000),
        )
    return open_shard(
        options,
        fs=LocalFileSystem(),
        objects=objects,
        wal_directory=config.wal_directory,
        clock=clock,
        new_file_id=_new_file_id,
        stream_settings=stream_settings,
    )


def _new_file_id() -> int:
    return secrets.randbits(64)


_segment_files: dict[tuple[str, str], SegmentFiles] = {}
_partial_segments: dict[tuple[str, str], PartialSegments] = {}
_lock = threading.Lock()


def segment_files(config: ShardConfig) -> SegmentFiles:
    """Verified local paths of the deployment's segments: one for a process, two would remove each other's files."""
    directory = _segments_directory(config)
    with _lock:
        known = _segment_files.get((config.url, directory))
        if known is None:
            known = SegmentFiles(open_objects(config), directory, SEGMENT_CACHE_BYTES_DEFAULT, LocalFileSystem())
            _segment_files[(config.url, directory)] = known
        return known


def partial_segments(config: ShardConfig) -> PartialSegments | None:
    """Parts of the deployment's segments: one for a process; None where all of them are local files."""
    if not is_remote(config):
        return None
    files, directory = segment_files(config), _parts_directory(config)
    with _lock:
        known = _partial_segments.get((config.url, directory))
        if known is None:
            known = PartialSegments(
                files, open_objects(config), directory, PARTS_CACHE_BYTES_DEFAULT, LocalFileSystem()
            )
            _partial_segments[(config.url, directory)] = known
        return known


def segment_indexes(config: ShardConfig) -> SegmentIndexes:
    """The indexes of the deployment's segments."""
    return SegmentIndexes(open_objects(config), INDEX_CACHE_BYTES_DEFAULT)


def is_remote(config: ShardConfig) -> bool:
    """Whether segments are downloaded before they are read."""
    return open_objects(config).local_path(SHARDS_PREFIX.rstrip("/")) is None


def spill_directory(config: ShardConfig, owner: str) -> str:
    """Where the queries of one process spill what does not fit into memory; made on the way."""
    directory = f"{config.cache_directory}/spill-{owner}"
    LocalFileSystem().make_directories(directory)
    return directory


def data_directories(config: ShardConfig) -> list[str]:
    """Where the files lie that segment_files() and partial_segments() name: nothing else is read by queries."""
    segments = open_objects(config).local_path(SHARDS_PREFIX.rstrip("/"))
    return [segments] if segments else [_segments_directory(config), _parts_directory(config)]


def _segments_directory(config: ShardConfig) -> str:
    return f"{config.cache_directory}/segments"


def _parts_directory(config: ShardConfig) -> str:
    return f"{config.cache_directory}/parts"
