"""Owns the typed column: its kinds, their Arrow types, and how (path, kind) becomes a column name.

A path may hold different kinds in different events; each (path, kind) is a column of its own. The truth about a
column is in its Arrow field's metadata (`malamute.path`, `malamute.kind`); the name is for people and for foreign
readers of the Parquet files: the most common kind of a path has the bare path as its name, each other kind
`path::kind`. Nobody parses names back.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import pyarrow as pa

BOOL: Final = "bool"
INT: Final = "int"  # int64
UINT: Final = "uint"  # uint64, for what int64 cannot hold
DECIMAL: Final = "decimal"  # exact number beyond uint64 or beyond float64, as its text
FLOAT: Final = "float"  # float64
STR: Final = "str"
JSON: Final = "json"  # compact JSON text: mixed arrays, arrays of objects, empty objects
TIME: Final = "time"  # UTC microseconds
BIN: Final = "bin"

TIMESTAMP_TYPE: Final = pa.timestamp("us", "UTC")

_SCALARS: Final[dict[str, pa.DataType]] = {
    BOOL: pa.bool_(),
    INT: pa.int64(),
    UINT: pa.uint64(),
    DECIMAL: pa.string(),
    FLOAT: pa.float64(),
    STR: pa.string(),
    JSON: pa.string(),
    TIME: TIMESTAMP_TYPE,
    BIN: pa.binary(),
}

# Lists of one scalar kind; their elements may be null.
LIST_KINDS: Final = tuple(f"{kind}[]" for kind in (BOOL, INT, UINT, FLOAT, STR))
KINDS: Final = (*_SCALARS, *LIST_KINDS)

# Kinds that may also be stored as dictionary<int32, string>.
DICTIONARY_KINDS: Final = (STR,)

PATH_KEY: Final = b"malamute.path"
KIND_KEY: Final = b"malamute.kind"


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type that stores `kind` (STR may also be dictionary<int32, string>)."""
    if kind.endswith("[]"):
        return pa.list_(_SCALARS[kind[:-2]])
    return _SCALARS[kind]


class ColumnKey(NamedTuple):
    """One typed column: the dotted path of an attribute and the kind of its values."""

    path: str
    kind: str


def field_of(name: str, key: ColumnKey, type_: pa.DataType | None = None) -> pa.Field:
    """The Arrow field of a typed column; `type_` is given when it differs from arrow_type(kind) (dictionary)."""
    metadata = {PATH_KEY: key.path.encode(), KIND_KEY: key.kind.encode()}
    return pa.field(name, type_ or arrow_type(key.kind), nullable=True, metadata=metadata)


def key_of(field: pa.Field) -> ColumnKey | None:
    """The (path, kind) of an attribute column, or None for a system column."""
    metadata = field.metadata
    if not metadata or PATH_KEY not in metadata:
        return None
    return ColumnKey(metadata[PATH_KEY].decode(), metadata[KIND_KEY].decode())


def allocate_names(counts: Iterable[tuple[ColumnKey, int]], taken: Iterable[str]) -> dict[ColumnKey, str]:
    """Give every typed column its name, unique without regard to case (DuckDB folds case).

    `counts` are (column, number of values); `taken` are names that no attribute may have (system columns).
    Columns are served from most to fewest values, ties by path and kind, so the result does not depend on order:
    the first of a path gets the bare path, others `path::kind`; a name already taken gets `~2`, `~3` … appended.
    """
    used = {name.casefold() for name in taken}
    names: dict[ColumnKey, str] = {}
    bare_paths: set[str] = set()
    for key, _ in sorted(counts, key=lambda item: (-item[1], item[0])):
        if key.path not in bare_paths and key.path and key.path.casefold() not in used:
            name = key.path
            bare_paths.add(key.path)
        else:
            explicit = name = f"{key.path}::{key.kind}"
            copy = 2
            while name.casefold() in used:
                name = f"{explicit}~{copy}"
                copy += 1
        used.add(name.casefold())
        names[key] = name
    return names
