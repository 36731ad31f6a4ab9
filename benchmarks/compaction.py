"""Merging generated log events on one core: rate, bytes, memory; and the same with compression levels.

Rates are in CPU time, because others may use the machine; the rate of a flush of the same events is measured in the
same run. Every merge is checked as always: what was written is decoded again and compared.
"""

from __future__ import annotations

import itertools
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from actors.memory import use_steady_allocator
from benchmarks.record import store, value
from core.batch import SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import FLOAT, INT, STR, TIMESTAMP_TYPE, ColumnKey, field_of
from core.ids import ShardId
from core.limits import BATCH_ROWS_TARGET
from ingest.generate import LogGenerator
from ingest.generate_json import ndjson
from storage.compaction import Job, carry_out
from storage.compaction_plan import Merge
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.memtable import stamp
from storage.segment_writer import write_segments
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.warm_up import warm_up

RUNS = 3
LOOK_S = 0.005  # between two looks at the memory: one takes 0.02 ms
SEGMENTS = 16  # as many of a flush as become four of the target size
SEGMENT_BATCHES = 5
PIECES = 4
WIDE_PATHS, WIDE_SEGMENTS, WIDE_ROWS = 2_000, 6, 20_000
PAGE_BYTES = resource.getpagesize()
START_US = 1_767_592_800_000_000
SETTINGS = StreamSettings("logs")
SHARD = ShardId(0)


class Store:
    """One shard's segments in a directory."""

    def __init__(self, directory: str, settings: StreamSettings = SETTINGS) -> None:
        self._settings = settings
        self.objects = LocalObjectStore(directory, LocalFileSystem())
        self._numbers = itertools.count(1)
        self.json_bytes = 0.0
        self.peak_bytes = 0
        self._looked_s = 0.0

    def _look(self) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            self.peak_bytes = max(self.peak_bytes, memory_bytes())

    def number(self) -> str:
        return f"00000001-{next(self._numbers):08d}"

    def flushed(self) -> Iterator[tuple[list[Segment], float]]:
        """The segments of each flush, and the CPU seconds that it took."""
        generator, offset = LogGenerator(1), 0
        for number in range(SEGMENTS):
            batches = []
            for _ in range(SEGMENT_BATCHES):
                batch = generator.batch(BATCH_ROWS_TARGET, START_US + offset)
                batches.append(stamp(batch, offset, START_US))
                offset += batch.num_rows
            if number == 0:
                self.json_bytes = len(ndjson(batch)) / batch.num_rows
            began_s = time.process_time()
            found = self.flush(batches)
            yield found, time.process_time() - began_s

    def flush(self, batches: list[pa.RecordBatch]) -> list[Segment]:
        """The segments of a flush."""
        return write_segments(batches, "default", self._settings, SHARD, new_name=self.number, objects=self.objects)

    def merge(self, inputs: list[Segment], level: int, cold: bool) -> tuple[list[Segment], float]:
        """The four segments that a merge makes of the inputs, and the CPU seconds that it took."""
        merge = Merge(tuple(inputs), level, PIECES, cold)
        job = Job(SHARD, 1, merge, self._settings, tuple(self.number() for _ in range(PIECES)))
        began_s = time.process_time()
        open_segment = lambda segment: self.objects.local_path(segment.name) or ""  # noqa: E731
        made = carry_out(job, self.objects, open_segment, self._look)
        return list(made.outputs), time.process_time() - began_s


def wide_batches() -> Iterator[pa.RecordBatch]:
    """Batches of events with about 20 of WIDE_PATHS paths each, most of them rare, every seventh of changing kind."""
    rng = np.random.default_rng(1)
    shares = 1 / np.arange(1, WIDE_PATHS + 1)
    shares = np.minimum(1.0, shares / shares.sum() * 20)
    for number in range(WIDE_SEGMENTS):
        fields, arrays = [SYSTEM_FIELDS[TIMESTAMP], SYSTEM_FIELDS[TIMESTAMP_INFERRED]], []
        offset = number * WIDE_ROWS
        arrays.append(pa.array(START_US + np.arange(offset, offset + WIDE_ROWS)).view(TIMESTAMP_TYPE))
        arrays.append(pa.array(np.zeros(WIDE_ROWS, np.bool_)))
        for path, share in enumerate(shares.tolist()):
            absent = rng.random(WIDE_ROWS) >= share
            kind = (STR, INT, FLOAT)[(path + number * (path % 7 == 0)) % 3]
            numbers = rng.integers(0, 1_000, WIDE_ROWS)
            values = numbers.astype(str) if kind == STR else numbers if kind == INT else numbers / 8
            name = f"group{path % 17}.path{path}"
            fields.append(field_of(name, ColumnKey(name, kind)))
            arrays.append(pa.array(values, fields[-1].type, mask=absent))
        yield stamp(pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), offset, START_US)


def wide() -> tuple[float, int]:
    """(events a second, bytes of memory added at most) of a merge of segments with 2,000 paths."""
    settings = StreamSettings("logs", max_paths=WIDE_PATHS)
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        held = Store(directory, settings)
        inputs = [segment for batch in wide_batches() for segment in held.flush([batch])]
        before = memory_bytes()
        _, seconds = held.merge(inputs, 1, False)
    return WIDE_SEGMENTS * WIDE_ROWS / seconds, held.peak_bytes - before


def main() -> None:
    use_steady_allocator()
    pa.set_cpu_count(1)
    warm_up()
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        held = Store(directory)
        flushes = list(held.flushed())
        inputs = [segment for segments, _ in flushes for segment in segments]
        rows = sum(segment.rows for segment in inputs)
        before = memory_bytes()
        quick = [held.merge(inputs, 1, False) for _ in range(RUNS)]
        long = [held.merge(inputs, 2, True) for _ in range(RUNS)]
        peak = held.peak_bytes - before
        outputs = [found for found, _ in (quick[-1], long[-1])]
    wide_rate, wide_peak = wide()
    flush_rate = statistics.median(sum(s.rows for s in found) / seconds for found, seconds in flushes[1:])
    rates = [[rows / seconds for _, seconds in runs] for runs in (quick, long)]
    sizes = [sum(segment.bytes for segment in found) / rows for found in (inputs, *outputs)]
    store(
        "compaction",
        [
            value("merge of 16 segments to 4, level 1", statistics.median(rates[0]) / 1e3, "k events/s", "≥ 600"),
            value("the same to level 2, compressed to stay", statistics.median(rates[1]) / 1e3, "k events/s"),
            value("flush of the same events, in this run", flush_rate / 1e3, "k events/s"),
            value("memory that merging added at most", peak / 2**20, "MiB", "≤ 512"),
            value(f"the same with {WIDE_PATHS} paths", wide_peak / 2**20, "MiB", "≤ 512"),
            value(f"merge of events with {WIDE_PATHS} paths", wide_rate / 1e3, "k events/s"),
            value("bytes of an event as JSON", held.json_bytes, "B"),
            value("as flushed", sizes[0], "B"),
            value("as merged to level 1", sizes[1], "B"),
            value("as merged to level 2", sizes[2], "B"),
            value("JSON to merged", held.json_bytes / sizes[2], "x", "≥ 20"),
        ],
        {"rates": rates, "rows": rows},
    )


def memory_bytes() -> int:
    """The memory that this process has to itself: without mapped files, which the system may drop."""
    _, resident, shared, *_ = map(int, Path("/proc/self/statm").read_bytes().split())
    return (resident - shared) * PAGE_BYTES


if __name__ == "__main__":
    main()
