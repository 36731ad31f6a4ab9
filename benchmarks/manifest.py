"""What an edit of a manifest costs by the number of segments that it names: CPU to make and encode it, bytes, seconds.

Segments are as those of generated log events: 14 columns with their bounds, merged to the last level.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from benchmarks.record import store, value
from core.columns import ColumnKey
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.manifest_format import (
    Manifest,
    ManifestEdit,
    PackedSegments,
    apply_edit,
    decode_manifest,
    encode_manifest,
)
from storage.snapshot import ColumnStats, Segment
from storage.windows import DAY_US

SEGMENTS: Final = (1_000, 10_000, 50_000, 100_000)
ROWS: Final = 1_000_000
REPEATS: Final = 3
PATHS: Final = (
    *((path, "str") for path in ("service", "level", "host", "message", "trace_id", "region", "http.method")),
    *((path, "int") for path in ("http.status_code", "bytes", "user.id", "line", "thread", "attempt")),
    ("timestamp", "time"),
)


def segment(number: int, rng: random.Random, level: int = 3) -> Segment:
    start_us = number // 3_000 * DAY_US
    columns = [
        ColumnStats(path, ColumnKey(path, kind), ROWS, *((_text(rng), _text(rng)) if kind == "str" else (number, ROWS)))
        for path, kind in PATHS
    ]
    name = f"shards/0000/segments/default/logs/2026-01-01-00000001-{number:08d}.parquet"
    first, times = number * ROWS, (start_us, start_us + DAY_US)
    keys: Any = ((_text(rng), times[0]), (_text(rng), times[1])) if level else ((), ())
    return Segment(
        name, "default", "logs", *times, ROWS, 36 * ROWS, rng.getrandbits(32), *times, first, first + ROWS - 1, False,
        ("service", "timestamp"), tuple(columns), 40_000, rng.getrandbits(32), level, *keys,
    )  # fmt: skip


def _text(rng: random.Random) -> str:
    return f"{rng.getrandbits(48):012x}"


def main() -> None:
    values: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as place:
        objects = LocalObjectStore(place, LocalFileSystem())
        for count in SEGMENTS:
            values += _values(count, objects)
    store("manifest", values)


def _values(count: int, objects: LocalObjectStore) -> list[dict[str, Any]]:
    rng, packed = random.Random(1), PackedSegments()
    floor = count * ROWS
    manifest = Manifest(0, 1, 1, wal_floor=floor, segments=tuple(segment(number, rng) for number in range(count)))
    edit = ManifestEdit(add=(segment(count, rng, level=0),), wal_floor=floor + ROWS)
    data = encode_manifest(manifest, packed)
    written_s = []
    for number in range(REPEATS):
        began_s = time.perf_counter()
        objects.put_new(f"manifest/{count}-{number}", data)
        written_s.append(time.perf_counter() - began_s)
    last = replace(manifest, version=2)
    figures = (
        ("bytes", len(data) / 1e6, "MB"),
        ("CPU to apply and check an edit", _cpu_ms(lambda: apply_edit(manifest, edit, 0)), "ms"),
        ("CPU to encode the next one", _cpu_ms(lambda: encode_manifest(last, packed)), "ms"),
        ("to write it to a local directory", 1_000 * statistics.median(written_s), "ms"),
        ("CPU to decode it", _cpu_ms(lambda: decode_manifest(data)), "ms"),
    )
    return [value(f"{count} segments: {name}", number, unit) for name, number, unit in figures]


def _cpu_ms(work: Callable[[], object]) -> float:
    """The least of a few times: other programs run beside."""
    times = []
    for _ in range(REPEATS):
        began_s = time.process_time()
        work()
        times.append(time.process_time() - began_s)
    return 1_000 * min(times)


if __name__ == "__main__":
    main()
