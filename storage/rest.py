"""Owns the text of `_rest`: what the values of columns beyond `max_paths` look like as JSON. Never reads it back.

Numbers stay exact: integers and decimals are JSON numbers as they are, floats have the shortest text that reads back
equal. A `json` value is embedded as JSON, a time is RFC 3339 text in UTC, bytes are base64 text, and NaN and the
infinities, which JSON has no numbers for, are the texts "NaN", "Infinity" and "-Infinity".
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.batch import REST
from core.columns import BIN, BOOL, DECIMAL, FLOAT, INT, JSON, STR, TIME, UINT

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def json_string(value: str) -> str:
    """`value` as a JSON string; characters stand for themselves where JSON lets them."""
    return json.dumps(value, ensure_ascii=False)


def _float(value: float) -> str:
    if math.isfinite(value):
        return repr(value)
    return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'


def _time(value_us: int) -> str:
    try:
        instant = _EPOCH + timedelta(microseconds=value_us)
    except OverflowError:
        return str(value_us)
    return f'"{instant.replace(tzinfo=None).isoformat()}Z"'


def _bin(value: bytes) -> str:
    return f'"{base64.b64encode(value).decode()}"'


_TEXT: Final[dict[str, Callable[[Any], str]]] = {
    BOOL: lambda value: "true" if value else "false",
    INT: str,
    UINT: str,
    DECIMAL: str,
    FLOAT: _float,
    STR: json_string,
    JSON: str,
    TIME: _time,
    BIN: _bin,
}


def value_text(kind: str, value: Any) -> str:
    """The JSON text of a value of `kind`; TIME takes integer microseconds."""
    if kind.endswith("[]"):
        element = _TEXT[kind[:-2]]
        return "[" + ",".join("null" if item is None else element(item) for item in value) + "]"
    return _TEXT[kind](value)


def add_members(fragments: dict[int, list[str]], path: str, kind: str, array: pa.Array) -> None:
    """Add `"path":value` to the fragments of each row where `array` has a value."""
    name = json_string(path)
    if kind == TIME:
        array = array.cast(pa.int64())
    # The rarest of many paths: a Python object for each null would take longer than all else.
    rows = np.flatnonzero(np.asarray(array.is_valid()))
    for row, value in zip(rows.tolist(), array.take(pa.array(rows)).to_pylist(), strict=True):
        if value is not None:  # a null may hide in a dictionary
            fragments.setdefault(row, []).append(f"{name}:{value_text(kind, value)}")


def rest_array(existing: pa.Array | None, fragments: dict[int, list[str]], rows: int) -> pa.Array:
    """The `_rest` column of `rows` rows: the existing objects with the fragments added."""
    if not fragments:
        return pa.nulls(rows, pa.string()) if existing is None else existing
    texts: list[str | None] = [None] * rows if existing is None else existing.to_pylist()
    for row, members in fragments.items():
        texts[row] = "{" + ",".join([*_members(texts[row]), *members]) + "}"
    return pa.array(texts, pa.string())


def _members(text: str | None) -> list[str]:
    if text is None:
        return []
    inner = text.strip()
    if inner.startswith("{") and inner.endswith("}"):
        inner = inner[1:-1].strip()
        return [inner] if inner else []
    # Not an object, so not written by us: keep it as text rather than lose it.
    return [f"{json_string(REST)}:{json_string(text)}"]
