"""Owns readings: as which SQL type a path of one or several kinds is read, and the expression that does it.

A path may hold several kinds. One kind reads as itself, several numeric kinds as one number; anything else reads by
its context: as a number (numeric columns, and text where it is one), a time, a truth value, and otherwise as text.
Where `_rest` may hold
further values of a path, a place for text reads the path as text whatever its kinds, so that they are seen.
Never sees queries or files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from core.batch import INGESTED_AT, OFFSET, REST, SHARD, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME, UINT
from query.dialect import literal, quote

VARCHAR: Final = "VARCHAR"
DOUBLE: Final = "DOUBLE"
BOOLEAN: Final = "BOOLEAN"
TIMESTAMPTZ: Final = "TIMESTAMP WITH TIME ZONE"

# Contexts of a reference.
NUMBER: Final = "number"
MOMENT: Final = "moment"
TRUTH: Final = "truth"
LIST: Final = "list"
TEXT: Final = "text"  # a place that takes nothing but text
WORD: Final = "word"  # compared with a text that is no number
PLAIN: Final = "plain"

SYSTEM_TYPES: Final = {
    TIMESTAMP: TIMESTAMPTZ,
    TIMESTAMP_INFERRED: BOOLEAN,
    REST: VARCHAR,
    INGESTED_AT: TIMESTAMPTZ,
    OFFSET: "BIGINT",
    SHARD: "INTEGER",
}

_TYPES: Final = {
    BOOL: BOOLEAN,
    INT: "BIGINT",
    UINT: "UBIGINT",
    DECIMAL: VARCHAR,
    FLOAT: DOUBLE,
    STR: VARCHAR,
    JSON: VARCHAR,
    TIME: TIMESTAMPTZ,
    BIN: "BLOB",
}
_EXACT_NUMBERS: Final = frozenset({INT, UINT})
_NUMBERS: Final = frozenset({INT, UINT, FLOAT, DECIMAL})
_TEXTS: Final = frozenset({STR, DECIMAL, JSON})
_CONTEXT_TYPES: Final = {NUMBER: DOUBLE, MOMENT: TIMESTAMPTZ, TRUTH: BOOLEAN, LIST: "VARCHAR[]"}

NUMERIC_TYPES: Final = frozenset({"BIGINT", "UBIGINT", "HUGEINT", DOUBLE})


def natural_type(kinds: Iterable[str]) -> str:
    """The SQL type of a path that holds `kinds`, without a context; VARCHAR for none and for a conflict."""
    held = frozenset(kinds)
    if len(held) == 1:
        (kind,) = held
        return _TYPES[kind[:-2]] + "[]" if kind.endswith("[]") else _TYPES[kind]
    if all(kind.endswith("[]") for kind in held) and held:
        element = natural_type(kind[:-2] for kind in held)
        return VARCHAR if element == VARCHAR else element + "[]"
    if held and held <= _NUMBERS:
        return "HUGEINT" if held <= _EXACT_NUMBERS else DOUBLE
    return VARCHAR


def type_in(kinds: Iterable[str], context: str) -> str:
    """The SQL type as which a reference in `context` reads a path that holds `kinds`."""
    natural = natural_type(kinds)
    if natural != VARCHAR or context not in _CONTEXT_TYPES or (context == LIST and tuple(kinds)):
        return natural
    return _CONTEXT_TYPES[context]


def text_in_rest(natural: str, context: str) -> bool:
    """Whether `context` reads a path of type `natural` as text where `_rest` may hold text under it."""
    return (context == TEXT and not natural.endswith("[]")) or (context == WORD and natural in NUMERIC_TYPES)


def read_path(type_: str, columns: Mapping[str, str], rest_path: str | None, through: str = "") -> str:
    """The SQL expression of type `type_` over one file's or batch's `columns` (kind → physical name) of a path.

    `rest_path` is the path when values of it may also stand in the `_rest` column there, else None.
    An event has at most one value of a path, so at most one of the terms is not null. Values are read as `through`
    first, if it is given.
    """
    if through:
        text = f"CAST({read_path(through, columns, rest_path)} AS {type_})"
        return text if rest_path is None else f"COALESCE({text}, {_read_rest(type_, rest_path)})"
    terms = [term for kind, name in sorted(columns.items()) if (term := _read_kind(type_, kind, quote(name)))]
    if rest_path is not None:
        terms.append(_read_rest(type_, rest_path))
    if not terms:
        return f"CAST(NULL AS {type_})"
    return terms[0] if len(terms) == 1 else f"COALESCE({', '.join(terms)})"


def _read_kind(type_: str, kind: str, column: str) -> str | None:
    if type_ == natural_type((kind,)):
        return column
    if type_ == VARCHAR:
        return f"CAST(to_json({column}) AS VARCHAR)" if kind.endswith("[]") else f"CAST({column} AS VARCHAR)"
    if type_.endswith("[]"):
        return f"CAST({column} AS {type_})" if kind.endswith("[]") else None
    if kind in _TEXTS:
        return f"TRY_CAST({column} AS {type_})"
    if kind in _NUMBERS and type_ in NUMERIC_TYPES:
        return f"CAST({column} AS {type_})"
    return None


def _read_rest(type_: str, path: str) -> str:
    # A JSON pointer names one key exactly, dots included.
    pointer = literal("/" + path.replace("~", "~0").replace("/", "~1"))
    if type_.endswith("[]"):
        return f"TRY_CAST(json_extract({quote(REST)}, {pointer}) AS {type_})"
    text = f"json_extract_string({quote(REST)}, {pointer})"
    return text if type_ == VARCHAR else f"TRY_CAST({text} AS {type_})"
