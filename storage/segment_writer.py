"""Owns how unflushed batches become segments: split by window, merge, sort, encode as Parquet, upload.

Never touches a manifest: a segment that was written here does not exist for readers before it is published. The
format is described in docs/formats/segment.md.

Invariants: SEG-1 every batch has the system columns. SEG-2 a file's footer says as many rows as went in. SEG-3 the
rows of all segments are the rows of all batches. SEG-4 the footer has the row groups of the index.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.batch import OFFSET, REST, TIMESTAMP
from core.errors import check
from core.ids import ShardId
from core.limits import (
    FLUSH_WINDOWS_MAX,
    ROW_GROUP_ROWS,
    SMALL_WINDOW_ROWS,
    SMALL_WINDOWS_MAX,
    UPLOAD_PARTS_BYTES_MIN,
)
from storage.column_chunks import column_chunks, crc32c_of
from storage.columns_merge import merge_batches
from storage.encodings import Encodings, choose_encodings
from storage.keys import index_key, segment_key
from storage.objects import ObjectStore
from storage.segment_index_format import encode_index
from storage.segment_index_writer import build_index, column_stats
from storage.snapshot import ColumnStats, Segment
from storage.sorting import sort_columns
from storage.stream_settings import StreamSettings
from storage.windows import Width, Window, choose_width, ladder, wider_windows, window_at, window_indexes

FORMAT_VERSION: Final = 1

# Keys of the Parquet file's own metadata.
FORMAT_KEY: Final = b"malamute.format"
TENANT_KEY: Final = b"malamute.tenant"
STREAM_KEY: Final = b"malamute.stream"
SHARD_KEY: Final = b"malamute.shard"


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """A segment before it has a name: the bytes of its file and index, and what the manifest will say of it."""

    data: pa.Buffer
    index: bytes
    rows: int
    crc32c: int
    timestamp_min_us: int
    timestamp_max_us: int
    first_offset: int
    last_offset: int
    has_rest: bool
    columns: tuple[ColumnStats, ...]
    first_key: tuple[Any, ...] = ()
    last_key: tuple[Any, ...] = ()


def write_segments(
    batches: Sequence[pa.RecordBatch],
    tenant: str,
    settings: StreamSettings,
    shard: ShardId,
    *,
    new_name: Callable[[], str],
    objects: ObjectStore,
) -> list[Segment]:
    """Write `batches` of one stream (memtable form, see storage.snapshot) as one segment per window, with its index.

    `new_name` gives a name part that no segment of the shard ever had (keys.segment_number). Raises what
    ObjectStore.put_new raises; what was uploaded until then are orphans.
    """
    segments = []
    for window, part in split_by_window(batches, settings.window):
        encoded = encode_segment(part, tenant, settings, shard)
        name = segment_key(shard, tenant, settings.name, window.label, new_name())
        segments.append(put_segment(encoded, name, tenant, settings, window, objects))
    rows = sum(batch.num_rows for batch in batches)
    written = sum(segment.rows for segment in segments)
    check(written == rows, "SEG-3", "segments hold %d of %d rows", written, rows)
    return segments


def put_segment(
    encoded: EncodedSegment,
    name: str,
    tenant: str,
    settings: StreamSettings,
    window: Window,
    objects: ObjectStore,
    level: int = 0,
) -> Segment:
    """Upload a segment and its index under a new name; returns what the manifest will say of it."""
    objects.put_new(index_key(name), encoded.index)
    put = objects.put_in_parts if encoded.data.size >= UPLOAD_PARTS_BYTES_MIN else objects.put_new
    put(name, encoded.data)
    return Segment(
        name=name,
        tenant=tenant,
        stream=settings.name,
        window_start_us=window.start_us,
        window_end_us=window.end_us,
        rows=encoded.rows,
        bytes=encoded.data.size,
        crc32c=encoded.crc32c,
        timestamp_min_us=encoded.timestamp_min_us,
        timestamp_max_us=encoded.timestamp_max_us,
        first_offset=encoded.first_offset,
        last_offset=encoded.last_offset,
        has_rest=encoded.has_rest,
        sort_key=settings.sort_key,
        columns=encoded.columns,
        index_bytes=len(encoded.index),
        index_crc32c=google_crc32c.value(encoded.index),
        level=level,
        first_key=encoded.first_key if level else (),
        last_key=encoded.last_key if level else (),
    )


def split_by_window(
    batches: Sequence[pa.RecordBatch], window: str | int, windows_max: int = FLUSH_WINDOWS_MAX
) -> list[tuple[Window, list[pa.RecordBatch]]]:
    """The rows of `batches` by window, in order of time; rows of a window keep their order.

    Of many windows with few rows each, wider ones are made: events that come late, from all over the past, are not a
    file a day.
    """
    batches = [batch for batch in batches if batch.num_rows]
    times = [_int64(batch.column(batch.schema.get_field_index(TIMESTAMP))) for batch in batches]
    widths = ladder(window)
    width = choose_width(times, widths, windows_max)
    indexes = [window_indexes(batch_times, width) for batch_times in times]
    windows = _windows(indexes, width, widths)
    numbers = {window: number for number, window in enumerate(dict.fromkeys(windows.values()))}
    parts: dict[Window, list[pa.RecordBatch]] = {window: [] for window in numbers}
    ordered = list(numbers)
    for batch, batch_indexes in zip(batches, indexes, strict=True):
        distinct, places = np.unique(batch_indexes, return_inverse=True)
        number_of = np.array([numbers[windows[index]] for index in distinct.tolist()])
        for number, rows in _rows_by_window(number_of[places]):
            parts[ordered[number]].append(batch if rows is None else batch.take(rows))
    return sorted(parts.items(), key=lambda part: (part[0].start_us, part[0].end_us))


def _windows(indexes: Sequence[Any], width: Width, widths: tuple[Width, ...]) -> dict[int, Window]:
    """The window of the rows of each window number of `width`: a wider one for those of many small windows."""
    counts: Counter[int] = Counter()
    for batch_indexes in indexes:
        distinct, rows = np.unique(batch_indexes, return_counts=True)
        counts.update(dict(zip(distinct.tolist(), rows.tolist(), strict=True)))
    small = sorted(index for index, rows in counts.items() if rows < SMALL_WINDOW_ROWS)
    windows = {index: window_at(index, width) for index in counts}
    if len(small) > SMALL_WINDOWS_MAX:
        windows.update(wider_windows(small, width, widths, SMALL_WINDOWS_MAX))
    return windows


def _rows_by_window(indexes: Any) -> list[tuple[int, pa.Array | None]]:
    """(number, the rows of that number), or None for the rows when all have the same."""
    if int(indexes.min()) == int(indexes.max()):
        return [(int(indexes[0]), None)]
    order = np.argsort(indexes, kind="stable").astype(np.uint32)
    ordered = indexes[order]
    starts = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    ends = np.append(starts[1:], len(ordered))
    pairs = zip(starts.tolist(), ends.tolist(), strict=True)
    return [(int(ordered[start]), pa.array(order[start:end])) for start, end in pairs]


def encode_segment(
    batches: Sequence[pa.RecordBatch], tenant: str, settings: StreamSettings, shard: ShardId
) -> EncodedSegment:
    """One Parquet file of all rows of `batches`, merged and sorted, and its index."""
    table = merge_batches(batches, settings.max_paths, kept_paths=settings.sort_key, order_by=settings.sort_key)
    data = write_parquet(table.replace_schema_metadata(file_metadata(tenant, settings.name, shard)), settings.sort_key)
    footer = pq.read_metadata(pa.BufferReader(data))
    rows = footer.num_rows
    check(rows == table.num_rows, "SEG-2", "the footer says %d rows of %d", rows, table.num_rows)
    index = build_index(table, ROW_GROUP_ROWS)
    groups = tuple(footer.row_group(group).num_rows for group in range(footer.num_row_groups))
    check(groups == index.rows, "SEG-4", "the footer has row groups of %s rows, the index of %s", groups, index.rows)
    index = replace(index, chunks=column_chunks(data, footer))
    timestamps = pc.min_max(table.column(TIMESTAMP).cast(pa.int64()))
    offsets = pc.min_max(table.column(OFFSET))
    return EncodedSegment(
        data=data,
        index=encode_index(index),
        rows=rows,
        crc32c=crc32c_of(data),
        timestamp_min_us=timestamps["min"].as_py(),
        timestamp_max_us=timestamps["max"].as_py(),
        first_offset=offsets["min"].as_py(),
        last_offset=offsets["max"].as_py(),
        has_rest=REST in table.column_names,
        columns=column_stats(table.schema, index),
    )


def file_metadata(tenant: str, stream: str, shard: ShardId) -> dict[bytes, bytes]:
    """What a segment's file says of itself."""
    return {
        FORMAT_KEY: str(FORMAT_VERSION).encode(),
        TENANT_KEY: tenant.encode(),
        STREAM_KEY: stream.encode(),
        SHARD_KEY: str(shard).encode(),
    }


def write_parquet(table: pa.Table, sort_key: Sequence[str]) -> pa.Buffer:
    """The sorted `table` as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, table.schema, sort_key, choose_encodings(table)) as writer:
        writer.write_table(table, row_group_size=ROW_GROUP_ROWS)
    return sink.getvalue()


def parquet_writer(sink: Any, schema: pa.Schema, sort_key: Sequence[str], encodings: Encodings) -> pq.ParquetWriter:
    """Writes sorted row groups as a Parquet file into `sink`."""
    sorting = [
        pq.SortingColumn(schema.get_field_index(name), descending=False, nulls_first=False)
        for name in sort_columns(schema, sort_key)
    ]
    statistics: bool | list[str] = True
    if encodings.without_statistics:
        statistics = [name for name in schema.names if name not in encodings.without_statistics]
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=encodings.level,
        use_dictionary=encodings.dictionary or False,
        column_encoding=encodings.explicit or None,
        bloom_filter_options=encodings.blooms or None,
        write_statistics=statistics,
        write_batch_size=encodings.batch_rows,
        write_page_checksum=True,
        write_page_index=True,
        sorting_columns=sorting or None,
    )


def _int64(array: pa.Array) -> Any:
    return np.asarray(array.cast(pa.int64()))
