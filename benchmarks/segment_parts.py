"""First queries over a segment on an S3-compatible server: in parts, and whole. Nothing is cached before each.

SeaweedFS over loopback: what a request takes there says nothing of S3; how many there are and what they bring does.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.record import store, value
from core.ids import ShardId
from core.limits import BATCH_ROWS_TARGET
from ingest.generate import LogGenerator
from query.executor import Executor
from query.merge import run_merge
from query.parse import parse
from query.plan import plan
from query.shape import describe
from query.worker import Worker
from storage.fs import LocalFileSystem
from storage.memtable import stamp
from storage.object_requests import BYTES_READ, GET
from storage.object_traffic import traffic_with
from storage.objects import ObjectStore
from storage.open_objects import open_object_store
from storage.partial_segments import PartialSegments
from storage.segment_index import SegmentIndexes
from storage.segment_reader import SegmentFiles
from storage.segment_writer import write_segments
from storage.snapshot import Segment, StreamSnapshot
from storage.stream_settings import StreamSettings
from tests.support.s3 import seaweedfs

RUNS = 5
BATCHES = 15
START_US = 1_767_592_800_000_000
QUESTIONS = {
    "count by service": "SELECT service, count(*) FROM logs GROUP BY 1",
    "count by minute and status": (
        "SELECT time_bucket(INTERVAL '1m', timestamp), status, count(*) FROM logs GROUP BY ALL"
    ),
    "p99 of the duration by service": "SELECT service, approx_quantile(duration_ms, 0.99) FROM logs GROUP BY 1",
    "text in message": "SELECT count(*) FROM logs WHERE message LIKE '%errno 1%'",
    "a trace id, all columns": "SELECT * FROM logs WHERE trace_id = '{trace}'",
}


def written(objects: ObjectStore) -> tuple[Segment, str]:
    """A segment of a flush of generated logs, and a trace id in it."""
    generator, offset, batches = LogGenerator(1), 0, []
    for _ in range(BATCHES):
        batch = generator.batch(BATCH_ROWS_TARGET, START_US + offset)
        batches.append(stamp(batch, offset, START_US))
        offset += batch.num_rows
    (segment,) = write_segments(
        batches, "default", StreamSettings("logs"), ShardId(0), new_name=lambda: "00000001-00000001", objects=objects
    )
    return segment, batches[7].column("trace_id").drop_null()[100].as_py()


class Reader:
    """A process that knows nothing of the segment yet."""

    def __init__(self, objects: ObjectStore, directory: Path, parts: bool) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        fs, whole, part = LocalFileSystem(), str(directory / "whole"), str(directory / "parts")
        files = SegmentFiles(objects, whole, 2**32, fs)
        self._executor = Executor(threads=2, data_directories=[whole, part])
        held = PartialSegments(files, objects, part, 2**32, fs) if parts else None
        self._worker = Worker(self._executor, files, SegmentIndexes(objects, 2**28), parts=held)

    def seconds(self, segment: Segment, sql: str) -> float:
        """How long a question takes."""
        started_s = time.perf_counter()
        snapshot = StreamSnapshot(ShardId(0), "default", "logs", 1, 0, (segment,), ())
        planned = plan(parse(sql), {"logs": describe(snapshot)}, self._executor, now_us=START_US)
        run_merge(planned, [self._worker.run_leaf(planned.leaf, {"logs": snapshot})], self._executor)
        took_s = time.perf_counter() - started_s
        self._executor.close()
        return took_s


def main() -> None:
    """Measure and store."""
    values, details = [], {}
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory, seaweedfs(Path(directory)) as server:
        url = f"s3://{server.bucket}/parts"
        objects = open_object_store(url, LocalFileSystem(), server.options())
        requests = traffic_with(url).requests
        segment, trace = written(objects)
        for name, sql in QUESTIONS.items():
            runs: dict[bool, list[tuple[float, int, int]]] = {True: [], False: []}
            for number in range(2 * RUNS):
                parts = number % 2 == 0
                reader = Reader(objects, Path(directory) / "cache", parts)
                before = requests.numbers()
                seconds = reader.seconds(segment, sql.format(trace=trace))
                after = requests.numbers()
                runs[parts].append((seconds, after[GET] - before[GET], after[BYTES_READ] - before[BYTES_READ]))
            medians = {
                parts: [statistics.median(of) for of in zip(*found, strict=True)] for parts, found in runs.items()
            }
            values += [
                value(f"{name}: bytes in parts / whole", medians[True][2] / medians[False][2], "x"),
                value(f"{name}: requests in parts", medians[True][1], "GET"),
                value(f"{name}: time in parts / whole", medians[True][0] / medians[False][0], "x"),
            ]
            details[name] = {"parts": runs[True], "whole": runs[False]}
    store("segment_parts", values, {"segment_bytes": segment.bytes, "index_bytes": segment.index_bytes, **details})


if __name__ == "__main__":
    main()
