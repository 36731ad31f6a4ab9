"""Owns who may run a query now: a bounded number at once, fair between tenants, with bounded waiting."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from core.clock import Clock, SystemClock
from core.errors import BudgetExceeded, Overloaded
from core.limits import ADMISSION_CROWDED_S, QUERY_RETRY_AFTER_S


class Admission:
    """Slots for `running_max` queries, at most `tenant_max` of one tenant; `waiting_max` of each tenant wait.

    `waiting_total_max` bounds the waiting of all tenants, None = unbounded. While others have asked within the last
    ADMISSION_CROWDED_S seconds, a tenant has only `crowded_max` slots. A slot that falls free goes to the tenants in
    turn, whatever the length of their queues. Thread-safe.
    """

    def __init__(
        self,
        running_max: int,
        tenant_max: int,
        waiting_max: int,
        waiting_total_max: int | None = None,
        crowded_max: int | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._running_max = running_max
        self._tenant_max = tenant_max
        self._waiting_max = waiting_max
        self._waiting_total_max = waiting_total_max
        self._crowded_max = crowded_max if crowded_max is not None else tenant_max
        self._clock = clock or SystemClock()
        self._seen: dict[str, float] = {}  # tenant → when it asked last
        self._lock = threading.Lock()
        self._running: dict[str, int] = {}
        self._waiting: OrderedDict[str, deque[threading.Event]] = OrderedDict()  # next tenant first

    @contextmanager
    def slot(self, tenant: str, timeout_s: float) -> Iterator[None]:
        """Hold a slot. Raises Overloaded when too many of the tenant wait, BudgetExceeded after `timeout_s`."""
        turn = self._enter(tenant)
        if turn is not None:
            self._wait(tenant, turn, timeout_s)
        try:
            yield
        finally:
            with self._lock:
                self._release(tenant)

    def status(self) -> dict[str, int]:
        """How many queries run and wait."""
        with self._lock:
            waiting = sum(len(queue) for queue in self._waiting.values())
            return {"running": sum(self._running.values()), "waiting": waiting}

    def _enter(self, tenant: str) -> threading.Event | None:
        """None when the query may run at once, else the event to wait for."""
        with self._lock:
            self._see(tenant)
            if self._may_run(tenant) and not self._waiting.get(tenant):
                self._running[tenant] = self._running.get(tenant, 0) + 1
                return None
            waiting = len(self._waiting.get(tenant, ()))
            if waiting >= self._waiting_max:
                raise Overloaded(
                    f"{waiting} queries of tenant {tenant!r} wait already: come back in {QUERY_RETRY_AFTER_S} s",
                    retry_after=QUERY_RETRY_AFTER_S,
                )
            total = sum(len(queue) for queue in self._waiting.values())
            if self._waiting_total_max is not None and total >= self._waiting_total_max:
                raise Overloaded(
                    f"{total} queries wait already: come back in {QUERY_RETRY_AFTER_S} s",
                    retry_after=QUERY_RETRY_AFTER_S,
                )
            turn = threading.Event()
            self._waiting.setdefault(tenant, deque()).append(turn)
            return turn

    def _wait(self, tenant: str, turn: threading.Event, timeout_s: float) -> None:
        came = False
        try:
            came = turn.wait(min(timeout_s, threading.TIMEOUT_MAX))
        finally:
            if not came:
                self._leave_queue(tenant, turn)
        if not came:
            raise BudgetExceeded(
                f"the query waited {timeout_s:g} s for its turn: run fewer at once, or allow more time",
                budget="seconds",
            )

    def _leave_queue(self, tenant: str, turn: threading.Event) -> None:
        with self._lock:
            if turn.is_set():  # its turn came just now
                self._release(tenant)
            else:
                self._waiting[tenant].remove(turn)
                self._forget(tenant)

    def _release(self, tenant: str) -> None:
        self._running[tenant] -= 1
        if not self._running[tenant]:
            del self._running[tenant]
        for waiting in list(self._waiting):
            if self._may_run(waiting):
                self._running[waiting] = self._running.get(waiting, 0) + 1
                self._waiting[waiting].popleft().set()
                self._waiting.move_to_end(waiting)
                self._forget(waiting)
                return

    def _forget(self, tenant: str) -> None:
        if not self._waiting[tenant]:
            del self._waiting[tenant]

    def _see(self, tenant: str) -> None:
        now_s = self._clock.steady_s()
        self._seen[tenant] = now_s
        if len(self._seen) > 1:
            self._seen = {name: at_s for name, at_s in self._seen.items() if now_s - at_s <= ADMISSION_CROWDED_S}

    def _may_run(self, tenant: str) -> bool:
        slots = self._tenant_max if len(self._seen) <= 1 else self._crowded_max
        return sum(self._running.values()) < self._running_max and self._running.get(tenant, 0) < slots
