"""Owns what all users of one object store in a process share: counts, retry tokens, the delays of reads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from core.clock import Clock, SystemClock
from storage.hedged_reads import HedgedReads
from storage.object_requests import HEDGES, RequestCounts
from storage.retry_tokens import RetryTokens

_lock = threading.Lock()
_by_name: dict[str, Traffic] = {}


@dataclass(frozen=True, slots=True)
class Traffic:
    """The traffic of a process with one object store; `hedged` None sends no read twice."""

    requests: RequestCounts
    tokens: RetryTokens
    hedged: HedgedReads | None = None


def plain_traffic(clock: Clock) -> Traffic:
    """Traffic that is shared with nobody and does not hedge."""
    return Traffic(RequestCounts(), RetryTokens(clock))


def traffic_with(name: str) -> Traffic:
    """The traffic of this process with the store called `name`, such as s3://bucket/prefix."""
    with _lock:
        if name not in _by_name:
            requests, tokens = RequestCounts(), RetryTokens(SystemClock())
            hedged = HedgedReads(SystemClock(), tokens, lambda: requests.add(HEDGES))
            _by_name[name] = Traffic(requests, tokens, hedged)
        return _by_name[name]


def requests_to(name: str) -> dict[str, int]:
    """The numbers of requests that this process has sent to the store called `name`; empty when it sent none."""
    with _lock:
        traffic = _by_name.get(name)
    return traffic.requests.numbers() if traffic is not None else {}
