"""Owns the shape of a stream: which paths and kinds it holds. Plain data that crosses processes; opens no files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from core.batch import REST, TIMESTAMP
from core.columns import key_of
from storage.snapshot import Segment, StreamSnapshot


@dataclass(frozen=True)
class StreamShape:
    """What a planner needs to know of a stream.

    `paths` gives the number of values per kind of each path; times are UTC microseconds, None without rows.
    `has_rest` tells that further paths may hide in `_rest`.
    """

    rows: int = 0
    paths: dict[str, dict[str, int]] = field(default_factory=dict)
    has_rest: bool = False
    time_min_us: int | None = None
    time_max_us: int | None = None

    @cached_property
    def signature(self) -> tuple[object, ...]:
        """What a plan depends on: paths and their kinds, not how many values there are."""
        return (self.has_rest, *((path, *sorted(kinds)) for path, kinds in self.paths.items()))

    @cached_property
    def folded(self) -> dict[str, list[str]]:
        """Paths by their case-folded form: SQL names ignore case."""
        found: dict[str, list[str]] = {}
        for path in self.paths:
            found.setdefault(path.casefold(), []).append(path)
        return found

    def find(self, name: str) -> str | None:
        """The path that `name` means: itself, else the only one that differs just in case."""
        if name in self.paths:
            return name
        candidates = self.folded.get(name.casefold(), [])
        return candidates[0] if len(candidates) == 1 else None


def describe(snapshot: StreamSnapshot) -> StreamShape:
    """The shape of what one shard holds of a stream."""
    return merge_shapes((shape_of_segments(snapshot.segments), shape_of_batches(snapshot.memtable)))


def shape_of_segments(segments: Iterable[Segment]) -> StreamShape:
    """The shape of segments, from what the manifest says of them."""
    paths: dict[str, Counter[str]] = {}
    times: list[int] = []
    rows = 0
    has_rest = False
    for segment in segments:
        rows += segment.rows
        has_rest = has_rest or segment.has_rest
        times += (segment.timestamp_min_us, segment.timestamp_max_us)
        for column in segment.columns:
            paths.setdefault(column.key.path, Counter())[column.key.kind] += column.values
    return _shape(rows, paths, has_rest, times)


def shape_of_batches(batches: Iterable[pa.RecordBatch]) -> StreamShape:
    """The shape of memtable batches."""
    paths: dict[str, Counter[str]] = {}
    times: list[int] = []
    rows = 0
    has_rest = False
    for batch in batches:
        rows += batch.num_rows
        for index, arrow_field in enumerate(batch.schema):
            key = key_of(arrow_field)
            if key is not None:
                paths.setdefault(key.path, Counter())[key.kind] += batch.num_rows - batch.column(index).null_count
            elif arrow_field.name == REST:
                has_rest = has_rest or batch.column(index).null_count < batch.num_rows
        bounds = pc.min_max(batch.column(TIMESTAMP).cast("int64")).as_py()
        times += (bounds["min"], bounds["max"])
    return _shape(rows, paths, has_rest, times)


def merge_shapes(shapes: Iterable[StreamShape]) -> StreamShape:
    """The shape of all shards together."""
    filled = [shape for shape in shapes if shape.rows]
    if len(filled) == 1:
        return filled[0]  # of a wide stream, putting its paths together would take milliseconds of every query
    paths: dict[str, dict[str, int]] = {}
    times: list[int] = []
    for shape in filled:
        times += [time for time in (shape.time_min_us, shape.time_max_us) if time is not None]
        for path, kinds in shape.paths.items():
            held = paths.setdefault(path, {})
            for kind, values in kinds.items():
                held[kind] = held.get(kind, 0) + values
    return _shape(sum(shape.rows for shape in filled), paths, any(shape.has_rest for shape in filled), times)


def _shape(rows: int, paths: Mapping[str, Mapping[str, int]], has_rest: bool, times: list[int]) -> StreamShape:
    return StreamShape(
        rows=rows,
        paths={path: dict(kinds) for path, kinds in sorted(paths.items())},
        has_rest=has_rest,
        time_min_us=min(times, default=None),
        time_max_us=max(times, default=None),
    )
