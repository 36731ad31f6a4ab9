"""Owns the gathering of flat events, row by row, into columns of one kind each. Never sees JSON or Arrow tables.

An empty array has no kind of its own: it joins the most frequent list kind of its path in the batch (ties: the first
in the alphabet), and is JSON "[]" where its path has no other array.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME, UINT, ColumnKey, arrow_type
from ingest.values import INT64_MAX, INT64_MIN, Instant, Json, Number, canonical

# A dictionary replaces strings that repeat at least this often on average, among the first ones and among all.
DICTIONARY_REPETITION_MIN: Final = 4
DICTIONARY_PROBE: Final = 4096

_KIND_OF: Final[dict[type, str]] = {
    bool: BOOL,
    float: FLOAT,
    str: STR,
    Number: DECIMAL,
    Json: JSON,
    Instant: TIME,
    bytes: BIN,
}


class RowColumn:
    """One typed column as (row, value) pairs in row order."""

    __slots__ = ("key", "rows", "values")

    def __init__(self, key: ColumnKey) -> None:
        self.key = key
        self.rows: list[int] = []
        self.values: list[Any] = []

    @property
    def count(self) -> int:
        """Number of values."""
        return len(self.values)

    def array(self, row_count: int) -> pa.Array:
        """The column over `row_count` rows, null where it has no value; dictionary<int32, string> where that pays."""
        values = pa.array(self.values, arrow_type(self.key.kind))
        if self.key.kind == STR and _repeats(self.values[:DICTIONARY_PROBE]) and _repeats(self.values):
            values = values.dictionary_encode()
        if len(self.rows) == row_count:
            return values
        places = np.full(row_count, -1, np.int32)
        places[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        return values.take(pa.array(places, mask=places < 0))

    def texts(self) -> Iterator[tuple[int, str]]:
        """(row, canonical JSON text) of each value."""
        return zip(self.rows, map(canonical, self.values), strict=True)


class RowColumns:
    """The columns of a batch under construction."""

    def __init__(self) -> None:
        self._integers: dict[str, RowColumn] = {}
        self._unsigned: dict[str, RowColumn] = {}
        self._scalars: dict[type, dict[str, RowColumn]] = {type_: {} for type_ in _KIND_OF}
        self._lists: dict[str, dict[str, RowColumn]] = {}  # path → kind
        self._empty_lists: dict[str, list[int]] = {}

    def add(self, row: int, flat: dict[str, Any]) -> None:
        """Take in the attributes of event number `row`, as ingest.flatten gives them; rows only grow."""
        scalars = self._scalars
        for path, value in flat.items():
            type_ = type(value)
            if type_ is int:
                if INT64_MIN <= value <= INT64_MAX:
                    columns, kind = self._integers, INT
                else:
                    columns, kind = self._unsigned, UINT
            elif type_ is tuple:
                if value:
                    kind, value = value
                    columns = self._lists.setdefault(path, {})
                    column = columns.get(kind)
                    if column is None:
                        column = columns[kind] = RowColumn(ColumnKey(path, kind))
                    column.rows.append(row)
                    column.values.append(value)
                else:
                    self._empty_lists.setdefault(path, []).append(row)
                continue
            else:
                columns, kind = scalars[type_], _KIND_OF[type_]
            column = columns.get(path)
            if column is None:
                column = columns[path] = RowColumn(ColumnKey(path, kind))
            column.rows.append(row)
            column.values.append(value)

    def finish(self) -> list[RowColumn]:
        """All columns, in no particular order. Call once, after the last add."""
        for path, rows in self._empty_lists.items():
            kinds = self._lists.get(path)
            if kinds:
                _merge(min(kinds.values(), key=lambda column: (-column.count, column.key)), rows, [])
            else:
                texts = self._scalars[Json]
                if path not in texts:
                    texts[path] = RowColumn(ColumnKey(path, JSON))
                _merge(texts[path], rows, Json("[]"))
        groups = [self._integers, self._unsigned, *self._scalars.values(), *self._lists.values()]
        return [column for group in groups for column in group.values()]


def _merge(column: RowColumn, rows: list[int], value: Any) -> None:
    """Put `value` into `column` at `rows`, which it does not hold yet, keeping row order."""
    merged = sorted(
        [*zip(column.rows, column.values, strict=True), *((row, value) for row in rows)], key=lambda item: item[0]
    )
    column.rows = [row for row, _ in merged]
    column.values = [item for _, item in merged]


def _repeats(values: list[Any]) -> bool:
    return len(set(values)) * DICTIONARY_REPETITION_MIN <= len(values)
