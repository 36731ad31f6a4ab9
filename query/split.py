"""Owns the common form in which the splitting rules hand over a plan of one stream, and the empty stand-in for one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from query.columns import source_token
from query.dialect import quote, words
from query.sources import StreamSource

# Types that Arrow carries there and back unchanged; any other is cast again at the coordinator.
_ROUND_TRIP = words(
    """
    BOOLEAN TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER UBIGINT FLOAT DOUBLE VARCHAR BLOB DATE TIME
    TIMESTAMP INTERVAL
    """
) | {"TIMESTAMP WITH TIME ZONE", '"NULL"'}


# The only source of a split query, as SQL names it.
INPUT = quote(source_token(0))


@dataclass(frozen=True, slots=True)
class Split:
    """A plan over one stream. `merge_sql` reads the leaves' rows from INPUT; `types` are those of its columns.

    A type is "" where the column is an exported state.
    """

    kind: str
    items: str
    tail: str  # what follows the leaf's WHERE
    merge_sql: str
    types: tuple[str, ...]
    piecewise: bool = False  # the merge of all rows is the merges of any parts of them, in any order


def cast_for(type_: str) -> str:
    """The SQL type to cast a column back to after Arrow carried it, "" when it kept its type."""
    return "" if type_ in _ROUND_TRIP or type_.startswith("DECIMAL") else type_


def stand_ins(sources: Iterable[StreamSource]) -> dict[str, str]:
    """Relations without rows, by name, that have the columns which a query needs of each source."""
    return {source_token(source.id): _empty(source) for source in sources}


def _empty(source: StreamSource) -> str:
    columns = [f"CAST(NULL AS {column.type}) AS {quote(column.name)}" for column in source.columns.values()]
    return f"SELECT {', '.join(columns) or '1'} LIMIT 0"
