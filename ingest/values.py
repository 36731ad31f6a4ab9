"""Owns the plain values between a decoded event and its columns, and their canonical JSON text.

A plain value is None, bool, int (within int64 or uint64), float, str, bytes, list, dict with str keys, or one of the
markers below. Never decides which column a value goes to.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from json.encoder import encode_basestring
from typing import Any, Final

from core.columns import BOOL, FLOAT, INT, STR, UINT
from core.errors import InvalidRequest
from core.limits import NESTING_DEPTH_MAX
from ingest.event_time import rfc3339

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1
UINT64_MAX: Final = 2**64 - 1


class Number(str):
    """A number that neither (u)int64 nor float64 holds, as its JSON literal."""

    __slots__ = ()


class Json(str):
    """Canonical JSON text."""

    __slots__ = ()


class Instant(int):
    """A point in time, microseconds since 1970-01-01 UTC."""

    __slots__ = ()


EMPTY_OBJECT: Final = Json("{}")
EMPTY_LIST: Final[tuple[()]] = ()

_LIST_KINDS: Final[dict[type, str]] = {bool: f"{BOOL}[]", float: f"{FLOAT}[]", str: f"{STR}[]"}
_PLAINLY_ENCODED: Final = frozenset((str, int, bool, type(None)))
_encode_plain: Final[Callable[[Any], str]] = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def whole_number(value: int) -> int | Number:
    """`value` itself when a column of 64-bit integers holds it, else its digits; InvalidRequest beyond 4,300 digits."""
    if INT64_MIN <= value <= UINT64_MAX:
        return value
    try:
        return Number(str(value))
    except ValueError as error:
        raise InvalidRequest("an integer has more digits than can be converted: send it as text") from error


def too_deep() -> InvalidRequest:
    """The error for an event nested beyond NESTING_DEPTH_MAX."""
    return InvalidRequest(f"nested deeper than {NESTING_DEPTH_MAX} levels")


def list_value(items: list[Any], depth: int) -> tuple[()] | tuple[str, list[Any]] | Json:
    """How an array is stored: (list kind, items), EMPTY_LIST, or Json when its elements are not of one scalar kind.

    `depth` is the array's own nesting level (the event is 1); InvalidRequest when it goes beyond NESTING_DEPTH_MAX.
    """
    if not items:
        if depth > NESTING_DEPTH_MAX:
            raise too_deep()
        return EMPTY_LIST
    types = set(map(type, items))
    types.discard(type(None))
    if len(types) == 1 and depth <= NESTING_DEPTH_MAX:
        (type_,) = types
        kind = _int_list_kind(items) if type_ is int else _LIST_KINDS.get(type_)
        if kind is not None:
            return (kind, items)
    return Json(canonical(items, depth))


def _int_list_kind(items: list[Any]) -> str | None:
    present = [item for item in items if item is not None]
    if max(present) <= INT64_MAX:
        return f"{INT}[]"
    return f"{UINT}[]" if min(present) > INT64_MAX else None


def canonical(value: Any, depth: int = 1) -> str:
    """The canonical JSON text of a plain value: compact, unescaped, numbers exact.

    What JSON has no word for becomes text: instants RFC 3339, bytes base64, non-finite floats "NaN", "Infinity" and
    "-Infinity" (a bare NaN would make the whole text unreadable). `depth` as in list_value.
    """
    if type(value) is str:
        return encode_basestring(value)  # what json's encoder does after a dozen steps
    return _encode(value) if _needs_care(value, depth) else _encode_plain(value)


def _needs_care(value: Any, depth: int) -> bool:
    """Whether json's own encoder would get something in `value` wrong; InvalidRequest when nested too deeply."""
    type_ = type(value)
    if type_ in _PLAINLY_ENCODED:
        return False
    if type_ is float:
        return not math.isfinite(value)
    if type_ is not dict and type_ is not list:
        return True
    if depth > NESTING_DEPTH_MAX:
        raise too_deep()
    care = False
    for item in value.values() if type_ is dict else value:
        care = _needs_care(item, depth + 1) or care
    return care


def _encode(value: Any) -> str:
    type_ = type(value)
    if type_ is dict:
        return "{" + ",".join(f"{_encode_plain(key)}:{_encode(item)}" for key, item in value.items()) + "}"
    if type_ is list:
        return "[" + ",".join(map(_encode, value)) + "]"
    if type_ is Number or type_ is Json:
        return str(value)
    if type_ is Instant:
        return f'"{rfc3339(value)}"'
    if type_ is bytes:
        return f'"{base64.b64encode(value).decode()}"'
    if type_ is float and not math.isfinite(value):
        return '"NaN"' if math.isnan(value) else '"Infinity"' if value > 0 else '"-Infinity"'
    return _encode_plain(value)
