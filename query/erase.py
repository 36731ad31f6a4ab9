"""Owns finding the events of a delete in a segment, beside the data. Never erases anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from core.ids import ShardId
from query.fragment import Leaf
from query.pruning import refuted_by
from query.worker import Worker
from storage.snapshot import Segment, StreamSnapshot


def offsets_found(worker: Worker, leaf: Leaf, shard: ShardId) -> Callable[[Segment], Any]:
    """A function that gives the offsets (int64) that `leaf`, of query.hidden.finding, finds in a segment of `shard`."""
    (scan,) = leaf.scans

    def find(segment: Segment) -> Any:
        if refuted_by(segment, scan.time_range, scan.predicates):
            return np.empty(0, np.int64)
        snapshot = StreamSnapshot(shard, segment.tenant, segment.stream, 0, 0, (segment,), ())
        (table,) = worker.run_leaf(leaf, {segment.stream: snapshot}, cache=False).tables
        return table.column(0).to_numpy()

    return find
