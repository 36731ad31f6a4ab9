"""Who may run a query now: bounds, fairness between tenants, refusals, and no slot that is lost."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from core.clock import ManualClock
from core.errors import BudgetExceeded, Overloaded
from query.admission import Admission

FOREVER_S = 30.0


class Waiter:
    """A query in a thread of its own that holds its slot until it is let go."""

    def __init__(self, admission: Admission, tenant: str, log: list[str], timeout_s: float = FOREVER_S) -> None:
        self.done = threading.Event()
        self.runs = threading.Event()
        self.error: Exception | None = None
        self._admission, self._tenant, self._log, self._timeout_s = admission, tenant, log, timeout_s
        self.thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Waiter:
        """Start it; returns when it runs, waits in line or was refused."""
        before = self._admission.status()
        self.thread.start()
        while self.thread.is_alive() and self._admission.status() == before:
            self.runs.wait(0.001)
        return self

    def _run(self) -> None:
        try:
            with self._admission.slot(self._tenant, self._timeout_s):
                self._log.append(self._tenant)
                self.runs.set()
                self.done.wait(FOREVER_S)
        except (BudgetExceeded, Overloaded) as error:
            self.error = error

    def end(self) -> None:
        self.done.set()
        self.thread.join(FOREVER_S)
        assert not self.thread.is_alive()


@contextmanager
def held(admission: Admission, *tenants: str) -> Iterator[list[ExitStack]]:
    """A slot for each of `tenants`, to be closed one by one."""
    stacks = []
    for tenant in tenants:
        stacks.append(stack := ExitStack())
        stack.enter_context(admission.slot(tenant, 0.0))
    yield stacks
    for stack in stacks:
        stack.close()


def test_a_flood_of_one_tenant_does_not_keep_others_out() -> None:
    admission = Admission(running_max=2, tenant_max=2, waiting_max=16)
    log: list[str] = []
    with held(admission, "flood", "flood") as slots:
        flood = [Waiter(admission, "flood", log).start() for _ in range(10)]
        other = Waiter(admission, "other", log).start()
        assert admission.status() == {"running": 2, "waiting": 11} and not log
        slots[0].close()
        assert flood[0].runs.wait(FOREVER_S)  # came first
        slots[1].close()
        assert other.runs.wait(FOREVER_S)
        assert log == ["flood", "other"]
    for waiter in (*flood, other):
        waiter.done.set()
    for waiter in (*flood, other):
        waiter.end()
    assert admission.status() == {"running": 0, "waiting": 0} and Counter(log) == {"flood": 10, "other": 1}


def test_tenants_get_slots_in_turn_whatever_the_length_of_their_queues() -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=16)
    log: list[str] = []
    with held(admission, "x") as slots:
        waiters = [Waiter(admission, tenant, log).start() for tenant in "aaaabbc"]
        for waiter in waiters:
            waiter.done.set()  # each ends as soon as it had its turn
        slots[0].close()
        for waiter in waiters:
            waiter.end()
    assert "".join(log) == "abcabaa"


def test_a_tenant_at_its_cap_leaves_free_slots_to_others() -> None:
    admission = Admission(running_max=4, tenant_max=2, waiting_max=16)
    log: list[str] = []
    with held(admission, "flood", "flood") as slots:
        third = Waiter(admission, "flood", log).start()
        assert admission.status() == {"running": 2, "waiting": 1}
        with admission.slot("other", 0.0), admission.slot("other", 0.0):
            assert admission.status() == {"running": 4, "waiting": 1}
        assert not third.runs.is_set()  # free slots, but not for this tenant
        slots[0].close()
        assert third.runs.wait(FOREVER_S)
    third.end()
    assert admission.status() == {"running": 0, "waiting": 0}


@pytest.mark.parametrize("waiting_max", [0, 2])
def test_more_than_may_wait_are_overloaded_and_told_when_to_come_back(waiting_max: int) -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=waiting_max)
    log: list[str] = []
    with held(admission, "a"):
        waiters = [Waiter(admission, "a", log).start() for _ in range(waiting_max)]
        with (
            pytest.raises(Overloaded, match=f"{waiting_max} queries of tenant 'a' wait") as caught,
            held(admission, "a"),
        ):
            pass
        assert caught.value.retry_after > 0
        for waiter in waiters:
            waiter.done.set()
    for waiter in waiters:
        waiter.end()
    with held(admission, "a"):
        assert admission.status() == {"running": 1, "waiting": 0}


@pytest.mark.parametrize("timeout_s", [0.0, 0.01, -1.0])
def test_a_wait_that_is_too_long_ends_and_leaves_the_line(timeout_s: float) -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=2)
    with held(admission, "a"):
        with pytest.raises(BudgetExceeded) as caught, admission.slot("a", timeout_s):
            pass
        assert caught.value.budget == "seconds"
        assert admission.status() == {"running": 1, "waiting": 0}
    assert admission.status() == {"running": 0, "waiting": 0}


@pytest.mark.parametrize("timeout_s", [1e30, float("inf")])
def test_a_wait_without_an_end_is_a_wait(timeout_s: float) -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=2)
    log: list[str] = []
    with held(admission, "a") as slots:
        waiter = Waiter(admission, "a", log, timeout_s).start()
        assert waiter.thread.is_alive()
        slots[0].close()
        waiter.end()
    assert log == ["a"] and admission.status() == {"running": 0, "waiting": 0}


class LateTurn(threading.Event):
    """An event whose wait ends without it, while its turn comes in the same moment."""

    def __init__(self, come: threading.Event) -> None:
        super().__init__()
        self._come = come

    def wait(self, timeout: float | None = None) -> bool:
        self._come.set()
        super().wait(FOREVER_S)
        return False


def test_a_turn_that_comes_with_the_end_of_the_wait_goes_on_to_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=4)
    waits = threading.Event()
    log: list[str] = []
    late = Waiter(admission, "a", log, timeout_s=0.0)
    with held(admission, "a") as slots:
        with monkeypatch.context() as patch:
            patch.setattr("query.admission.threading.Event", lambda: LateTurn(waits))
            late.start()
        assert waits.wait(FOREVER_S)
        following = Waiter(admission, "b", log).start()
        slots[0].close()
        assert following.runs.wait(FOREVER_S)
        late.end()
        assert isinstance(late.error, BudgetExceeded) and log == ["b"]
    following.end()
    assert admission.status() == {"running": 0, "waiting": 0}


def test_an_error_inside_gives_the_slot_back() -> None:
    admission = Admission(running_max=1, tenant_max=1, waiting_max=1)
    for _ in range(3):
        with pytest.raises(KeyError), admission.slot("a", 0.0):
            raise KeyError("inside")
    assert admission.status() == {"running": 0, "waiting": 0}


def test_no_slot_is_lost_and_no_bound_broken_in_a_thousand_random_interleavings() -> None:
    admission = Admission(running_max=3, tenant_max=2, waiting_max=3)
    lock = threading.Lock()
    running: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    broken: list[str] = []

    def queries(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(50):
            tenant = rng.choice("aaab")
            try:
                with admission.slot(tenant, rng.choice([0.0, 0.0005, FOREVER_S])):
                    with lock:
                        running[tenant] += 1
                        if sum(running.values()) > 3 or running[tenant] > 2:
                            broken.append(str(dict(running)))
                    threading.Event().wait(rng.choice([0, 0, 0.0005]))
                    with lock:
                        running[tenant] -= 1
                kind = "ran"
            except (Overloaded, BudgetExceeded) as error:
                kind = type(error).__name__
            with lock:
                ends[kind] += 1

    threads = [threading.Thread(target=queries, args=(seed,), daemon=True) for seed in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FOREVER_S)
    assert not broken and sum(ends.values()) == 1_000 and all(ends[k] for k in ("ran", "Overloaded", "BudgetExceeded"))
    assert admission.status() == {"running": 0, "waiting": 0}
    with held(admission, "a", "a", "b"):
        assert admission.status() == {"running": 3, "waiting": 0}


def test_a_tenant_has_fewer_slots_while_others_ask() -> None:
    clock = ManualClock()
    admission = Admission(4, 2, 8, crowded_max=1, clock=clock)
    with admission.slot("a", 0.0), admission.slot("a", 0.0), admission.slot("b", 0.0):
        pass
    with admission.slot("a", 0.0), pytest.raises(BudgetExceeded), admission.slot("a", 0.001):
        pass
    clock.advance(60)
    with admission.slot("a", 0.0), admission.slot("a", 0.0):
        assert admission.status() == {"running": 2, "waiting": 0}
