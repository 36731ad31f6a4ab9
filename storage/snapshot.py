"""Owns what a reader may know of a shard: segments and memtable rows at one instant. Immutable, never changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from core.columns import ColumnKey
from core.ids import ShardId


@dataclass(frozen=True, slots=True)
class ColumnStats:
    """One column of a segment: its name in the file, what it means, and its zone map.

    `values` counts non-null rows. `minimum` and `maximum` bound the values (int, float, str, bool; TIME as int
    microseconds; strings may be cut: `maximum` is then rounded up); None when unknown or not ordered.
    """

    name: str
    key: ColumnKey
    values: int
    minimum: Any = None
    maximum: Any = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One immutable Parquet file of one tenant, stream and window, as the manifest knows it.

    `name` is its object key below the storage root. Times are UTC microseconds; window_end_us is exclusive,
    timestamp_max_us and last_offset inclusive. Offsets of a segment need not be dense. `crc32c` covers the file.
    `index_bytes` and `index_crc32c` are of its index (segment_index.py); 0 bytes: it was written without one.
    `level` is 0 as flushed, more the further it was merged; `first_key` and `last_key` are then the sort keys of its
    first and last rows (compaction_keys.py), else empty. Deletes up to the one numbered `deleted_through` left nothing
    in it.
    """

    name: str
    tenant: str
    stream: str
    window_start_us: int
    window_end_us: int
    rows: int
    bytes: int
    crc32c: int
    timestamp_min_us: int
    timestamp_max_us: int
    first_offset: int
    last_offset: int
    has_rest: bool
    sort_key: tuple[str, ...]
    columns: tuple[ColumnStats, ...]
    index_bytes: int = 0
    index_crc32c: int = 0
    level: int = 0
    first_key: tuple[Any, ...] = ()
    last_key: tuple[Any, ...] = ()
    deleted_through: int = 0


@dataclass(frozen=True, slots=True)
class StreamSnapshot:
    """Everything of one stream that one shard had acknowledged at one instant, each event once.

    `memtable` holds batches of core.batch's layout plus `_ingested_at` and `_offset`; their schemas may differ.
    """

    shard: ShardId
    tenant: str
    stream: str
    manifest_version: int
    visible_offset: int  # events of the shard below this offset are in the snapshot
    segments: tuple[Segment, ...]
    memtable: tuple[pa.RecordBatch, ...]
