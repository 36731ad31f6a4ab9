"""What merges compress at length: the same rows in fewer bytes."""

from __future__ import annotations

import random

import pyarrow as pa

from storage.compaction import Job, carry_out
from storage.compaction_plan import Merge
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from tests.support.batches import START_US, memtable_batch
from tests.support.merges import SHARD, Merges

SETTINGS = StreamSettings("logs")


def test_a_cold_merge_has_the_same_rows_in_fewer_bytes() -> None:
    merges, rng, inputs = Merges(), random.Random(3), []
    for first in range(0, 9_000, 3_000):
        texts = [f"GET /a/{rng.randrange(9)}?c={rng.randrange(10**6)} took long" for _ in range(3_000)]
        times = [START_US + first + row for row in range(3_000)]
        inputs += merges.flushed([memtable_batch({("message", "str"): texts}, times, first)], SETTINGS)

    def merged(cold: bool) -> Segment:
        job = Job(SHARD, 1, Merge(tuple(inputs), 1, 1, cold), SETTINGS, (merges.number(),))
        done = carry_out(job, merges.objects, lambda s: pa.py_buffer(merges.objects.get(s.name)), lambda: None)
        (output,) = done.outputs
        return output

    quick, long = merged(False), merged(True)
    merges.check(inputs, [long])
    assert merges.rows([quick]) == merges.rows([long]) and long.bytes < quick.bytes
