"""Merging generated log events on one core: rate, bytes, memory; and the same with compression levels.

Rates are in CPU time, because others may use the machine; the rate of a flush of the same events is measured in the
same run. Every merge is checked as always: what was written is decoded again and compared.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from actors.memory import use_steady_allocator
from benchmarks.record import store, value
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
SEGMENTS = 16  # as many of a flush as become four of the target size
SEGMENT_BATCHES = 5
PIECES = 4
START_US = 1_767_592_800_000_000
SETTINGS = StreamSettings("logs")
SHARD = ShardId(0)


class Store:
    """One shard's segments in a directory."""

    def __init__(self, directory: str) -> None:
        self.objects = LocalObjectStore(directory, LocalFileSystem())
        self._numbers = itertools.count(1)
        self.json_bytes = 0.0
        self.peak_bytes = 0

    def _look(self) -> None:
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
            new_name = self.number
            found = write_segments(batches, "default", SETTINGS, SHARD, new_name=new_name, objects=self.objects)
            yield found, time.process_time() - began_s

    def merge(self, inputs: list[Segment], level: int, cold: bool) -> tuple[list[Segment], float]:
        """The four segments that a merge makes of the inputs, and the CPU seconds that it took."""
        merge = Merge(tuple(inputs), level, PIECES, cold)
        job = Job(SHARD, 1, merge, SETTINGS, tuple(self.number() for _ in range(PIECES)))
        began_s = time.process_time()
        open_segment = lambda segment: self.objects.local_path(segment.name) or ""  # noqa: E731
        made = carry_out(job, self.objects, open_segment, self._look)
        return list(made.outputs), time.process_time() - began_s


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
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(fields["RssAnon"].split()[0]) * 1024


if __name__ == "__main__":
    main()
