"""Owns the counts of the requests that a process sends to an object store, and an estimate of what they cost.

Prices are public list prices of S3 Standard in us-east-1, as of 2026: an order of magnitude, not a bill. Storage and
traffic out of the region come on top; other stores and regions differ.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Final

GET: Final = "get"
HEAD: Final = "head"
PUT: Final = "put"  # also every part of an upload, its begin and its end, and copies
LIST: Final = "list"
DELETE: Final = "delete"
KINDS: Final = (GET, HEAD, PUT, LIST, DELETE)
RETRIES: Final = "retries"  # of the requests, those that were sent again after a transient error
HEDGES: Final = "hedges"  # and those that were sent again because the answer was late
BYTES_READ: Final = "bytes_read"
BYTES_WRITTEN: Final = "bytes_written"

_USD_PER_1000: Final = {PUT: 0.005, LIST: 0.005, GET: 0.0004, HEAD: 0.0004, DELETE: 0.0}
LIST_PAGE_KEYS: Final = 1_000  # of one answer to a LIST, on S3
DELETE_KEYS_MAX: Final = 1_000  # of one request, on S3


class RequestCounts:
    """Requests by kind, and bytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = dict.fromkeys((*KINDS, RETRIES, HEDGES, BYTES_READ, BYTES_WRITTEN), 0)

    def add(self, kind: str, count: int = 1) -> None:
        """Count `count` requests, or bytes, of a kind."""
        with self._lock:
            self._numbers[kind] += count

    def numbers(self) -> dict[str, int]:
        """All of them."""
        with self._lock:
            return dict(self._numbers)


def price_usd(numbers: Mapping[str, int]) -> float:
    """What requests would cost on S3, in US dollars: an estimate."""
    return sum(numbers.get(kind, 0) * price for kind, price in _USD_PER_1000.items()) / 1000
