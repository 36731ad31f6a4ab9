"""Work done ahead comes in order, is bounded, and fails where its item stands."""

from __future__ import annotations

import threading
import time

import pytest

from ingest.ahead import THREADS_MAX, in_order


def test_results_come_in_order() -> None:
    def work(item: int) -> int:
        time.sleep(0.002 * (item % 3))
        return item * item

    assert list(in_order(work, range(50))) == [item * item for item in range(50)]


def test_no_item_and_one_item() -> None:
    assert list(in_order(str, [])) == []
    thread = list(in_order(lambda _: threading.current_thread(), [1]))
    assert thread == [threading.current_thread()]


def test_only_a_few_items_are_taken_ahead() -> None:
    taken = []

    def items():
        for item in range(1000):
            taken.append(item)
            yield item

    results = in_order(lambda item: item, items())
    assert [next(results) for _ in range(10)] == list(range(10))
    assert len(taken) <= 10 + THREADS_MAX + 2
    results.close()


def test_an_error_comes_at_its_place() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise ValueError("the fourth")
        return item

    results = in_order(work, range(10))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="the fourth"):
        next(results)
