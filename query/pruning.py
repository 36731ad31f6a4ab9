"""Owns pruning: which segments and row groups cannot hold a wanted row, by time, zone maps and words.

Always conservative: what is skipped cannot hold a wanted row; what is not understood is not skipped.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from core.columns import DECIMAL, FLOAT, INT, STR, UINT
from query.fragment import KNOWN, LIKE, Predicate, TimeRange
from query.numeric_text import is_numeric
from query.readings import NUMERIC_TYPES, VARCHAR
from query.search.syntax import Wild
from query.text_forms import form, prefix_of
from storage.segment_index import Zone
from storage.snapshot import ColumnStats, Segment
from storage.string_zone_maps import decode_string_zone_map

_NUMBER_KINDS: Final = frozenset({INT, UINT, FLOAT})
_KINDS_OF_DIGITS: Final = _NUMBER_KINDS | {DECIMAL}


def refuted_by(segment: Segment, range_: TimeRange | None, wanted: Iterable[Predicate]) -> str:
    """What says that `segment` holds no row in the range that meets all predicates, "" when it may hold one."""
    if range_ is not None and not range_.overlaps(segment.timestamp_min_us, segment.timestamp_max_us):
        return "time"
    if segment.has_rest:
        return ""
    for predicate in wanted:
        if not may_meet(segment.columns, predicate):
            return f"zone map of {predicate.path}"
    return ""


def may_meet(columns: Iterable[ColumnStats], predicate: Predicate) -> bool:
    """Whether one of the columns that hold the predicate's path may have a value that meets it."""
    return any(stats.values and _is_of(stats, predicate) and _column_may_meet(stats, predicate) for stats in columns)


def list_may_meet(kind: str, zone: Zone, predicate: Predicate) -> bool:
    """Whether one of all values of a row group's column of a kind may meet the predicate, as far as they are listed."""
    if zone.listed is None:
        return True
    if predicate.type == VARCHAR and kind == STR:
        if predicate.operator == "=" and all(isinstance(value, str) for value in predicate.values):
            return not set(zone.listed).isdisjoint(predicate.values)
        if predicate.operator == LIKE:
            return any(form(pattern).has(str(value)) for value in zone.listed for pattern in predicate.values)
    if predicate.operator == "=" and predicate.type in NUMERIC_TYPES and kind in _NUMBER_KINDS:
        if any(isinstance(value, (str, bool)) for value in predicate.values):
            return True
        # As floats on both sides, as with zone maps.
        return not {float(value) for value in zone.listed}.isdisjoint(map(float, predicate.values))
    return True


def strings_may_meet(kind: str, zone: Zone, predicate: Predicate) -> bool:
    """Whether a text that the string zone map of a row group's column accepts may meet the predicate."""
    if zone.strings is None or predicate.type != VARCHAR or kind != STR or predicate.operator not in ("=", LIKE):
        return True
    patterns = predicate.values if predicate.operator == LIKE else [(value,) for value in predicate.values]
    if not all(isinstance(part, (str, Wild)) for pattern in patterns for part in pattern):
        return True
    root = decode_string_zone_map(zone.strings)
    return any(form(pattern).some(root) for pattern in patterns)


def may_be_wanted(stats: ColumnStats, wanted: Iterable[Predicate]) -> bool:
    """Whether the column may have the value of a row that meets all predicates, as far as they are of its path."""
    return all(_column_may_meet(stats, predicate) for predicate in wanted if _is_of(stats, predicate))


def _is_of(stats: ColumnStats, predicate: Predicate) -> bool:
    return stats.key.path == predicate.path and predicate.kind in (None, stats.key.kind)


def _column_may_meet(stats: ColumnStats, predicate: Predicate) -> bool:
    if predicate.operator == KNOWN:
        return True
    if predicate.type == VARCHAR and predicate.operator == "=" and stats.key.kind in _KINDS_OF_DIGITS:
        return any(not isinstance(value, str) or is_numeric(value) for value in predicate.values)
    if stats.minimum is None or stats.maximum is None:
        return True
    kind = stats.key.kind
    if predicate.type in NUMERIC_TYPES and kind in _NUMBER_KINDS:
        if any(isinstance(value, (str, bool)) for value in predicate.values):
            return True
        # As floats on both sides: the engine may compare so, and rounding keeps the order.
        low, high = float(stats.minimum), float(stats.maximum)
        return any(
            _in_zone(low, high, predicate.operator, float(value), nan=kind == FLOAT) for value in predicate.values
        )
    if predicate.operator == LIKE:
        low, high = stats.minimum, stats.maximum
        return kind != STR or any(_may_begin(low, high, prefix_of(pattern)) for pattern in predicate.values)
    if predicate.type == VARCHAR and kind == STR and all(isinstance(value, str) for value in predicate.values):
        # Code point order is the order of UTF-8 bytes, which the engine compares.
        return any(_in_zone(stats.minimum, stats.maximum, predicate.operator, value) for value in predicate.values)
    return True


def _may_begin(low: Any, high: Any, prefix: str) -> bool:
    """Whether a text from `low` to `high` may begin with `prefix`."""
    return bool(prefix <= high and (low <= prefix or low.startswith(prefix)))


def _in_zone(low: Any, high: Any, operator: str, value: Any, nan: bool = False) -> bool:
    if operator in ("<", "<="):
        return bool(low <= value)
    if operator in (">", ">="):
        # NaN is above all numbers for the engine, and zone maps do not count it.
        return nan or bool(high >= value)
    return bool(low <= value <= high)
