"""Owns the common form in which the splitting rules hand over a plan of one stream, and the empty stand-in for one."""

from __future__ import annotations

from dataclasses import dataclass

from query.dialect import quote, words
from query.sources import StreamSource

# Types that Arrow carries there and back unchanged; any other is cast again at the coordinator.
_ROUND_TRIP = words(
    """
    BOOLEAN TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT FLOAT DOUBLE VARCHAR BLOB DATE TIME
    TIMESTAMP INTERVAL
    """
) | {"TIMESTAMP WITH TIME ZONE", '"NULL"'}


@dataclass(frozen=True, slots=True)
class Split:
    """A plan over one stream. `merge_sql` holds `{input}` where the leaves' rows go; `types` are those of its columns.

    A type is "" where the column is an exported state.
    """

    kind: str
    items: str
    tail: str
    merge_sql: str
    types: tuple[str, ...]


def cast_for(type_: str) -> str:
    """The SQL type to cast a column back to after Arrow carried it, "" when it kept its type."""
    return "" if type_ in _ROUND_TRIP or type_.startswith("DECIMAL") else type_


def empty_relation(source: StreamSource) -> str:
    """A relation without rows that has the columns which a query needs of `source`."""
    columns = [f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in source.columns.values()]
    return f"(SELECT {', '.join(columns) or '1'} LIMIT 0) AS {quote(source.alias)}"
