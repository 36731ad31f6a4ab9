"""Owns how long events are kept: what of a stream is too old or too much. Pure; the clock is the caller's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from core.errors import InvalidSettings
from storage.snapshot import Segment

_SECOND_US: Final = 1_000_000
_STEP_US_MAX: Final = 3_600 * _SECOND_US
_AGE_US_MIN: Final = 60 * _SECOND_US  # less is a mistake in the unit
_BYTES_MIN: Final = 1 << 20
_STEPS: Final = 100  # of an age: events go at most one step late, and questions keep their answers for a step
_WORTH_WAIT: Final = 0.1  # of an age: a segment that is wholly expired by then is not rewritten before

TENANT_DEFAULT: Final = ""  # in the place of a stream's name


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events are kept: `age_us` microseconds after their event time, and `bytes_max` bytes of segments, the
    newest ones; None is no bound.
    """

    age_us: int | None = None
    bytes_max: int | None = None

    def cut_us(self, now_us: int) -> int | None:
        """Events before this time (UTC microseconds) are expired at `now_us`. It moves in steps."""
        if self.age_us is None:
            return None
        step = min(max(self.age_us // _STEPS, _SECOND_US), _STEP_US_MAX)
        return (now_us - self.age_us) // step * step


def check_retention(retention: Retention) -> Retention:
    """Return `retention` when its values are in range, else raise InvalidSettings."""
    age_us, bytes_max = retention.age_us, retention.bytes_max
    if age_us is not None and age_us < _AGE_US_MIN:
        raise InvalidSettings(
            f"retention of {age_us / _SECOND_US:g} s is not allowed: keep events for 1 minute at least"
        )
    if bytes_max is not None and bytes_max < _BYTES_MIN:
        raise InvalidSettings(f"retention of {bytes_max} bytes is not allowed: keep {_BYTES_MIN} at least")
    return retention


@dataclass(frozen=True, slots=True)
class Expired:
    """What retention removes of a stream: segments as a whole, by name; and those that are worth to be rewritten
    without what is before the cut, should that be most of their rows.
    """

    whole: frozenset[str] = frozenset()
    split: frozenset[str] = frozenset()


def expired(retention: Retention, segments: Iterable[Segment], now_us: int) -> Expired:
    """What of `segments`, all that a stream has on all shards, is expired at `now_us`."""
    ordered = sorted(segments, key=lambda segment: (segment.window_end_us, segment.timestamp_max_us, segment.name))
    whole: set[str] = set()
    split: set[str] = set()
    cut_us = retention.cut_us(now_us)
    if cut_us is not None and retention.age_us is not None:
        wait_us = int(retention.age_us * _WORTH_WAIT)
        whole = {segment.name for segment in ordered if segment.timestamp_max_us < cut_us}
        split = {segment.name for segment in ordered if _is_worth_it(segment, cut_us, wait_us)}
    if retention.bytes_max is not None:
        left = sum(segment.bytes for segment in ordered if segment.name not in whole)
        for segment in ordered:
            if left <= retention.bytes_max:
                break
            if segment.name not in whole:
                whole.add(segment.name)
                left -= segment.bytes
    return Expired(frozenset(whole), frozenset(split - whole))


def _is_worth_it(segment: Segment, cut_us: int, wait_us: int) -> bool:
    return segment.timestamp_min_us < cut_us <= segment.timestamp_max_us - wait_us


def retention_to_plain(retention: Retention) -> list[int | None]:
    """The retention as what JSON and msgpack can hold."""
    return [retention.age_us, retention.bytes_max]


def retention_of(own: Mapping[str, Retention], stream: str) -> Retention | None:
    """The retention of a stream, by those of its tenant: its own, else the default."""
    return own.get(stream, own.get(TENANT_DEFAULT))


def retentions_from_plain(plain: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Retention]]:
    """By tenant and stream; raises TypeError on anything else."""
    return {tenant: {stream: Retention(*one) for stream, one in own.items()} for tenant, own in plain.items()}
