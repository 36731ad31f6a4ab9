"""Owns the plan as data: what a leaf has to do and what the coordinator does with it. Picklable, no live objects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import pyarrow as pa

PARTIAL_AGGREGATE: Final = "partial_aggregate"
TOP_N: Final = "topn"
PROJECT: Final = "project"
GATHER: Final = "gather"
CONSTANT: Final = "constant"


@dataclass(frozen=True, slots=True)
class ScanColumn:
    """One column that a scan gives under `name`: a reading of a path as SQL type `type`, or a system column.

    `kind` restricts it to one kind of the path (`"path::kind"` in a query); `path` is "" for a system column.
    `through` is the type that values are read as before `type`, "" for none: text of a number is text of that type.
    """

    name: str
    type: str
    path: str = ""
    kind: str | None = None
    system: str | None = None
    through: str = ""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """UTC microseconds, both ends inclusive; None = open."""

    start_us: int | None = None
    end_us: int | None = None

    def overlaps(self, first_us: int, last_us: int) -> bool:
        """Whether anything between `first_us` and `last_us` (inclusive) may be in the range."""
        if self.start_us is not None and last_us < self.start_us:
            return False
        return self.end_us is None or first_us <= self.end_us


@dataclass(frozen=True, slots=True)
class Predicate:
    """A condition that every wanted row meets: `path` read as `type`, compared by `operator` with one of `values`.

    `operator` is one of = < <= > >= and `known` (not null, no values). Null never meets a predicate.
    """

    path: str
    kind: str | None
    type: str
    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class StreamScan:
    """One scan of a stream at a leaf: `SELECT {items} FROM (columns of the stream) AS {alias} {tail}`."""

    stream: str
    alias: str
    columns: tuple[ScanColumn, ...]
    items: str
    tail: str
    time_range: TimeRange | None = None
    predicates: tuple[Predicate, ...] = ()
    few_rows: bool = False  # groups or a limited number of rows come back


@dataclass(frozen=True, slots=True)
class Leaf:
    """What each shard runs; a shard without a stream of some scan answers that scan with no rows.

    `bytes_max` bounds the rows of all scans and shards together, None = unbounded.
    """

    scans: tuple[StreamScan, ...]
    bytes_max: int | None = None


@dataclass(frozen=True, slots=True)
class DistributedPlan:
    """A query in two steps. `merge_sql` reads the tables `inputs[i]` = all leaves' results of `leaf.scans[i]`.

    `casts[i]` gives for each column of input i its SQL type where Arrow may carry another one, else "".
    `names` are the result's column names in order; they may repeat, and None means those of `merge_sql`, which only the
    data decide. `table` is the answer of a constant plan that
    needs no engine.
    """

    kind: str
    leaf: Leaf
    merge_sql: str
    inputs: tuple[str, ...]
    casts: tuple[tuple[str, ...], ...]
    names: tuple[str, ...] | None
    warnings: tuple[str, ...] = ()
    table: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class LeafStats:
    """What a leaf looked at. `bytes_read` is the size of the segments it opened, an upper bound of what was read."""

    segments: int = 0
    segments_pruned: int = 0
    batches: int = 0
    batches_pruned: int = 0
    rows_scanned: int = 0
    bytes_read: int = 0

    def __add__(self, other: LeafStats) -> LeafStats:
        return LeafStats(
            self.segments + other.segments,
            self.segments_pruned + other.segments_pruned,
            self.batches + other.batches,
            self.batches_pruned + other.batches_pruned,
            self.rows_scanned + other.rows_scanned,
            self.bytes_read + other.bytes_read,
        )


@dataclass(frozen=True, slots=True)
class LeafResult:
    """One table per scan of the leaf, in order."""

    tables: tuple[pa.Table, ...]
    stats: LeafStats = field(default_factory=LeafStats)
