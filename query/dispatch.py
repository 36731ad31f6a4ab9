"""Owns the course of a query's tasks: a bounded number in flight per worker, retries and hedges where they are safe.

Tasks of one query never fill a worker's queue, so that queries of others get their turn between them. A task reads
immutable segments, so it may run twice: the first answer counts. A memtable is pinned on its shard and is read there,
once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from core.clock import Clock
from core.errors import BudgetExceeded, MalamuteError, Overloaded, Unavailable, UnknownOutcome
from core.limits import HEDGE_AFTER_S, QUERY_POLL_S, TASKS_IN_FLIGHT_MAX
from query.fragment import LeafResult
from query.tasks import Task, shard_worker

_HEDGE_FACTOR: Final = 3.0  # a task that takes so many times longer than the others is sent to a second worker


class Fleet(Protocol):
    """The workers of a deployment, to which tasks are sent."""

    def start(self, worker: str, task: Task) -> Any:
        """Begin `task` on `worker`; returns what wait() and result() take. Raises Overloaded or Unavailable."""

    def wait(self, pending: Sequence[Any], timeout_s: float) -> list[Any]:
        """Those of `pending` that are done, after at most `timeout_s`."""

    def result(self, pending: Any) -> LeafResult:
        """The answer of a task that is done, or its error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one task gave, and who ran it."""

    task: Task
    worker: str
    result: LeafResult


@dataclass(slots=True)
class _Running:
    task: Task
    worker: str
    started_s: float
    hedged: bool = False


@dataclass(slots=True)
class _Course:
    """The state of one query's tasks."""

    queues: dict[str, deque[Task]] = field(default_factory=dict)
    running: dict[Any, _Running] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    failed: dict[int, set[str]] = field(default_factory=dict)  # task → workers that failed it
    seconds: list[float] = field(default_factory=list)  # of tasks that are done

    def busy(self) -> dict[str, int]:
        """How many calls of each worker have no answer yet."""
        counts: dict[str, int] = {}
        for running in self.running.values():
            counts[running.worker] = counts.get(running.worker, 0) + 1
        return counts

    def fail(self, task: Task, worker: str) -> set[str]:
        """Remember that `worker` failed `task`; all that did."""
        failed = self.failed.setdefault(task.number, set())
        failed.add(worker)
        return failed


class Dispatcher:
    """Runs the tasks of one query. `stop()` returns why the query must not go on, None while it may."""

    def __init__(self, fleet: Fleet, clock: Clock, stop: Callable[[], BudgetExceeded | None]) -> None:
        self._fleet = fleet
        self._clock = clock
        self._stop = stop
        self.hedges = 0
        self.retries = 0

    def run(self, tasks: Sequence[Task]) -> Iterator[Answer]:
        """The answers of all `tasks`, as they come. Raises the first error that no other worker could mend."""
        course = _Course()
        for task in tasks:
            course.queues.setdefault(task.workers[0], deque()).append(task)
        total = len(tasks)
        while len(course.done) < total:
            reason = self._stop()
            if reason is not None:
                raise reason
            self._fill(course)
            if not course.running:
                continue  # no worker could be reached: the next ones were put in line
            for pending in self._fleet.wait(list(course.running), QUERY_POLL_S):
                answer = self._finish(course, pending)
                if answer is not None:
                    yield answer
            self._hedge(course)

    def _fill(self, course: _Course) -> None:
        busy = course.busy()
        for worker, queue in list(course.queues.items()):
            while queue and busy.get(worker, 0) < TASKS_IN_FLIGHT_MAX:
                busy[worker] = busy.get(worker, 0) + 1
                self._start(course, queue.popleft(), worker)

    def _start(self, course: _Course, task: Task, worker: str) -> None:
        try:
            pending = self._fleet.start(worker, task)
        except (Unavailable, UnknownOutcome) as error:
            self._again(course, task, worker, error)
            return
        course.running[pending] = _Running(task, worker, self._clock.steady_s())

    def _finish(self, course: _Course, pending: Any) -> Answer | None:
        running = course.running.pop(pending)
        task = running.task
        if task.number in course.done:
            return None  # its hedge was faster
        try:
            result = self._fleet.result(pending)
        except (Unavailable, UnknownOutcome) as error:
            course.fail(task, running.worker)
            if not any(other.task.number == task.number for other in course.running.values()):
                self._again(course, task, running.worker, error)
            return None
        course.done.add(task.number)
        course.seconds.append(self._clock.steady_s() - running.started_s)
        return Answer(task, running.worker, result)

    def _again(self, course: _Course, task: Task, worker: str, error: MalamuteError) -> None:
        """Give `task` to the next worker that has not failed it; the shard itself is the last."""
        reason = self._stop()
        if reason is not None:
            raise reason from error  # what was cancelled has no pins any more: not for the caller to try again
        failed = course.fail(task, worker)
        left = [other for other in (*task.workers, shard_worker(task.shard)) if other not in failed]
        if task.memtable or not left:
            raise error
        self.retries += 1
        course.queues.setdefault(left[0], deque()).append(task)

    def _hedge(self, course: _Course) -> None:
        """Send the tasks that take much longer than the others to their second choice, once nothing else waits."""
        if any(course.queues.values()) or not course.seconds:
            return
        usual_s = sorted(course.seconds)[len(course.seconds) // 2]
        late_s = max(HEDGE_AFTER_S, _HEDGE_FACTOR * usual_s)
        now_s = self._clock.steady_s()
        busy = course.busy()
        for running in list(course.running.values()):
            task = running.task
            if running.hedged or task.memtable or now_s - running.started_s < late_s:
                continue
            failed = course.failed.get(task.number, ())
            free = [w for w in task.workers if w not in failed and busy.get(w, 0) < TASKS_IN_FLIGHT_MAX]
            other = next((worker for worker in free if worker != running.worker), None)
            if other is None:
                continue
            running.hedged = True
            # The task is on its way as it is: a worker that does not take a copy of it takes nothing away.
            with suppress(Overloaded, Unavailable, UnknownOutcome):
                course.running[self._fleet.start(other, task)] = _Running(task, other, now_s, hedged=True)
                busy[other] = busy.get(other, 0) + 1
                self.hedges += 1
