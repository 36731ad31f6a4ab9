"""Owns the oracle of random queries: the same rows in one plain table per stream, and the texts of a query for both.

A query is written once, with each path in double quotes and, before its name, how its place asks for it: `"#path"` as a
number, `"$path"` as text, `"*stream"` a stream that a star looks at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import duckdb
import pyarrow as pa

from tests.support.batches import START_US
from tests.support.query_data import REST, STEP_US, Data, Stream

_ARROW: Final = {
    "int": pa.int64(),
    "uint": pa.uint64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "time": pa.timestamp("us", "UTC"),
    "str[]": pa.list_(pa.string()),
}
_SQL: Final = {"int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "bool": "BOOLEAN", "time": "TIMESTAMPTZ"}
_MARKED: Final = re.compile(r"""('(?:[^']|'')*')|"([#$*]?)((?:[^"]|"")+)\"""")
_BARE: Final = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z0-9_]+)*")
# Words that begin something else where a path may stand.
_KEYWORDS: Final = {"order", "user"}


def natural_type(kinds: set[str]) -> str:
    """The SQL type of a path with values of these kinds, as the documentation has it."""
    if len(kinds) == 1:
        (kind,) = kinds
        return "VARCHAR[]" if kind == "str[]" else _SQL.get(kind, "VARCHAR")
    if kinds and kinds <= {"int", "uint"}:
        return "HUGEINT"
    return "DOUBLE" if kinds and kinds <= {"int", "uint", "float", "decimal"} else "VARCHAR"


def ours(template: str) -> str:
    """The query as a user of streams writes it."""

    def name(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        bare = _BARE.fullmatch(found[3]) and found[3] not in _KEYWORDS
        return found[3] if bare else f'"{found[3]}"'

    return _MARKED.sub(name, template)


def theirs(template: str, now_us: int) -> str:
    """The query over the plain tables."""

    def name(found: re.Match[str]) -> str:
        if found[1]:
            return found[1]
        return f'"{found[3]}{ {"#": " number", "$": " text", "*": " shown"}.get(found[2], "") }"'

    return _MARKED.sub(name, template).replace("now()", f"make_timestamptz({now_us})")


class Oracle:
    """One plain table per stream."""

    def __init__(self, data: Data) -> None:
        self._connection = duckdb.connect(config={"threads": 1})
        self._connection.execute("SET TimeZone='UTC'")
        for stream in data.streams:
            self._load(stream)

    def query(self, sql: str) -> pa.Table:
        """The rows of `sql`; raises duckdb.Error."""
        return self._connection.execute(sql).to_arrow_table()

    def close(self) -> None:
        """Drop all tables."""
        self._connection.close()

    def _load(self, stream: Stream) -> None:
        times = [START_US + row * STEP_US for row in range(len(stream.events))]
        raw: dict[str, pa.Array] = {"at": pa.array(times, pa.int64()).cast(_ARROW["time"])}
        items = ['"at" AS "timestamp"', '"at" AS "timestamp text"']
        shown = []
        for number, path in enumerate(sorted(stream.paths, key=lambda path: path.name)):
            columns = _columns(stream, path.name)
            raw |= {f"{kind} {number}": array for kind, array in columns.items()}
            kinds = set(columns) - {REST}
            items += _items(path.name, number, kinds)
            if not path.hidden:
                shown.append(f'"{path.name}"')
        table = pa.table(raw)
        self._connection.register("raw", table)
        self._connection.execute(f'CREATE TABLE "{stream.name}" AS SELECT {", ".join(items)} FROM raw')
        self._connection.unregister("raw")
        view = f'SELECT "timestamp", {", ".join(shown)} FROM "{stream.name}"'
        self._connection.execute(f'CREATE VIEW "{stream.name} shown" AS {view}')


def _columns(stream: Stream, path: str) -> dict[str, pa.Array]:
    """The values of `path` by kind, and the texts that stand in `_rest`."""
    held = [event.get(path) for event in stream.events]
    found: dict[str, pa.Array] = {}
    for kind in sorted({value[0] for value in held if value is not None}):
        values = [value[1] if value is not None and value[0] == kind else None for value in held]
        found[kind] = pa.array(values, pa.int64() if kind == "time" else _ARROW.get(kind, pa.string()))
        if kind == "time":
            found[kind] = found[kind].cast(_ARROW["time"])
    found[REST] = pa.array(_texts(event.get(REST + path) for event in stream.events), pa.string())
    return found


def _texts(values: Iterable[tuple[str, Any] | None]) -> list[str | None]:
    return [
        None if value is None else value[1] if value[0] == "str" else json.dumps(value[1]).lower() for value in values
    ]


def _items(path: str, number: int, kinds: set[str]) -> list[str]:
    """The columns of a path: as it is, as a number, as text."""
    type_ = natural_type(kinds)
    rest = f'"{REST} {number}"'
    columns = [f'"{kind} {number}"' for kind in sorted(kinds)]
    if type_.endswith("[]"):
        return [f'{columns[0]} AS "{path}"']
    parts = [f"CAST({column} AS {type_})" for column in columns]
    natural = f"COALESCE({', '.join([*parts, f'TRY_CAST({rest} AS {type_})'])})"
    return [
        f'{natural} AS "{path}"',
        f'TRY_CAST({natural} AS DOUBLE) AS "{path} number"',
        f'COALESCE(CAST({natural} AS VARCHAR), {rest}) AS "{path} text"',
    ]
