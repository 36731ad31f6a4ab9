"""Owns the scan: segments and memtable batches of a snapshot as SQL relations of the columns a query needs.

Files and batches that store the needed columns alike are read together; groups are put together by UNION ALL.
Never decides which columns are needed or what they mean, nor which segments and row groups are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from core.batch import REST, SHARD, TIMESTAMP
from core.columns import STR, ColumnKey, key_of
from query.dialect import literal, quote
from query.executor import Session
from query.fragment import Condition, ScanColumn, StreamScan, TimeRange
from query.numeric_text import may_be_numeric
from query.pruning import may_be_wanted
from query.readings import DOUBLE, read_path
from query.row_groups import ROW_NUMBER
from storage.keys import origin_of
from storage.snapshot import ColumnStats, Segment, StreamSnapshot

_Signature = tuple[object, ...]

# Bounds of a time range carry a microsecond on each side already (query.conditions); well inside is one more.
_MARGIN_US: Final = 2


@dataclass(frozen=True, slots=True)
class Layout:
    """How a segment or batch stores what a scan needs."""

    names: dict[ColumnKey, str]
    has_rest: bool
    without_numbers: frozenset[ColumnKey] = frozenset()  # columns of text, none of which is a number

    @property
    def signature(self) -> _Signature:
        """Equal for files that can be read as one."""
        return (self.has_rest, *sorted(self.names.items()), *sorted(self.without_numbers))


@dataclass(frozen=True, slots=True)
class SegmentPart:
    """What is read of one segment: a verified local file and its row ranges [first, last], None = all rows.

    `table` holds all its rows, of the columns that the scan reads, where they are in memory.
    """

    segment: Segment
    path: str
    ranges: tuple[tuple[int, int], ...] | None = None
    table: pa.Table | None = None


def layout_of(scan: StreamScan, segment: Segment) -> Layout:
    """How `segment` stores what `scan` needs: what cannot be of a wanted row is as if it were not there."""
    paths = {column.path for column in scan.columns if column.path}
    numbers = {column.path for column in scan.columns if column.path and column.type == DOUBLE}
    has_rest = segment.has_rest and wants_rest(scan)
    wanted = () if has_rest else scan.predicates
    held = [stats for stats in segment.columns if stats.key.path in paths and may_be_wanted(stats, wanted)]
    return Layout(
        {stats.key: stats.name for stats in held},
        has_rest,
        frozenset(stats.key for stats in held if stats.key.path in numbers and _holds_no_number(stats)),
    )


def _holds_no_number(stats: ColumnStats) -> bool:
    if stats.key.kind != STR or stats.minimum is None or stats.maximum is None:
        return False
    return not may_be_numeric(stats.minimum, stats.maximum)


def wants_rest(scan: StreamScan) -> bool:
    """Whether values that `scan` needs may stand in `_rest`."""
    return any(column.system == REST or column.path for column in scan.columns)


def columns_read(scan: StreamScan, layout: Layout) -> set[str]:
    """Names in the file of the columns that `scan` reads."""
    system = {column.system for column in scan.columns if column.system not in (None, SHARD, REST)}
    return {str(name) for name in system} | set(layout.names.values()) | ({REST} if layout.has_rest else set())


def plain_paths(scan: StreamScan, layout: Layout) -> set[str]:
    """The paths of which every column of `scan` is a column of the file as it is."""
    names = set(map(quote, layout.names.values()))
    converted = {column.path for column in scan.columns if _expression(column, layout, 0) not in names}
    return {column.path for column in scan.columns if column.path} - converted


def statement(scan: StreamScan, relation: str, conditions: Iterable[Condition], extra_item: str = "") -> str:
    """The leaf's SELECT over `relation`; `extra_item` is one more column at the end."""
    where = " AND ".join(f"({condition.sql})" for condition in conditions)
    sql = f"SELECT {scan.items}{extra_item} FROM ({relation}) AS {quote(scan.alias)}"
    return f"{sql}{f' WHERE {where}' if where else ''}{f' {scan.tail}' if scan.tail else ''}"


def open_conditions(scan: StreamScan, segment: Segment) -> list[Condition]:
    """The conditions that rows of `segment` may fail: a time range that holds all of them need not be asked."""
    return [c for c in scan.conditions if c.within is None or not _well_inside(c.within, segment)]


def _well_inside(range_: TimeRange, segment: Segment) -> bool:
    after = range_.start_us is None or segment.timestamp_min_us > range_.start_us + _MARGIN_US
    return after and (range_.end_us is None or segment.timestamp_max_us < range_.end_us - _MARGIN_US)


def origin_in(shard: int, segment: Segment) -> int:
    """The shard whose offsets a segment of `shard` has."""
    origin = origin_of(segment.name)
    return shard if origin is None else origin


def part_relation(scan: StreamScan, shard: int, part: SegmentPart, session: Session) -> str:
    """The SQL of one part's rows in the columns of `scan`."""
    layout, origin = layout_of(scan, part.segment), origin_in(shard, part.segment)
    if part.table is not None:
        return _select(scan.columns, layout, origin, session.add(part.table))
    return segment_relation(scan, layout, origin, literal(part.path), part)


def segment_relation(scan: StreamScan, layout: Layout, shard: int, file: str, part: SegmentPart | None = None) -> str:
    """The SQL of one segment's rows in the columns of `scan`; `file` is SQL for its path."""
    options, where = "hive_partitioning = false", ""
    if part is not None and part.ranges is not None:
        # As a column that is asked for: the engine fails to plan a top N over one file where it is the hidden one.
        options, where = f"{options}, {ROW_NUMBER} = true", _row_ranges(part.ranges)
    return _select(scan.columns, layout, shard, f"read_parquet({file}, {options})") + where


def segments_relations(scan: StreamScan, shard: int, parts: Sequence[SegmentPart], session: Session) -> list[str]:
    """The SQL of all `parts`: files of one layout are one relation, tables likewise; parts of a file are one each."""
    selects = []
    files: dict[_Signature, tuple[Layout, int, list[str]]] = {}
    tables: dict[_Signature, tuple[Layout, int, list[pa.Table]]] = {}
    for part in parts:
        layout, origin = layout_of(scan, part.segment), origin_in(shard, part.segment)
        if part.table is not None:
            types = tuple(str(field.type) for field in part.table.schema)
            tables.setdefault((layout.signature, origin, types), (layout, origin, []))[2].append(part.table)
        elif part.ranges is None:
            files.setdefault((layout.signature, origin), (layout, origin, []))[2].append(literal(part.path))
        else:
            selects.append(segment_relation(scan, layout, origin, literal(part.path), part))
    for layout, origin, paths in files.values():
        selects.append(segment_relation(scan, layout, origin, f"[{', '.join(paths)}]"))
    for layout, origin, held in tables.values():
        selects.append(_select(scan.columns, layout, origin, session.add(pa.concat_tables(held))))
    return selects


def memtable_relations(
    scan: StreamScan, snapshot: StreamSnapshot, batches: Sequence[pa.RecordBatch], session: Session
) -> list[str]:
    """The SQL of the `batches`, which are registered in `session`."""
    return [
        _select(scan.columns, layout, snapshot.shard, session.add(table))
        for layout, table in _batch_tables(batches, scan)
    ]


def union(scan: StreamScan, selects: Sequence[str]) -> str:
    """All `selects` as one relation; without any, a relation without rows."""
    if not selects:
        empty = [f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in scan.columns]
        return f"SELECT {', '.join(empty) or '1'} LIMIT 0"
    return " UNION ALL ".join(f"({select})" for select in selects)


def batch_may_match(batch: pa.RecordBatch, scan: StreamScan) -> bool:
    """Whether a memtable batch may hold rows in the scan's time range."""
    if scan.time_range is None:
        return True
    bounds = pc.min_max(batch.column(TIMESTAMP).cast(pa.int64())).as_py()
    return bounds["min"] is not None and scan.time_range.overlaps(bounds["min"], bounds["max"])


def _row_ranges(ranges: Sequence[tuple[int, int]]) -> str:
    # The engine skips row groups by their row numbers: measured, one of three row groups takes 12 of 28 ms.
    terms = [f"{ROW_NUMBER} BETWEEN {first} AND {last}" for first, last in ranges]
    return f" WHERE {' OR '.join(terms)}"


def _select(columns: Iterable[ScanColumn], layout: Layout, shard: int, relation: str) -> str:
    items = [f"{_expression(column, layout, shard)} AS {quote(column.name)}" for column in columns]
    return f"SELECT {', '.join(items) or '1'} FROM {relation}"


def _expression(column: ScanColumn, layout: Layout, shard: int) -> str:
    if column.system == SHARD:
        return f"CAST({shard} AS {column.type})"
    if column.system == REST and not layout.has_rest:
        return f"CAST(NULL AS {column.type})"
    if column.system is not None:
        return quote(column.system)
    held = {
        key.kind: name
        for key, name in layout.names.items()
        if key.path == column.path
        and column.kind in (None, key.kind)
        and not (column.type == DOUBLE and key in layout.without_numbers)
    }
    rest_path = column.path if layout.has_rest and column.kind is None else None
    return read_path(column.type, held, rest_path, column.through)


def _batch_tables(batches: Sequence[pa.RecordBatch], scan: StreamScan) -> list[tuple[Layout, pa.Table]]:
    """Batches that store the needed columns alike, as tables of just these, without a copy."""
    paths = {column.path for column in scan.columns if column.path}
    rest = wants_rest(scan)
    system = [c.system for c in scan.columns if c.system is not None and c.system not in (SHARD, REST)] or [TIMESTAMP]
    groups: dict[_Signature, tuple[Layout, pa.Schema, list[pa.RecordBatch]]] = {}
    for batch in batches:
        names = {key: field.name for field in batch.schema if (key := key_of(field)) is not None and key.path in paths}
        layout = Layout(names, rest and REST in batch.schema.names)
        wanted = [*dict.fromkeys(system), *names.values(), *([REST] if layout.has_rest else ())]
        schema = pa.schema([pa.field(name, batch.schema.field(name).type) for name in wanted])
        arrays = [batch.column(name) for name in wanted]
        # Same columns, but plain or dictionary-encoded: not the same table.
        signature = (layout.signature, tuple(str(field.type) for field in schema))
        group = groups.setdefault(signature, (layout, schema, []))
        group[2].append(pa.RecordBatch.from_arrays(arrays, schema=group[1]))
    return [(layout, pa.Table.from_batches(held, schema=schema)) for layout, schema, held in groups.values()]
