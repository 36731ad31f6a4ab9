"""Owns the settings of a stream: their defaults, their limits, their comparison. Pure."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final

from core.batch import TIMESTAMP
from core.errors import InvalidSettings
from core.ids import check_name
from core.limits import EVENT_PATHS_MAX, MAX_PATHS_DEFAULT, PATH_BYTES_MAX
from storage.windows import AUTO, DAY_US, ladder

SORT_KEY_DEFAULT: Final = ("service", "timestamp")
SORT_KEY_PATHS_MAX: Final = 8  # each costs a pass over the rows at every flush
DEDUP_WINDOW_US_MIN: Final = 1_000_000
DEDUP_WINDOW_US_MAX: Final = 366 * DAY_US

# Stamped when the stream is made: two requests for the same stream may differ in them.
_NOT_COMPARED: Final = ("created_at_us", "placements")


@dataclass(frozen=True, slots=True)
class Placement:
    """From `from_us` on (UTC microseconds) producers of a stream are pinned to one of the shards 0 … shards-1."""

    version: int
    from_us: int
    shards: int


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """One stream: `sort_key` and `timestamp` are dotted paths, `window` is "auto" or a width in microseconds.

    `timestamp` names the event-time attribute; None takes the first of "timestamp" and "@timestamp" that is present.
    `dedup_key` is the path of the event's id, None stores every event; `dedup_window` is how much older in event time
    than the newest an event may be and still be compared, in microseconds.
    """

    name: str
    sort_key: tuple[str, ...] = SORT_KEY_DEFAULT
    timestamp: str | None = None
    max_paths: int = MAX_PATHS_DEFAULT
    window: str | int = AUTO
    created_at_us: int = 0
    placements: tuple[Placement, ...] = ()
    dedup_key: str | None = None
    dedup_window: int = DAY_US


def check_settings(settings: StreamSettings) -> StreamSettings:
    """Return `settings` when every value is in its range, else raise InvalidName or InvalidSettings."""
    check_name("stream", settings.name)
    ladder(settings.window)
    for path in (*settings.sort_key, *(path for path in (settings.timestamp, settings.dedup_key) if path is not None)):
        if not path or len(path.encode()) > PATH_BYTES_MAX:
            raise InvalidSettings(f"path {path[:80]!r} is not allowed: use 1 to {PATH_BYTES_MAX} bytes")
    if len(settings.sort_key) > SORT_KEY_PATHS_MAX or len(set(settings.sort_key)) < len(settings.sort_key):
        raise InvalidSettings(
            f"sort key {settings.sort_key!r} is not allowed: use at most {SORT_KEY_PATHS_MAX} different paths"
        )
    if not 1 <= settings.max_paths <= EVENT_PATHS_MAX:
        raise InvalidSettings(f"max_paths {settings.max_paths} is not allowed: use 1 to {EVENT_PATHS_MAX}")
    if not DEDUP_WINDOW_US_MIN <= settings.dedup_window <= DEDUP_WINDOW_US_MAX:
        raise InvalidSettings(
            f"dedup_window {settings.dedup_window} is not allowed: use {DEDUP_WINDOW_US_MIN} to {DEDUP_WINDOW_US_MAX} "
            "microseconds, which is one second to 366 days"
        )
    if settings.dedup_key is None and settings.dedup_window != DAY_US:
        raise InvalidSettings("dedup_window means nothing without dedup_key: name the path of the id as well")
    return settings


def check_new_settings(settings: StreamSettings) -> StreamSettings:
    """check_settings, and what is refused only of a stream that is not there yet: an older release let it pass."""
    if settings.dedup_key is not None and settings.dedup_key in (TIMESTAMP, settings.timestamp):
        raise InvalidSettings(
            f"dedup_key {settings.dedup_key!r} is the event time, and a time is no id: name the path of an id"
        )
    return check_settings(settings)


def differences(one: StreamSettings, other: StreamSettings) -> list[str]:
    """What differs between two settings of the same stream, as "name: one's value, not other's"."""
    found = []
    for field in fields(StreamSettings):
        if field.name not in _NOT_COMPARED:
            mine, theirs = getattr(one, field.name), getattr(other, field.name)
            if mine != theirs:
                found.append(f"{field.name}: {mine!r}, not {theirs!r}")
    return found


def settings_to_plain(settings: StreamSettings) -> dict[str, Any]:
    """The settings as what JSON and msgpack can hold."""
    plain = {field.name: getattr(settings, field.name) for field in fields(StreamSettings)}
    plain["sort_key"] = list(settings.sort_key)
    plain["placements"] = [[p.version, p.from_us, p.shards] for p in settings.placements]
    if settings.dedup_key is None:
        # An older release, which knows neither, reads on; with a key it must not write: it would store duplicates.
        del plain["dedup_key"], plain["dedup_window"]
    return plain


def settings_from_plain(plain: dict[str, Any]) -> StreamSettings:
    """The inverse of settings_to_plain; raises TypeError or KeyError on anything else."""
    values = dict(plain)
    values["sort_key"] = tuple(values["sort_key"])
    values["placements"] = tuple(Placement(*placement) for placement in values["placements"])
    return StreamSettings(**values)
