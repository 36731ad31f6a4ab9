"""Answers a search over a few events in plain DuckDB: compile, resolve, read the columns as a scan does. No shards."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa

from core.batch import REST, TIMESTAMP
from query.dialect import quote, render
from query.parse import parse
from query.paths import resolve
from query.pin import pin_now
from query.readings import read_path
from query.shape import StreamShape
from query.sources import StreamSource

Event = dict[str, tuple[str, Any]]  # path → (kind, value); "rest:" before a path puts it in _rest

START_US = 1_767_225_600_000_000  # 2026-01-01
SECOND_US = 1_000_000
_TYPES = {
    "str": pa.string(),
    "json": pa.string(),
    "decimal": pa.string(),
    "int": pa.int64(),
    "uint": pa.uint64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "bin": pa.binary(),
    "time": pa.timestamp("us", "UTC"),
}


class SearchEvents:
    """A stream `logs` of some events, one a minute; `now()` is one hour after the first."""

    def __init__(self, events: list[Event]) -> None:
        self.shape = _shape(events)
        keys = sorted({(path, held[0]) for event in events for path, held in event.items() if "rest:" not in path})
        self._columns = {key: f"{key[0]}::{key[1]}" for key in keys}
        table: dict[str, pa.Array] = {
            name: pa.array([e[p][1] if e.get(p, ("",))[0] == kind else None for e in events], _type(kind))
            for (p, kind), name in self._columns.items()
        }
        times = [START_US + row * 60 * SECOND_US for row in range(len(events))]
        table[TIMESTAMP] = pa.array(times, pa.int64()).cast(_TYPES["time"])
        rest = [{path[5:]: held[1] for path, held in event.items() if path.startswith("rest:")} for event in events]
        table[REST] = pa.array([json.dumps(values) if values else None for values in rest], pa.string())
        table["row"] = pa.array(range(len(events)), pa.int64())
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone='UTC'")
        self._connection.register("held", pa.table(table))
        self.warnings: tuple[str, ...] = ()

    def __enter__(self) -> SearchEvents:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, search: str, alias: str | None = None) -> list[int]:
        """The numbers of the events that `search` finds."""
        sql = "SELECT 1 FROM logs WHERE " + (f"matches($1, {alias})" if alias else "matches($1)")
        return self.where(sql, [search])

    def where(self, sql: str, params: Any = None) -> list[int]:
        """The numbers of the events that the WHERE of `sql`, a SELECT over logs, lets through."""
        resolved = resolve(parse(sql, params).tree, {"logs": self.shape}, {})
        self.warnings = resolved.warnings
        pin_now(resolved.tree, START_US + 3_600 * SECOND_US)
        where = resolved.tree.args.get("where")
        condition = render(where.this) if where is not None else "TRUE"
        relation = self._relation(resolved.sources[0])
        found = self._connection.execute(f"SELECT row FROM ({relation}) AS logs WHERE {condition} ORDER BY row")
        return [row for (row,) in found.fetchall()]

    def _relation(self, source: StreamSource) -> str:
        items = ["row"]
        for column in source.columns.values():
            if column.system:
                items.append(f"{quote(column.system)} AS {quote(column.name)}")
                continue
            held = {
                kind: name
                for (path, kind), name in self._columns.items()
                if path == column.path and column.kind in (None, kind)
            }
            rest = column.path if self.shape.has_rest and column.kind is None else None
            items.append(f"{read_path(column.type, held, rest, column.through)} AS {quote(column.name)}")
        return f"SELECT {', '.join(items)} FROM held"


def _type(kind: str) -> pa.DataType:
    return pa.list_(_TYPES[kind[:-2]]) if kind.endswith("[]") else _TYPES[kind]


def _shape(events: list[Event]) -> StreamShape:
    paths: dict[str, Counter[str]] = {}
    for event in events:
        for path, (kind, _) in event.items():
            if not path.startswith("rest:"):
                paths.setdefault(path, Counter())[kind] += 1
    return StreamShape(
        rows=len(events),
        paths={path: dict(kinds) for path, kinds in sorted(paths.items())},
        has_rest=any(path.startswith("rest:") for event in events for path in event),
    )
