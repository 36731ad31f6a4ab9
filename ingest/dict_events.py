"""Owns the check and translation of Python events (dicts) to plain values. Never changes the caller's objects."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgpack
import numpy as np

from core.errors import InvalidRequest
from core.limits import NESTING_DEPTH_MAX, RECORD_BYTES_MAX
from ingest.event_time import instant_us
from ingest.values import INT64_MAX, INT64_MIN, Instant, Number, too_deep, whole_number

_PATH_SHOWN_MAX: Final = 100  # characters of a path in a reason
_SMALL: Final = frozenset((bool, float, type(None)))

# Where a value stands, kept as links and made text only for a reason.
_Place = tuple["_Place | None", str]


def plain_event(event: Any) -> tuple[dict[str, Any], int]:
    """(the event as plain values, its size: UTF-8 bytes of keys and texts).

    InvalidRequest with a reason that names path and type when a value cannot be stored exactly, when a key is not
    text, or when the event is beyond a limit.
    """
    if not isinstance(event, Mapping):
        raise InvalidRequest(f"expected a dict, found {_type_name(event)}")
    size = [0]
    plain = _object(event, None, 1, size)
    if size[0] > RECORD_BYTES_MAX:
        raise InvalidRequest(f"longer than {RECORD_BYTES_MAX} bytes")
    return plain, size[0]


def _object(node: Mapping[Any, Any], place: _Place | None, depth: int, size: list[int]) -> dict[str, Any]:
    if depth > NESTING_DEPTH_MAX:
        raise too_deep()
    plain: dict[str, Any] = {}
    for key, value in node.items():
        if type(key) is not str:
            key = _key(key, place)
        type_ = type(value)
        if type_ is str and value.isascii():
            size[0] += len(value)
        elif type_ is int and INT64_MIN <= value <= INT64_MAX:
            pass
        elif type_ not in _SMALL:
            value = _value(value, (place, key), depth, size)
        size[0] += len(key) if key.isascii() else _text_bytes(key, (place, key))
        plain[key] = value
    return plain


def _value(value: Any, place: _Place, depth: int, size: list[int]) -> Any:
    """The plain value of anything that may stand in an event; `depth` is that of the container it stands in."""
    if type(value) is Instant or type(value) is Number:
        return value
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else Instant(value.astype("datetime64[us]").astype(np.int64))
    if isinstance(value, np.generic):
        value = _from_numpy(value, place)
    if value is None or isinstance(value, enum.Enum):
        if value is None:
            return None
        raise _unfit(value, place)
    if isinstance(value, str):
        size[0] += _text_bytes(value, place)
        return str(value)
    if isinstance(value, bool | float):
        return value if isinstance(value, bool) else float(value)
    if isinstance(value, int):
        return whole_number(int(value))
    if isinstance(value, Mapping):
        return _object(value, place, depth + 1, size)
    if isinstance(value, list | tuple):
        if depth >= NESTING_DEPTH_MAX:
            raise too_deep()
        return [_value(item, place, depth + 1, size) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        size[0] += len(data)
        return data
    if isinstance(value, Decimal):
        return Number(value) if value.is_finite() else float(value)
    if isinstance(value, datetime.date):
        return instant_of(value)
    if isinstance(value, msgpack.Timestamp):
        return _far_instant(value.to_unix_nano() // 1000, place)
    raise _unfit(value, place)


def _from_numpy(value: Any, place: _Place) -> Any:
    item = value.item()
    if isinstance(item, np.generic):  # longdouble has no exact Python form
        raise _unfit(value, place)
    return item


def _far_instant(time_us: int, place: _Place) -> Instant:
    if not INT64_MIN <= time_us <= INT64_MAX:
        raise InvalidRequest(f"{_path(place)!r} is a time beyond 64-bit microseconds: send it as text")
    return Instant(time_us)


def instant_of(value: datetime.date) -> Instant | None:
    """The instant of a date (its midnight) or datetime (a naive one counts as UTC); None for pandas' NaT."""
    if not isinstance(value, datetime.datetime):
        return Instant(instant_us(datetime.datetime(value.year, value.month, value.day)))
    if value != value:  # pandas' NaT: the absent time
        return None
    return Instant(instant_us(value))


def _key(key: Any, place: _Place | None) -> str:
    if isinstance(key, str) and not isinstance(key, enum.Enum | Number):
        return str(key)
    where = f" in {_path(place)!r}" if place else ""
    raise InvalidRequest(f"a key{where} has the type {_type_name(key)}: keys must be text")


def _text_bytes(text: str, place: _Place) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"{_path(place)!r} holds half of a surrogate pair") from error


def _unfit(value: Any, place: _Place) -> InvalidRequest:
    return InvalidRequest(f"{_path(place)!r} has the type {_type_name(value)}: send text, a number or a datetime")


def _type_name(value: Any) -> str:
    type_ = type(value)
    return type_.__qualname__ if type_.__module__ == "builtins" else f"{type_.__module__}.{type_.__qualname__}"


def _path(place: _Place | None) -> str:
    keys: list[str] = []
    while place is not None:
        place, key = place
        keys.append(key)
    path = ".".join(reversed(keys)).encode(errors="replace").decode()
    return path if len(path) <= _PATH_SHOWN_MAX else path[:_PATH_SHOWN_MAX] + "…"
