"""Owns the plan as data: what a leaf has to do and what the coordinator does with it. Picklable, no live objects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import pyarrow as pa

from query.parcel import packed, unpacked

PARTIAL_AGGREGATE: Final = "partial_aggregate"
TOP_N: Final = "topn"
PROJECT: Final = "project"
GATHER: Final = "gather"
CONSTANT: Final = "constant"
WHOLE: Final = "whole"

# Operators of a predicate.
KNOWN: Final = "known"  # not null
LIKE: Final = "like"  # texts of the form of a pattern


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

    `operator` is one of = < <= > >=, `like` (values are patterns of query.search.syntax) and `known` (not null, no
    values). Null never meets a predicate.
    """

    path: str
    kind: str | None
    type: str
    operator: str
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """Whole words that `path` holds as text: lower-case ASCII tokens of storage.tokens; none: it has some value.

    `path` is "" for whatever stands in `_rest`.
    """

    path: str
    kind: str | None
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Condition:
    """One conjunct of a scan's WHERE.

    `within` is set when the conjunct says exactly that the event time is in that range, and nothing else: where all
    events are well inside, it need not be asked.
    """

    sql: str
    within: TimeRange | None = None


@dataclass(frozen=True, slots=True)
class StreamScan:
    """One scan of a stream: `SELECT {items} FROM (columns of the stream) AS {alias} WHERE {conditions} {tail}`."""

    stream: str
    alias: str
    columns: tuple[ScanColumn, ...]
    items: str
    conditions: tuple[Condition, ...] = ()
    tail: str = ""  # GROUP BY, ORDER BY, LIMIT
    time_range: TimeRange | None = None
    predicates: tuple[Predicate, ...] = ()
    words: tuple[tuple[Words, ...], ...] = ()  # of each clause, every wanted row meets at least one entry
    states: bool = False  # partial states come back: those of an immutable segment can be kept
    few_rows: bool = False  # groups or a limited number of rows come back


@dataclass(frozen=True, slots=True)
class Query:
    """A query itself, for where all of its rows are: `sql` reads the scans as `inputs`.

    `few_rows`: groups or a limited number of rows come back.
    """

    sql: str
    inputs: tuple[str, ...]
    few_rows: bool

    def over(self, relations: Iterable[str]) -> str:
        """The SQL of the query where the SQL of each scan is that of `relations`."""
        # Not as views: to make one takes the engine 0.3 ms.
        held = zip(self.inputs, relations, strict=True)
        given = ", ".join(f'"{name}" AS NOT MATERIALIZED ({sql})' for name, sql in held)
        for keyword in ("WITH RECURSIVE ", "WITH "):
            if self.sql.startswith(keyword):
                return f"{keyword}{given}, {self.sql.removeprefix(keyword)}"
        if self.sql.startswith(("SUMMARIZE ", "DESCRIBE ")):  # no WITH may come before these
            return f"WITH {given} SELECT * FROM ({self.sql})"
        return f"WITH {given} {self.sql}"


@dataclass(frozen=True, slots=True)
class Leaf:
    """What runs beside the data; where a stream of some scan is not held, that scan is answered with no rows.

    Each scan gives a table; with a `query` over them it gives the only one. `bytes_max` bounds the rows of all scans
    and fragments together, None = unbounded.
    """

    scans: tuple[StreamScan, ...]
    bytes_max: int | None = None
    query: Query | None = None


@dataclass(frozen=True, slots=True)
class DistributedPlan:
    """A query in two steps. `merge_sql` reads the tables `inputs[i]` = all leaves' results of `leaf.scans[i]`.

    `casts[i]` gives for each column of input i its SQL type where Arrow may carry another one, else "".
    `names` are the result's column names in order; they may repeat, and None means those of `merge_sql`, which only the
    data decide. `table` is the answer of a constant plan that
    needs no engine. `piecewise` says that the result is that of each task, one after the other; `repeatable` that the
    same snapshot always gives the same result. `alone` is the leaf that answers the query by itself when it is its only
    task.
    """

    kind: str
    leaf: Leaf
    merge_sql: str
    inputs: tuple[str, ...]
    casts: tuple[tuple[str, ...], ...]
    names: tuple[str, ...] | None
    warnings: tuple[str, ...] = ()
    table: pa.Table | None = None
    piecewise: bool = False
    repeatable: bool = False
    alone: Leaf | None = None

    @property
    def keeps_states(self) -> bool:
        """Whether the leaf gives partial states that a worker may keep."""
        return any(scan.states for scan in self.leaf.scans)

    def whole(self) -> DistributedPlan:
        """The plan for a query of one task: it runs where its rows are, and nothing is left to merge."""
        leaf = self.alone or self.leaf
        return replace(self, kind=WHOLE, leaf=leaf, merge_sql="", inputs=(), casts=())


@dataclass(frozen=True, slots=True)
class LeafStats:
    """What was looked at, summed over fragments. Counts of segments, their row groups, and memtable batches.

    Each segment that the snapshot holds is in exactly one of `segments_pruned`, `segments_cached` (its partial states
    were known) and `segments_read`. `bytes_read` are the compressed bytes of the columns and row groups that were read.
    `reasons` counts row groups by what their segment's index refuted them with.
    """

    segments: int = 0
    segments_pruned: int = 0
    segments_cached: int = 0
    segments_read: int = 0
    row_groups: int = 0  # of the segments that were not pruned or cached
    row_groups_pruned: int = 0
    batches: int = 0
    batches_pruned: int = 0
    rows_scanned: int = 0
    bytes_read: int = 0
    reasons: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: LeafStats) -> LeafStats:
        names = LeafStats.__dataclass_fields__.keys() - {"reasons"}
        reasons = dict(Counter(self.reasons) + Counter(other.reasons))
        return LeafStats(**{name: getattr(self, name) + getattr(other, name) for name in names}, reasons=reasons)


@dataclass(frozen=True, slots=True)
class LeafResult:
    """One table per scan of the leaf, in order, or that of its query. `seconds` is how long it took where it ran."""

    tables: tuple[pa.Table, ...]
    stats: LeafStats = field(default_factory=LeafStats)
    seconds: float = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return _leaf_result, (tuple(map(packed, self.tables)), self.stats, self.seconds)


def _leaf_result(sent: tuple[pa.Table | bytes, ...], stats: LeafStats, seconds: float) -> LeafResult:
    return LeafResult(tuple(map(unpacked, sent)), stats, seconds)
