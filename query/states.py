"""Owns the partial states of segments: one table per segment where they are few, so that each can be kept.

What is asked for the first time is computed in one pass over all segments, which is faster and keeps nothing; whoever
asks again is likely to go on asking. A scan whose segments have many groups each is wide: keeping and shipping its
states per segment would cost more than it saves, so it is always computed in one pass. Never decides what is pruned.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from core.limits import STATE_GROUPS_MAX
from query.executor import Session
from query.fragment import StreamScan
from query.scan import (
    SegmentPart,
    layout_of,
    open_conditions,
    origin_in,
    part_relation,
    segment_relation,
    segments_relations,
    statement,
    union,
)
from query.state_cache import StateCache, state_key
from storage.snapshot import Segment, StreamSnapshot

_PART: Final = "__malamute_part"
_FILE: Final = "$file"  # stands for the path in a key: the same segment may lie elsewhere tomorrow
_PROBE_SEGMENTS: Final = 2  # are computed first, to see whether a scan is wide
_WIDE_MAX: Final = 10_000  # remembered scans


class States:
    """The states of one worker. Thread-safe."""

    def __init__(self, cache: StateCache | None) -> None:
        self._cache = cache
        self._lock = threading.Lock()
        self._wide: OrderedDict[str, bool] = OrderedDict()  # scan → whether its segments have many groups

    def look_up(self, scan: StreamScan, snapshot: StreamSnapshot) -> dict[str, pa.Table]:
        """The kept states of the snapshot's segments, by segment name."""
        if self._cache is None or self._known(scan):
            return {}
        found = {}
        for segment in snapshot.segments:
            table = self._cache.get(_key(scan, snapshot.shard, segment))
            if table is not None:
                found[segment.name] = table
        return found

    def compute(
        self,
        scan: StreamScan,
        shard: int,
        parts: Sequence[SegmentPart],
        memtable: Sequence[str],
        found: list[pa.Table],
        session: Session,
        keep: bool,
        bytes_max: int | None = None,
    ) -> pa.Table | None:
        """States of all `parts` and of the `memtable` relations, with those `found` already; keeps the new ones.

        None when they take more than `bytes_max` bytes.
        """
        tables = list(found)
        remaining = list(parts)
        # The same scan over another time range is asked for again.
        lasting = (condition.sql for condition in scan.conditions if condition.within is None)
        once = not keep or self._cache is None or self._cache.is_new(_digest(scan, *lasting))
        wide = once or self._known(scan)
        if wide is None and len(remaining) > _PROBE_SEGMENTS:
            probe, remaining = remaining[:_PROBE_SEGMENTS], remaining[_PROBE_SEGMENTS:]
            table, most = self._each(scan, shard, probe, (), session, keep)
            tables.append(table)
            wide = most > STATE_GROUPS_MAX
            self._learn(scan, wide)
        if wide and (remaining or memtable or not tables):
            selects = [*memtable, *segments_relations(scan, shard, remaining, session)]
            sql = statement(scan, union(scan, selects), scan.conditions)
            left = None if bytes_max is None else max(0, bytes_max - sum(table.nbytes for table in tables))
            many = self._known(scan) is True
            rest = session.bounded_table(sql, left) if many and left is not None else session.table(sql)
            if rest is None or (left is not None and rest.nbytes > left):
                return None
            if once and self._known(scan) is None:
                self._learn_from(scan, rest, remaining)
            tables.append(rest)
        elif remaining or memtable or not tables:
            tables.append(self._each(scan, shard, remaining, memtable, session, keep)[0])
        return tables[0] if len(tables) == 1 else pa.concat_tables(tables)

    def status(self) -> dict[str, int]:
        """Numbers of the cache, for people."""
        return self._cache.status() if self._cache is not None else {}

    def _each(
        self,
        scan: StreamScan,
        shard: int,
        parts: Sequence[SegmentPart],
        memtable: Sequence[str],
        session: Session,
        keep: bool,
    ) -> tuple[pa.Table, int]:
        """The states of each part by itself in one statement, and the largest number of groups of a part."""
        selects = []
        for number, part in enumerate(parts):
            relation = part_relation(scan, shard, part, session)
            open_ = open_conditions(scan, part.segment)
            selects.append(statement(scan, relation, open_, f", {number} AS {_PART}"))
        if memtable or not parts:
            selects.append(statement(scan, union(scan, memtable), scan.conditions, f", -1 AS {_PART}"))
        table = session.table(" UNION ALL ".join(f"({select})" for select in selects))
        numbers = table.column(_PART).to_numpy()
        states = table.drop_columns([_PART])
        if keep and self._cache is not None:
            for number, part in enumerate(parts):
                piece = states.filter(pa.array(numbers == number)).combine_chunks()
                self._cache.put(_key(scan, shard, part.segment), piece)
        counts = np.bincount(numbers[numbers >= 0]) if len(numbers) else np.zeros(0, np.int64)
        return states, int(counts.max(initial=0))

    def _known(self, scan: StreamScan) -> bool | None:
        with self._lock:
            return self._wide.get(_digest(scan))

    def _learn_from(self, scan: StreamScan, states: pa.Table, parts: Sequence[SegmentPart]) -> None:
        """All segments together have at least as many groups as any of them: few are few."""
        if parts and states.num_rows > STATE_GROUPS_MAX * len(parts):
            self._learn(scan, True)

    def _learn(self, scan: StreamScan, wide: bool) -> None:
        with self._lock:
            self._wide[_digest(scan)] = wide
            while len(self._wide) > _WIDE_MAX:
                self._wide.popitem(last=False)


def _key(scan: StreamScan, shard: int, segment: Segment) -> str:
    relation = segment_relation(scan, layout_of(scan, segment), origin_in(shard, segment), _FILE)
    return state_key(segment, statement(scan, relation, open_conditions(scan, segment)))


def _digest(scan: StreamScan, *more: str) -> str:
    return hashlib.sha256("\0".join((scan.stream, scan.items, scan.tail, *more)).encode()).hexdigest()
