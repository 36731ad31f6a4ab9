"""Owns how the ids of flushed events become runs on storage: one a slice of time, merged with the smaller before it.

Never touches a manifest: a run that was written here does not exist before it is published with its events.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from core.ids import ShardId
from storage.dedup import NO_TIME_US, DedupRule, slices_of, stored_ids
from storage.dedup_index import RUN_RATIO, order_of
from storage.dedup_run import IdRun, StreamIdRuns, encode_run, read_run
from storage.keys import ids_key
from storage.memtable import StreamKey
from storage.objects import ObjectStore
from storage.windows import Window


def write_runs(
    before: StreamIdRuns | None,
    batches: Sequence[pa.RecordBatch],
    key: StreamKey,
    rule: DedupRule,
    shard: ShardId,
    *,
    new_name: Callable[[], str],
    objects: ObjectStore,
) -> StreamIdRuns:
    """The ids of a stream after a flush of `batches` (memtable form), with their runs written.

    A slice keeps few runs: one that is not at least RUN_RATIO times as large as the next is merged with it. Runs of
    slices that are beyond the window are left out. Raises what ObjectStore raises; what was written are orphans then.
    """
    found = [stored_ids(batch, rule) for batch in batches]
    newest_us = max((watermark_us for _, watermark_us in found), default=NO_TIME_US)
    watermark_us = max(newest_us, before.watermark_us if before else NO_TIME_US)
    oldest = rule.oldest_slice(watermark_us)
    kept: dict[int, list[IdRun]] = {}
    for run in before.runs if before else ():
        number = run.start_us // rule.slice_us
        if number >= oldest:
            kept.setdefault(number, []).append(run)
    high = np.concatenate([ids.high for ids, _ in found])
    low = np.concatenate([ids.low for ids, _ in found])
    numbers = np.concatenate([slices_of(ids.times_us[ids.rows], rule) for ids, _ in found])
    for number in np.unique(numbers[numbers >= oldest]).tolist():
        chosen = numbers == number
        runs = kept.setdefault(number, [])
        parts = [(high[chosen], low[chosen])]
        while runs and runs[-1].ids < RUN_RATIO * sum(len(part[0]) for part in parts):
            parts.append(read_run(objects, runs.pop()))
        runs.append(write_run(parts, number, key, rule, shard, new_name(), objects))
    return StreamIdRuns(watermark_us, tuple(run for number in sorted(kept) for run in kept[number]))


def write_run(
    parts: Sequence[tuple[Any, Any]],
    number: int,
    key: StreamKey,
    rule: DedupRule,
    shard: ShardId,
    name: str,
    objects: ObjectStore,
) -> IdRun:
    """Write the ids of slice `number` in `parts`, (high, low) each and no id twice in all, as one run."""
    high, low = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
    order = order_of(high, low)
    window = Window(number * rule.slice_us, (number + 1) * rule.slice_us)
    data, crc = encode_run(window.start_us, window.end_us, high[order], low[order])
    run = IdRun(ids_key(shard, *key, window.label, name), window.start_us, window.end_us, len(high), crc)
    objects.put_new(run.name, data)
    return run
