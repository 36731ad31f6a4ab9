"""What the index of a segment costs a flush: speed of the token kernels, share of the encoding's time, share of bytes.

Generated logs as a shard flushes them, and the real data sets, each once. Times are of the process's CPU: other work on
the machine disturbs them less. A set's dropped filters (too many tokens) are counted in the details.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.record import store, value
from benchmarks.shred import DATA, NOW_US
from core.columns import key_of
from core.ids import ShardId
from core.limits import ROW_GROUP_ROWS
from ingest.generate import generator
from ingest.input_files import JsonUnit, open_events
from ingest.shred import ShredSettings, shred_ndjson
from storage.columns_merge import merge_batches
from storage.memtable import stamp
from storage.segment_index_format import encode_index
from storage.segment_index_writer import build_index
from storage.segment_writer import encode_segment
from storage.stream_settings import StreamSettings
from storage.token_blooms import BloomBuilder, may_hold
from storage.warm_up import warm_up
from storage.zone_maps import bounds, is_ordered

GENERATED = "generated logs"
GENERATED_EVENTS = 300_000  # about what MEMTABLE_BYTES_TARGET holds
SETTINGS = StreamSettings("logs")
RUNS = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 5
PROBES = 100_000


def main() -> None:
    warm_up()
    values: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    table = merged_table(generated_batches())
    for name in ("message", "trace_id"):
        values += _speed(name, table.column(name).chunk(0).slice(0, ROW_GROUP_ROWS), details)
    values.append(_false_positives(table.column("message").chunk(0).slice(0, ROW_GROUP_ROWS)))
    for name, batches in {GENERATED: generated_batches(), **real_batches()}.items():
        values += _cost(name, batches, details)
    store("tokens", values, details)


def generated_batches() -> list[pa.RecordBatch]:
    """Logs as a shard flushes them."""
    logs, batches = generator("logs", 3), []
    for first in range(0, GENERATED_EVENTS, 50_000):
        batches.append(stamp(logs.batch(50_000, NOW_US + first * 100), first, NOW_US))
    return batches


def real_batches() -> dict[str, list[pa.RecordBatch]]:
    """The real data sets, each shredded as it came."""
    sets: dict[str, list[pa.RecordBatch]] = {}
    for path in sorted(DATA.glob("*.ndjson.zst")):
        batches, first = [], 0
        for unit in open_events(path):
            assert isinstance(unit, JsonUnit)
            batch = shred_ndjson(unit.block.data, ShredSettings(), ingest_time_us=NOW_US).batch
            batches.append(stamp(batch, first, NOW_US))
            first += batch.num_rows
        sets[path.name.partition(".")[0]] = batches
    return sets


def merged_table(batches: list[pa.RecordBatch]) -> pa.Table:
    """All rows as a segment has them."""
    return merge_batches(batches, SETTINGS.max_paths, SETTINGS.sort_key, SETTINGS.sort_key)


def _speed(name: str, texts: pa.Array, details: dict[str, Any]) -> list[dict[str, Any]]:
    builder = BloomBuilder()
    size = pc.sum(pc.binary_length(texts)).as_py()
    details[f"{name}, {len(texts)} texts"] = runs = [_seconds(lambda: builder.bloom_of(texts)) for _ in range(RUNS * 3)]
    target = "444: a token bloom measured elsewhere" if name == "message" else ""
    return [value(f"token bloom of {GENERATED}' {name}", size / statistics.median(runs) / 1e6, "MB/s per core", target)]


def _false_positives(texts: pa.Array) -> dict[str, Any]:
    """Twelve digits each, which no message has."""
    rng, bloom = Random(1), BloomBuilder().bloom_of(texts)
    assert bloom is not None
    probes = {f"{rng.getrandbits(48):012x}" for _ in range(PROBES)}
    share = sum(may_hold(bloom, probe) for probe in probes) / len(probes)
    return value("tokens that are not there and may be", 100 * share, "%", "about 1")


def _cost(name: str, batches: list[pa.RecordBatch], details: dict[str, Any]) -> list[dict[str, Any]]:
    encode = [_seconds(lambda: encode_segment(batches, "default", SETTINGS, ShardId(0))) for _ in range(RUNS)]
    encoded = encode_segment(batches, "default", SETTINGS, ShardId(0))
    table = merged_table(batches)
    index = [_seconds(lambda: encode_index(build_index(table, ROW_GROUP_ROWS))) for _ in range(RUNS)]
    zones = [_seconds(lambda: _bounds(table)) for _ in range(RUNS)]
    # The bounds of whole columns were made before there was an index, for the manifest.
    added = statistics.median(index) - statistics.median(zones)
    without = statistics.median(encode) - added
    contents = build_index(table, ROW_GROUP_ROWS)
    blooms = {column.name: column.blooms for column in contents.columns if column.blooms}
    details[name] = {
        "rows": encoded.rows,
        "parquet_bytes": encoded.data.size,
        "index_bytes": len(encoded.index),
        "encode_s": encode,
        "index_s": index,
        "bounds_s": zones,
        "filters": sum(map(len, blooms.values())),
        "filters_dropped": sum(groups.count(None) for groups in blooms.values()),
        "filter_bytes": {n: sum(len(b or b"") for b in groups) for n, groups in blooms.items()},
    }
    return [
        value(f"index of {name}, added to the encoding's CPU time", 100 * added / without, "%", "15"),
        value(
            f"index of {name}, added to the bytes of Parquet", 100 * len(encoded.index) / encoded.data.size, "%", "6"
        ),
    ]


def _bounds(table: pa.Table) -> None:
    for field, column in zip(table.schema, table.columns, strict=True):
        key = key_of(field)
        if key is not None and is_ordered(key.kind):
            array = column.chunk(0)
            bounds(array.dictionary if pa.types.is_dictionary(array.type) else array, key.kind)


def _seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main()
