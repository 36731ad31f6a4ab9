"""Stands in for the obstore module: a share of all calls fails, before or after it took effect, or arrives late."""

from __future__ import annotations

import contextlib
import random
import threading
from typing import Any

import obstore
from obstore import exceptions


class FaultyObstore:
    """Every call fails with probability `rate`. A create may also take effect later: at deliver()."""

    def __init__(self, rng: random.Random, rate: float) -> None:
        self.rate = rate
        self.calls = self.faults = 0
        self._rng = rng
        self._late: list[tuple[Any, str, bytes]] = []
        self._lock = threading.Lock()

    def put(self, store: Any, key: str, data: bytes, **options: Any) -> Any:
        fault = self._fault("503 slow down", "reset before", "reset after", "late")
        if fault == "late":
            with self._lock:
                self._late.append((store, key, data))
        if fault in ("503 slow down", "reset before", "late"):
            raise exceptions.GenericError(fault)
        result = obstore.put(store, key, data, **options)
        if fault:
            raise exceptions.GenericError(fault)
        return result

    def get(self, store: Any, key: str) -> Any:
        self._fail("500 internal error", "429 too many requests", "body cut off")
        return obstore.get(store, key)

    async def get_async(self, store: Any, key: str) -> Any:
        self._fail("500 internal error", "429 too many requests", "body cut off")
        return await obstore.get_async(store, key)

    def head(self, store: Any, key: str) -> Any:
        self._fail("500 internal error")
        return obstore.head(store, key)

    def get_range(self, store: Any, key: str, **options: Any) -> Any:
        self._fail("500 internal error")
        return obstore.get_range(store, key, **options)

    def get_ranges(self, store: Any, key: str, **options: Any) -> Any:
        self._fail("500 internal error")
        return obstore.get_ranges(store, key, **options)

    def list(self, store: Any, prefix: str | None, **options: Any) -> Any:
        self._fail("503 slow down")
        return obstore.list(store, prefix, **options)

    def delete(self, store: Any, key: Any) -> None:
        fault = self._fault("503 slow down", "reset after")
        if fault != "503 slow down":
            obstore.delete(store, key)
        if fault:
            raise exceptions.GenericError(fault)

    def deliver(self) -> None:
        """Let the late creates arrive."""
        with self._lock:
            late, self._late = self._late, []
        for store, key, data in late:
            with contextlib.suppress(exceptions.AlreadyExistsError):
                obstore.put(store, key, data, mode="create", use_multipart=False)

    def _fail(self, *kinds: str) -> None:
        fault = self._fault(*kinds)
        if fault:
            raise exceptions.GenericError(fault)

    def _fault(self, *kinds: str) -> str | None:
        with self._lock:
            self.calls += 1
            if self._rng.random() >= self.rate:
                return None
            self.faults += 1
            return self._rng.choice(kinds)
