"""After the warm-up nothing is compiled any more: the first request does not pay for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

# In a process of its own: this one has compiled all it needs long ago.
PROBE = """
from core.kernels import KERNELS
from ingest.compiled.warm_up import warm_up
warm_up()
before = {id(kernel): len(kernel.signatures) for kernel in KERNELS}

import io
import orjson
from ingest.generate import generator
from ingest.shred import ShredSettings, json_blocks, shred_dicts, shred_json, shred_msgpack
from ingest.unshred_json import to_ndjson

ndjson = generator("logs", 3).ndjson(5000, 1_700_000_000_000_000)
rows = ({f"k{n}": n, "list": [n, None], "a": {"b": [{"c": n}]}, "t": n / 3} for n in range(2000))
odd = b"".join(orjson.dumps(row) + b"\\n" for row in rows)
for data in (ndjson, odd, b"[" + ndjson.replace(b"\\n", b",") + b"]"):
    for block in json_blocks(io.BytesIO(data), 100_000):
        batch = shred_json(block.data, block.layout, ShredSettings(max_paths=50), ingest_time_us=1).batch
        to_ndjson(batch)
events = [orjson.loads(line) for line in (ndjson + odd).splitlines()]
shred_dicts([*events, {"b": b"x", "n": 2**70, 1: 2}], ShredSettings(), ingest_time_us=1)
shred_msgpack(b"\\x81\\xa1a\\x93\\x01\\xa1b\\x80" * 9, ShredSettings(), ingest_time_us=1)
print(sorted(kernel.__name__ for kernel in KERNELS if before.get(id(kernel), 0) != len(kernel.signatures)))
"""


def test_nothing_is_compiled_after_the_warm_up() -> None:
    done = subprocess.run([sys.executable, "-c", PROBE], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[]"


STORAGE_PROBE = """
from core.kernels import KERNELS
from storage.warm_up import warm_up
warm_up()
before = {id(kernel): len(kernel.signatures) for kernel in KERNELS}

from core.ids import ShardId
from storage.segment_index_writer import build_index
from storage.segment_writer import encode_segment
from storage.columns_merge import merge_batches
from storage.stream_settings import StreamSettings
from tests.support.batches import log_batch
from tests.unit.test_segment_merge import random_batches

for batches in ([log_batch(5000), log_batch(300, 1, 5000)], random_batches(7, 200, 5)):
    encode_segment(batches, "default", StreamSettings("logs"), ShardId(0))
    build_index(merge_batches(batches, 1000), 100)

from core.clock import ManualClock
from tests.support.dedup import NOW_US, Sent, append_events, open_dedup
from tests.support.simfs import SimFileSystem

fs, clock = SimFileSystem(), ManualClock()
for life in range(2):
    shard = open_dedup(fs, clock)
    epoch = shard.open_producer("default", "logs", "p").epoch
    for sequence in range(3):
        ids = ("a", "", 1, 2.5, 2**64 - 1, 2**70, f"{life}{sequence}", None)
        append_events(shard, "p", epoch, sequence, [Sent(id_, NOW_US - sequence * 10**7, 0) for id_ in ids])
        shard.flush()
        clock.advance(50)
    shard.abandon()
KERNELS[:] = [kernel for kernel in KERNELS if not kernel.py_func.__module__.startswith("ingest.")]  # made the events
print(sorted(kernel.__name__ for kernel in KERNELS if before.get(id(kernel), 0) != len(kernel.signatures)))
"""


def test_a_flush_compiles_nothing_after_the_warm_up() -> None:
    command = [sys.executable, "-c", STORAGE_PROBE]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines()[-1] == "[]"
