"""Owns doing the next pieces of work on other threads while the caller deals with the one before. Keeps their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

THREADS_MAX: Final = 4  # shredding runs at hundreds of MB/s per thread: what follows it cannot take more


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """work(item) of each item, in order, done ahead by up to THREADS_MAX threads; raises what `work` raised.

    One result per thread waits at most. A single item is worked on by the caller itself.
    """
    source = iter(items)
    waiting = list(_take(source, 2))
    if len(waiting) < 2:
        yield from map(work, waiting)
        return
    threads = max(1, min(THREADS_MAX, os.cpu_count() or 1))
    with ThreadPoolExecutor(threads, "ahead") as pool:
        ahead: deque[Future[Result]] = deque(pool.submit(work, item) for item in waiting)
        try:
            while ahead:
                ahead.extend(pool.submit(work, item) for item in _take(source, threads + 1 - len(ahead)))
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()


def _take(source: Iterator[Item], count: int) -> Iterator[Item]:
    for _ in range(count):
        try:
            yield next(source)
        except StopIteration:
            return
