"""Owns the way from a plain event to its flat attributes: dotted path → value. Never decides on columns.

Each value has its whole path, so that a long key above many short ones is small only as JSON. Events may do that up to
limits: of one event (it is rejected), and of all events of a batch, beyond which the objects of an event stay as they
are: JSON text.

Where a dotted key and a nested path meet ({"a.b": 1, "a": {"b": 2}}), the last one in the event's order wins.
"""

from __future__ import annotations

from typing import Any, Final

from core.errors import InvalidRequest
from core.limits import EVENT_PATH_BYTES_MAX, EVENT_PATHS_MAX, NESTING_DEPTH_MAX, PATH_BYTES_USUAL
from ingest.values import EMPTY_OBJECT, Json, canonical, list_value, too_deep

_LONG_PREFIX: Final = 512  # characters from which the memory for paths is counted


def flatten(event: dict[str, Any]) -> dict[str, Any]:
    """The attributes of a plain event: scalars, markers of ingest.values, and arrays as list_value gives them.

    null is absent, an empty object is JSON "{}"; the empty event has no attribute. InvalidRequest when the event
    breaks a limit (depth, number of paths, bytes of paths).
    """
    flat: dict[str, Any] = {}
    _walk(event, "", 1, flat, [0])
    if len(flat) > EVENT_PATHS_MAX:
        raise _too_many_paths()
    # A character has up to 4 bytes: most events need no second look.
    if 4 * sum(map(len, flat)) > EVENT_PATH_BYTES_MAX:
        _check_path_bytes(sum(len(path.encode()) for path in flat))
    return flat


def long_path_bytes(flat: dict[str, Any]) -> int:
    """What the paths of a flat event take beyond PATH_BYTES_USUAL: it counts towards BATCH_LONG_PATH_BYTES_MAX."""
    return max(0, sum(len(path.encode()) for path in flat) - PATH_BYTES_USUAL * len(flat))


def folded(event: dict[str, Any], flat: dict[str, Any]) -> dict[str, Any]:
    """The attributes of an event whose objects stay JSON text: `flat`, but for paths into objects.

    What is missing in `flat` (null, the event time) is missing here too where it is no part of an object.
    """
    attributes: dict[str, Any] = {}
    for key, value in event.items():
        if type(value) is dict and value:
            attributes[key] = Json(canonical(value, 2))
        elif key in flat:
            attributes[key] = flat[key]
    return attributes


def _walk(node: dict[str, Any], prefix: str, depth: int, flat: dict[str, Any], path_bytes: list[int]) -> None:
    if len(prefix) > _LONG_PREFIX or len(node) > EVENT_PATHS_MAX or len(flat) > EVENT_PATHS_MAX:
        _check_size(node, prefix, flat, path_bytes)
    for key, value in node.items():
        type_ = type(value)
        if type_ is dict:
            if depth >= NESTING_DEPTH_MAX:
                raise too_deep()
            if value:
                _walk(value, f"{prefix}{key}.", depth + 1, flat, path_bytes)
            else:
                flat[prefix + key] = EMPTY_OBJECT
        elif type_ is list:
            flat[prefix + key] = list_value(value, depth + 1)
        elif value is not None:
            flat[prefix + key] = value


def _check_size(node: dict[str, Any], prefix: str, flat: dict[str, Any], path_bytes: list[int]) -> None:
    """Stop events that are small as text but huge as paths (a long key over many short ones) before they are built."""
    path_bytes[0] += len(prefix) * len(node)
    _check_path_bytes(path_bytes[0])
    if len(flat) > EVENT_PATHS_MAX or sum(value is not None for value in node.values()) > EVENT_PATHS_MAX:
        raise _too_many_paths()


def _check_path_bytes(size: int) -> None:
    if size > EVENT_PATH_BYTES_MAX:
        raise InvalidRequest(f"its paths take more than {EVENT_PATH_BYTES_MAX} bytes")


def _too_many_paths() -> InvalidRequest:
    return InvalidRequest(f"more than {EVENT_PATHS_MAX} paths")
