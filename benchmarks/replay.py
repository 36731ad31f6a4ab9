"""How fast a killed shard is back: WAL replay of generated log events, in events a second."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time

from actors.memory import use_steady_allocator
from benchmarks.record import store, value
from core.append import AppendRequest
from core.batch import encode_batch
from core.clock import SystemClock
from core.ids import ShardId
from core.limits import GIB, MIB
from ingest.generate import generator
from storage.catalog import CatalogStore
from storage.deployment import ShardConfig, open_configured_shard, open_objects
from storage.stream_settings import StreamSettings

BATCHES, ROWS = 32, 65_536
RUNS = 5


def main() -> None:
    use_steady_allocator()  # as a shard's process does
    directory = tempfile.mkdtemp(prefix="malamute-bench-")
    try:
        _run(directory)
    finally:
        shutil.rmtree(directory)


def _run(directory: str) -> None:
    clock = SystemClock()
    config = ShardConfig(
        shard=ShardId(0),
        shards=1,
        url=directory,
        wal_directory=f"{directory}/wal",
        cache_directory=f"{directory}/cache",
        durability="local",
        memtable_bytes_max=2 * GIB,
        wal_file_bytes_target=128 * MIB,
    )
    CatalogStore(open_objects(config), clock, 1).ensure_stream("default", StreamSettings("logs"))
    shard = open_configured_shard(config, clock)
    epoch = shard.open_producer("default", "logs", "bench").epoch
    events = generator("logs", 1, 0)
    for sequence in range(BATCHES):
        body = encode_batch(events.batch(ROWS, clock.now_us()))
        shard.append(AppendRequest("default", "logs", "bench", epoch, sequence, body))
    wal_bytes = shard.status()["wal_bytes"]
    shard.abandon()
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        shard = open_configured_shard(config, clock)
        seconds.append(time.perf_counter() - started)
        if shard.status()["replayed_rows"] != BATCHES * ROWS:
            raise RuntimeError(f"replayed {shard.status()['replayed_rows']} rows of {BATCHES * ROWS}")
        shard.abandon()
    median = statistics.median(seconds)
    store(
        "replay",
        [
            value("WAL replay until the shard serves", BATCHES * ROWS / median / 1e6, "M events/s", "at least 2"),
            value("WAL replay, bytes", wal_bytes / median / 1e6, "MB/s"),
        ],
        {"events": BATCHES * ROWS, "wal_bytes": wal_bytes, "seconds": seconds},
    )


if __name__ == "__main__":
    main()
