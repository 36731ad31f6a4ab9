"""The clock of running queries: what is due is called once, what is called off never, whatever the others do."""

from __future__ import annotations

import threading
import time

import pytest

from query.deadlines import Deadlines

SOON_S = 0.005
FOREVER_S = 30.0


def test_calls_come_once_in_the_order_of_their_time() -> None:
    deadlines = Deadlines()
    calls: list[int] = []
    done = threading.Event()
    deadlines.add(20 * SOON_S, done.set)
    for number in (3, 1, 2):
        deadlines.add(number * SOON_S, lambda number=number: calls.append(number))  # type: ignore[misc]
    assert done.wait(FOREVER_S)
    assert calls == [1, 2, 3]


def test_what_is_called_off_is_not_called() -> None:
    deadlines = Deadlines()
    calls: list[str] = []
    done = threading.Event()
    off = deadlines.add(SOON_S, lambda: calls.append("off"))
    deadlines.call_off(off)
    deadlines.call_off(off)
    deadlines.call_off(12_345)
    on = deadlines.add(2 * SOON_S, done.set)
    assert done.wait(FOREVER_S) and not calls
    deadlines.call_off(on)  # too late, and no harm


def test_an_earlier_call_does_not_wait_for_a_later_one() -> None:
    deadlines = Deadlines()
    done = threading.Event()
    deadlines.add(FOREVER_S * 100, lambda: None)
    deadlines.add(SOON_S, done.set)
    assert done.wait(FOREVER_S)


@pytest.mark.parametrize("seconds", [float("inf"), 1e300, 1e10])
def test_time_without_an_end_does_not_end_the_thread_that_all_share(seconds: float) -> None:
    deadlines = Deadlines()
    done = threading.Event()
    deadlines.add(seconds, lambda: None)
    time.sleep(SOON_S)  # the thread waits by now
    deadlines.add(SOON_S, done.set)
    assert done.wait(FOREVER_S)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_call_that_fails_costs_nobody_else_his() -> None:
    deadlines = Deadlines()
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise RuntimeError("can't start new thread")

    deadlines.add(0.0, fail)
    assert failed.wait(FOREVER_S)
    done = threading.Event()
    while not done.wait(2 * SOON_S):  # the thread may be about to end when the first of these is added
        deadlines.add(SOON_S, done.set)


def test_thousands_that_are_called_off_are_not_kept() -> None:
    deadlines = Deadlines()
    kept = [deadlines.add(FOREVER_S * 100, lambda: None) for _ in range(10)]
    for _ in range(2_000):
        deadlines.call_off(deadlines.add(FOREVER_S, lambda: None))
    assert len(deadlines._due) < 100
    done = threading.Event()
    deadlines.add(SOON_S, done.set)
    assert done.wait(FOREVER_S)
    for number in kept:
        deadlines.call_off(number)
    assert not deadlines._open


def test_from_many_threads_each_call_comes_or_was_called_off() -> None:
    deadlines = Deadlines()
    lock = threading.Lock()
    called: list[int] = []
    off: set[int] = set()

    def queries(first: int) -> None:
        for name in range(first, first + 100):
            number = deadlines.add(0.0 if name % 3 else FOREVER_S, lambda name=name: note(name))  # type: ignore[misc]
            if name % 3 == 0:
                deadlines.call_off(number)
                with lock:
                    off.add(name)

    def note(name: int) -> None:
        with lock:
            called.append(name)

    threads = [threading.Thread(target=queries, args=(first,), daemon=True) for first in range(0, 800, 100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(FOREVER_S)
    done = threading.Event()
    deadlines.add(0.0, done.set)
    assert done.wait(FOREVER_S)
    assert sorted([*called, *off]) == list(range(800))
