"""Owns the results that somebody takes part by part: how many there may be, and when one ends that nobody takes.

Between two parts a result holds neither a turn nor a thread; what is on its way of it are the tasks that were sent.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from core.clock import Clock
from core.errors import BudgetExceeded, InvalidRequest, MalamuteError, Overloaded, UnknownOutcome
from core.limits import CURSOR_IDLE_S, QUERY_RETRY_AFTER_S

_ENDED_MAX: Final = 1_000  # remembered reasons why a cursor ended, for those who come back


@dataclass(slots=True)
class Cursor:
    """A result and where its taker is; `parts` is a generator that lets go of everything when it is closed."""

    tenant: str
    query_id: str
    parts: Any
    end_s: float
    taken_s: float
    busy: threading.Lock = field(default_factory=threading.Lock)


class Cursors:
    """At most `most` open results, `tenant_most` of one tenant. Thread-safe.

    Where there is no room for another, the one ends whose taker has been away longest, if for CURSOR_IDLE_S at least.
    """

    def __init__(self, most: int, tenant_most: int, clock: Clock) -> None:
        self._most = most
        self._tenant_most = tenant_most
        self._clock = clock
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], Cursor] = {}
        self._ended: OrderedDict[tuple[str, str], MalamuteError] = OrderedDict()

    def add(self, tenant: str, name: str, query_id: str, parts: Iterator[Any], seconds: float) -> None:
        """Have `parts` taken as the tenant's cursor `name`, within `seconds`. Raises Overloaded."""
        self.sweep()
        now_s = self._clock.steady_s()
        left: list[Cursor] = []
        with self._lock:
            own = {key: cursor for key, cursor in self._open.items() if key[0] == tenant}
            if len(own) >= self._tenant_most:
                left = [self._make_room(own, f"of tenant {tenant!r}", now_s)]
            elif len(self._open) >= self._most:
                left = [self._make_room(self._open, "of all tenants", now_s)]
            self._open[tenant, name] = Cursor(tenant, query_id, parts, now_s + seconds, now_s)
        _close(left)

    def left_s(self, tenant: str, name: str) -> float:
        """Seconds that are left for the cursor, whose taker is here again. Raises as taking()."""
        self.sweep()
        now_s = self._clock.steady_s()
        with self._lock:
            cursor = self._known(tenant, name)
            cursor.taken_s = now_s
            return max(cursor.end_s - now_s, 0.001)

    @contextmanager
    def taking(self, tenant: str, name: str) -> Iterator[Iterator[Any]]:
        """The parts of the cursor, for as long as one of them is made; an error ends it.

        Raises what it ended with before, UnknownOutcome when nothing is known of it.
        """
        with self._lock:
            cursor = self._known(tenant, name)
            if not cursor.busy.acquire(blocking=False):
                raise InvalidRequest("the part before is not there yet: ask for one after the other")
        try:
            yield cursor.parts
        except BaseException:
            self.end(tenant, name)
            raise
        finally:
            cursor.taken_s = self._clock.steady_s()
            cursor.busy.release()

    def _known(self, tenant: str, name: str) -> Cursor:
        cursor = self._open.get((tenant, name))
        if cursor is None:
            raise self._ended.get((tenant, name)) or UnknownOutcome("the coordinator began anew: run the query again")
        return cursor

    def end(self, tenant: str, name: str) -> None:
        """Forget a cursor whose parts have all been taken, or that failed."""
        with self._lock:
            self._open.pop((tenant, name), None)

    def cancel(self, tenant: str, query_id: str) -> bool:
        """End the cursors of a query that wait for their takers or their turns; False when there are none."""
        reason = BudgetExceeded(f"query {query_id!r} was cancelled", budget="cancelled")
        with self._lock:
            found = [
                key for key, cursor in self._open.items() if (cursor.tenant, cursor.query_id) == (tenant, query_id)
            ]
            left = [self._leave(key, reason) for key in found if not self._open[key].busy.locked()]
        _close(left)
        return bool(left)

    def sweep(self) -> None:
        """End the cursors whose time is over."""
        now_s = self._clock.steady_s()
        reason = BudgetExceeded("the time of the query was over before its rows were taken", budget="seconds")
        with self._lock:
            late = [key for key, cursor in self._open.items() if cursor.end_s < now_s and not cursor.busy.locked()]
            left = [self._leave(key, reason) for key in late]
        _close(left)

    def status(self) -> int:
        """How many there are."""
        with self._lock:
            return len(self._open)

    def _make_room(self, among: dict[tuple[str, str], Cursor], whose: str, now_s: float) -> Cursor:
        away = {key: now_s - cursor.taken_s for key, cursor in among.items() if not cursor.busy.locked()}
        longest = max(away, key=lambda key: away[key], default=None)
        if longest is None or away[longest] < CURSOR_IDLE_S:
            raise Overloaded(
                f"{len(among)} results {whose} are being taken already: come back in {QUERY_RETRY_AFTER_S} s",
                retry_after=QUERY_RETRY_AFTER_S,
            )
        seconds = away[longest]
        return self._leave(
            longest,
            BudgetExceeded(
                f"no rows were taken for {seconds:.0f} s while others waited for room: take them faster, or ask for "
                "less at once",
                budget="taking",
            ),
        )

    def _leave(self, key: tuple[str, str], reason: MalamuteError) -> Cursor:
        self._ended[key] = reason
        while len(self._ended) > _ENDED_MAX:
            self._ended.popitem(last=False)
        return self._open.pop(key)


def _close(cursors: list[Cursor]) -> None:
    for cursor in cursors:
        cursor.parts.close()
