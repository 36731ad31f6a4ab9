"""Owns the cut of a leaf into tasks: which segments, which memtable, on which worker. Pure; sends nothing.

Segments go to readers by rendezvous hashing (Thaler and Ravishankar, 1998), so that each is read, and its caches
filled, by the same reader as long as that one is there; a reader that has much more to do hands over to the second
choice. Without readers every shard reads its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from core.ids import ShardId
from query.fragment import Leaf
from query.holdings import Holding
from query.pruning import refuted_by
from storage.snapshot import Segment, StreamSnapshot

# A reader whose share of a query is so much larger than the second choice's gives a segment to that one.
_BUSY_FACTOR: Final = 1.25

# Rows of segments that one worker reads sooner than several read them and the coordinator merges what they found.
QUICK_ROWS_MAX: Final = 100_000


@dataclass(frozen=True, slots=True)
class Task:
    """A part of a leaf: `segments` by stream, and the memtable batches of `shard` if `memtable`.

    The segments are of `shard`, unless it is the only task. `workers` are those that can run it, best first.
    """

    number: int
    shard: int
    segments: Mapping[str, tuple[Segment, ...]]
    memtable: bool
    workers: tuple[str, ...]

    @property
    def segment_count(self) -> int:
        """How many segments there are to look at."""
        return sum(len(held) for held in self.segments.values())

    @property
    def rows(self) -> int:
        """How many rows the segments have."""
        return sum(segment.rows for held in self.segments.values() for segment in held)


@dataclass(frozen=True, slots=True)
class Pruned:
    """The segments of one holding that a query has to look at, and why the others need not be."""

    holding: Holding
    stream: str
    segments: tuple[Segment, ...]
    reasons: Mapping[str, int]


def shard_worker(shard: int) -> str:
    """The name of a shard as a worker."""
    return f"shard-{shard}"


def reader_worker(number: int) -> str:
    """The name of a reader as a worker."""
    return f"reader-{number}"


def prune(leaf: Leaf, holdings: Mapping[str, Sequence[Holding]]) -> list[Pruned]:
    """What is left of each holding for the scans of `leaf`, newest segments first.

    A stream that several scans read is pruned by what none of them needs.
    """
    pruned = []
    for stream in dict.fromkeys(scan.stream for scan in leaf.scans):
        scans = [scan for scan in leaf.scans if scan.stream == stream]
        paths = {column.path for scan in scans for column in scan.columns}
        paths |= {predicate.path for scan in scans for predicate in scan.predicates}
        paths |= {words.path for scan in scans for clause in scan.words for words in clause}
        for holding in holdings.get(stream, ()):
            kept: list[Segment] = []
            reasons: dict[str, int] = {}
            for segment in holding.segments:
                found = [refuted_by(segment, scan.time_range, scan.predicates) for scan in scans]
                if all(found):
                    reasons[found[0]] = reasons.get(found[0], 0) + 1
                else:
                    kept.append(_slim(segment, paths))
            kept.sort(key=lambda segment: segment.timestamp_max_us, reverse=True)
            pruned.append(Pruned(holding, stream, tuple(kept), reasons))
    return pruned


def make_tasks(pruned: Iterable[Pruned], readers: Sequence[str], segments_max: int, rows_max: int) -> list[Task]:
    """The tasks for what is left, of at most `segments_max` segments and about `rows_max` rows each.

    Without `readers` a shard's own actor reads its segments, or one shard those of all when they are few.
    """
    held = list(pruned)
    alone = None if readers else _one_for_all(held, segments_max)
    by_shard: dict[int, list[Pruned]] = {}
    for part in held:
        by_shard.setdefault(part.holding.shard if alone is None else alone, []).append(part)
    tasks: list[Task] = []
    load: dict[str, int] = {}
    for shard, parts in sorted(by_shard.items()):
        own = shard_worker(shard)
        memtable = any(part.holding.batches for part in parts)
        placed: dict[tuple[str, ...], list[tuple[str, Segment]]] = {}
        for part in parts:
            for segment in part.segments:
                workers = _workers(segment, readers, load) if readers else (own,)
                load[workers[0]] = load.get(workers[0], 0) + segment.bytes
                placed.setdefault(workers, []).append((part.stream, segment))
        mine = placed.pop((own,), [])
        chunks = list(_chunks(mine, segments_max, rows_max))
        if memtable or chunks:
            # The memtable goes with the newest segments: one call where one is enough.
            first = chunks.pop(0) if chunks else []
            tasks.append(Task(len(tasks), shard, _by_stream(first), memtable, (own,)))
            tasks += [Task(len(tasks) + n, shard, _by_stream(c), False, (own,)) for n, c in enumerate(chunks)]
        for workers, segments in placed.items():
            for chunk in _chunks(segments, segments_max, rows_max):
                tasks.append(Task(len(tasks), shard, _by_stream(chunk), False, workers))
    return tasks


def _one_for_all(pruned: Sequence[Pruned], segments_max: int) -> int | None:
    """The shard that reads all segments, because they are few and no other has a memtable; None when there is none."""
    memtables = {part.holding.shard for part in pruned if part.holding.batches}
    rows: dict[int, int] = {}
    for part in pruned:
        rows[part.holding.shard] = rows.get(part.holding.shard, 0) + sum(segment.rows for segment in part.segments)
    count = sum(len(part.segments) for part in pruned)
    if len(memtables) > 1 or count > segments_max or sum(rows.values()) > QUICK_ROWS_MAX:
        return None
    return max(memtables or rows, key=lambda shard: rows[shard], default=None)


def task_snapshots(task: Task, pinned: Mapping[str, StreamSnapshot]) -> dict[str, StreamSnapshot]:
    """What `task` has to look at, by stream: its segments, and the memtable batches of the `pinned` snapshots."""
    found = {stream: replace(snapshot, segments=()) for stream, snapshot in pinned.items()}
    for stream, segments in task.segments.items():
        held = found.get(stream) or StreamSnapshot(
            ShardId(task.shard),
            segments[0].tenant,
            stream,
            manifest_version=0,
            visible_offset=0,
            segments=(),
            memtable=(),
        )
        found[stream] = replace(held, segments=segments)
    return found


def rendezvous(name: str, workers: Sequence[str]) -> list[str]:
    """`workers` in the order of preference of `name`."""

    def weight(worker: str) -> bytes:
        return hashlib.blake2b(f"{worker}\0{name}".encode(), digest_size=8).digest()

    return sorted(workers, key=weight, reverse=True)


def _workers(segment: Segment, readers: Sequence[str], load: Mapping[str, int]) -> tuple[str, ...]:
    order = rendezvous(segment.name, readers)
    if len(order) > 1:
        first, second = load.get(order[0], 0), load.get(order[1], 0)
        if first > _BUSY_FACTOR * (second + segment.bytes):
            order[0], order[1] = order[1], order[0]
    return tuple(order[:2])


def _chunks(
    segments: Sequence[tuple[str, Segment]], segments_max: int, rows_max: int
) -> Iterable[list[tuple[str, Segment]]]:
    chunk: list[tuple[str, Segment]] = []
    rows = 0
    for stream, segment in segments:
        if chunk and (len(chunk) >= segments_max or rows + segment.rows > rows_max):
            yield chunk
            chunk, rows = [], 0
        chunk.append((stream, segment))
        rows += segment.rows
    if chunk:
        yield chunk


def _by_stream(segments: Iterable[tuple[str, Segment]]) -> dict[str, tuple[Segment, ...]]:
    found: dict[str, list[Segment]] = {}
    for stream, segment in segments:
        found.setdefault(stream, []).append(segment)
    return {stream: tuple(held) for stream, held in found.items()}


def _slim(segment: Segment, paths: set[str]) -> Segment:
    """The segment without what the query does not need to know of it."""
    return replace(segment, columns=tuple(stats for stats in segment.columns if stats.key.path in paths))
