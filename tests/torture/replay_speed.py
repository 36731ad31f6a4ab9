"""T14: a killed shard of generated events is opened again; how many events, in how many milliseconds."""

from __future__ import annotations

import random
import time

from core.append import AppendRequest
from core.batch import encode_batch
from core.clock import SystemClock
from core.limits import GIB, MIB
from ingest.generate import generator
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.shard import ShardOptions
from tests.support.shards import OPTIONS, STREAM, TENANT, open_on, random_id
from tests.torture.campaigns import directory

ROWS = 65_536
LARGE = ShardOptions(OPTIONS.shard, 2 * GIB, 2 * GIB, 3600.0, 128 * MIB)


def killed_and_opened(seed: int) -> dict[str, int]:
    """Replay a WAL of some batches; raises AssertionError when an event is missing."""
    batches = random.Random(seed).randrange(2, 12)
    clock, fs = SystemClock(), LocalFileSystem()
    with directory() as place:
        objects, wal = LocalObjectStore(str(place), fs), f"{place}/wal/0000"
        shard = open_on(fs, clock=clock, options=LARGE, objects=objects, wal_directory=wal, file_ids=random_id)
        epoch = shard.open_producer(TENANT, STREAM, "p").epoch
        events = generator("logs", seed, 0)
        for sequence in range(batches):
            data = encode_batch(events.batch(ROWS, clock.now_us()))
            shard.append(AppendRequest(TENANT, STREAM, "p", epoch, sequence, data))
        megabytes = int(shard.status()["wal_bytes"]) // 10**6  # type: ignore[call-overload]
        shard.abandon()
        began_s = time.perf_counter()
        shard = open_on(fs, clock=clock, options=LARGE, objects=objects, wal_directory=wal, file_ids=random_id)
        milliseconds = round(1000 * (time.perf_counter() - began_s))
        assert shard.status()["replayed_rows"] == batches * ROWS
        shard.abandon()
    return {"events replayed": batches * ROWS, "MB": megabytes, "ms until the shard served": milliseconds}
