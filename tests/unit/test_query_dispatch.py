"""The course of a query's tasks: bounded, retried and hedged where that is safe, stopped at once, every task once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest

from core.clock import ManualClock
from core.errors import BudgetExceeded, Corrupt, InvalidQuery, MalamuteError, Overloaded, Unavailable, UnknownOutcome
from core.limits import HEDGE_AFTER_S, TASKS_IN_FLIGHT_MAX
from query.dispatch import Dispatcher
from query.fragment import LeafResult
from query.tasks import Task

RESULT = LeafResult((pa.table({"a": [1]}),))
AWAY = Unavailable("away")


@dataclass
class Run:
    """One run of a task on a worker: how long it takes, and how it ends."""

    seconds: float = 0.01
    error: MalamuteError | None = None
    refused: MalamuteError | None = None  # start() raises it


class FakeFleet:
    """Workers whose runs `script(worker, task)` decides; time passes only in wait()."""

    def __init__(self, script: Callable[[str, Task], Run]) -> None:
        self.clock = ManualClock()
        self.script = script
        self.started: list[tuple[str, int]] = []
        self.most: Counter[str] = Counter()
        self.idle_waits = 0
        self._runs: dict[int, tuple[str, float, Run]] = {}

    def start(self, worker: str, task: Task) -> int:
        self.started.append((worker, task.number))
        run = self.script(worker, task)
        if run.refused is not None:
            raise run.refused
        number = len(self.started)
        self._runs[number] = (worker, self.clock.steady_s() + run.seconds, run)
        there = sum(held == worker for held, _, _ in self._runs.values())
        self.most[worker] = max(self.most[worker], there)
        return number

    def wait(self, pending: Sequence[int], timeout_s: float) -> list[int]:
        self.idle_waits += not pending
        ends_s = min((self._runs[number][1] for number in pending), default=float("inf"))
        self.clock.advance(max(0.000001, min(timeout_s, ends_s - self.clock.steady_s() + 0.000001)))
        return [number for number in pending if self._runs[number][1] <= self.clock.steady_s()][:1]

    def result(self, pending: int) -> LeafResult:
        run = self._runs.pop(pending)[2]
        if run.error is not None:
            raise run.error
        return RESULT

    def workers_of(self, task: int) -> list[str]:
        return [worker for worker, number in self.started if number == task]


def task(number: int, *workers: str, memtable: bool = False, shard: int = 0) -> Task:
    return Task(number, shard, {}, memtable, workers or ("shard-0",))


def go_on() -> BudgetExceeded | None:
    return None


def run(fleet: FakeFleet, tasks: list[Task]) -> tuple[list[tuple[int, str]], Dispatcher]:
    dispatcher = Dispatcher(fleet, fleet.clock, go_on)
    return [(answer.task.number, answer.worker) for answer in dispatcher.run(tasks)], dispatcher


def test_every_task_is_answered_once_by_its_first_choice() -> None:
    fleet = FakeFleet(lambda worker, task: Run())
    answers, dispatcher = run(fleet, [task(n, f"reader-{n % 3}", f"reader-{(n + 1) % 3}") for n in range(20)])
    assert sorted(answers) == [(n, f"reader-{n % 3}") for n in range(20)]
    assert (dispatcher.hedges, dispatcher.retries) == (0, 0)
    assert run(fleet, [])[0] == []


def test_a_worker_never_has_more_than_its_share_at_once() -> None:
    rng = random.Random(3)
    fleet = FakeFleet(lambda worker, task: Run(rng.random() * 4))
    answers, _ = run(fleet, [task(n, f"reader-{n % 2}", f"reader-{1 - n % 2}") for n in range(40)])
    assert len(answers) == 40
    assert fleet.most == {"reader-0": TASKS_IN_FLIGHT_MAX, "reader-1": TASKS_IN_FLIGHT_MAX}


@pytest.mark.parametrize("error", [AWAY, UnknownOutcome("died on the way")])
@pytest.mark.parametrize("at_start", [True, False])
def test_a_task_goes_to_the_second_choice_and_then_to_the_shard(error: MalamuteError, at_start: bool) -> None:
    def script(worker: str, task: Task) -> Run:
        if worker.startswith("shard"):
            return Run()
        return Run(refused=error) if at_start else Run(error=error)

    fleet = FakeFleet(script)
    answers, dispatcher = run(fleet, [task(0, "reader-0", "reader-1", shard=7)])
    assert answers == [(0, "shard-7")]
    assert fleet.workers_of(0) == ["reader-0", "reader-1", "shard-7"]
    assert dispatcher.retries == 2 and fleet.idle_waits == 0


@pytest.mark.parametrize("at_start", [True, False])
def test_the_error_of_the_last_worker_is_raised(at_start: bool) -> None:
    fleet = FakeFleet(lambda worker, task: Run(refused=AWAY) if at_start else Run(error=AWAY))
    with pytest.raises(Unavailable, match="away"):
        run(fleet, [task(0, "reader-0", "reader-1")])
    assert fleet.workers_of(0) == ["reader-0", "reader-1", "shard-0"]


@pytest.mark.parametrize("error", [AWAY, UnknownOutcome("died on the way")])
@pytest.mark.parametrize("at_start", [True, False])
def test_a_memtable_is_never_read_twice(error: MalamuteError, at_start: bool) -> None:
    fleet = FakeFleet(lambda worker, task: Run(refused=error) if at_start else Run(error=error))
    with pytest.raises(type(error)):
        run(fleet, [task(0, "shard-0", memtable=True)])
    assert fleet.workers_of(0) == ["shard-0"]


def test_a_slow_memtable_task_is_not_hedged() -> None:
    fleet = FakeFleet(lambda worker, task: Run(60.0 if task.memtable else 0.01))
    answers, dispatcher = run(fleet, [task(0, "shard-0", "reader-0", memtable=True), task(1, "reader-0")])
    assert answers == [(1, "reader-0"), (0, "shard-0")] and dispatcher.hedges == 0
    assert fleet.workers_of(0) == ["shard-0"]


@pytest.mark.parametrize(
    "error",
    [InvalidQuery("no"), Corrupt("flipped"), BudgetExceeded("too long", budget="seconds"), KeyError("a mistake")],
)
def test_what_another_worker_cannot_mend_is_raised_at_once(error: MalamuteError) -> None:
    fleet = FakeFleet(lambda worker, task: Run(error=error))
    with pytest.raises(type(error)):
        run(fleet, [task(n, "reader-0", "reader-1") for n in range(5)])
    assert {worker for worker, _ in fleet.started} == {"reader-0"}


def test_overloaded_in_the_middle_is_the_callers() -> None:
    fleet = FakeFleet(lambda worker, task: Run(refused=Overloaded("full", retry_after=1.0)) if task.number else Run())
    dispatcher = Dispatcher(fleet, fleet.clock, go_on)
    with pytest.raises(Overloaded) as caught:
        list(dispatcher.run([task(0, "reader-0"), task(1, "reader-0")]))
    assert caught.value.retry_after == 1.0


def slow_on(*workers: str) -> Callable[[str, Task], Run]:
    """Task 0 takes a minute on `workers`."""
    return lambda worker, task: Run(60.0 if task.number == 0 and worker in workers else 0.01)


TWO = ("reader-0", "reader-1")


def test_a_task_much_slower_than_the_others_is_sent_to_its_second_choice_and_the_first_answer_counts() -> None:
    fleet = FakeFleet(slow_on("reader-0"))
    started_s = fleet.clock.steady_s()
    answers, dispatcher = run(fleet, [task(n, *TWO) for n in range(4)])
    assert sorted(answers) == [(0, "reader-1"), (1, "reader-0"), (2, "reader-0"), (3, "reader-0")]
    assert dispatcher.hedges == 1 and dispatcher.retries == 0
    assert HEDGE_AFTER_S <= fleet.clock.steady_s() - started_s < 2 * HEDGE_AFTER_S


def test_a_copy_that_is_slower_still_is_not_waited_for() -> None:
    fleet = FakeFleet(lambda worker, task: Run((2.0 if worker == "reader-0" else 60.0) if not task.number else 0.01))
    answers, dispatcher = run(fleet, [task(0, *TWO), task(1, *TWO)])
    assert sorted(answers) == [(0, "reader-0"), (1, "reader-0")] and dispatcher.hedges == 1
    assert fleet.workers_of(0) == ["reader-0", "reader-1"]


def test_nothing_is_hedged_while_others_wait_or_when_all_are_slow() -> None:
    fleet = FakeFleet(lambda worker, task: Run(5.0))
    answers, dispatcher = run(fleet, [task(n, *TWO) for n in range(7)])
    assert sorted(n for n, _ in answers) == list(range(7)) and dispatcher.hedges == 0


@pytest.mark.parametrize("refusal", [AWAY, UnknownOutcome("?"), Overloaded("full", retry_after=1.0)])
def test_a_second_choice_that_takes_no_copy_takes_nothing_away(refusal: MalamuteError) -> None:
    def script(worker: str, task: Task) -> Run:
        return Run(refused=refusal) if worker == "reader-1" else slow_on("reader-0")(worker, task)

    fleet = FakeFleet(script)
    answers, dispatcher = run(fleet, [task(n, *TWO) for n in range(3)])
    assert sorted(answers) == [(n, "reader-0") for n in range(3)]
    assert (dispatcher.hedges, dispatcher.retries) == (0, 0)
    assert fleet.workers_of(0) == ["reader-0", "reader-1"]


@pytest.mark.parametrize("first", ["original", "copy"])
def test_an_error_of_one_copy_waits_for_the_other(first: str) -> None:
    def script(worker: str, task: Task) -> Run:
        if task.number:
            return Run()
        fails = (worker == "reader-0") == (first == "original")
        return Run(2.0, error=AWAY) if fails else Run(4.0)

    fleet = FakeFleet(script)
    answers, dispatcher = run(fleet, [task(0, *TWO), task(1, *TWO)])
    assert dict(answers)[0] == ("reader-1" if first == "original" else "reader-0")
    assert dispatcher.retries == 0


def test_both_copies_fail_and_the_shard_answers() -> None:
    def script(worker: str, task: Task) -> Run:
        return Run(2.0, error=AWAY) if task.number == 0 and worker != "shard-0" else Run()

    fleet = FakeFleet(script)
    answers, _ = run(fleet, [task(0, *TWO), task(1, *TWO)])
    assert dict(answers)[0] == "shard-0"
    assert fleet.workers_of(0) == ["reader-0", "reader-1", "shard-0"]


def test_a_copy_never_goes_to_a_worker_that_failed_the_task_or_is_full() -> None:
    def failed_first(worker: str, task: Task) -> Run:
        if task.number:
            return Run()
        return Run(error=AWAY) if worker == "reader-0" else Run(30.0)

    fleet = FakeFleet(failed_first)
    answers, dispatcher = run(fleet, [task(0, *TWO), task(1, *TWO)])
    assert dict(answers)[0] == "reader-1" and dispatcher.hedges == 0
    fleet = FakeFleet(lambda worker, task: Run(0.01 if task.number == 9 else 30.0))
    run(fleet, [task(0, *TWO), task(9, *TWO), *(task(n, "reader-1") for n in (2, 3))])
    assert fleet.most["reader-1"] == TASKS_IN_FLIGHT_MAX


def test_stop_ends_it_before_anything_else_is_started() -> None:
    reason: list[BudgetExceeded] = []
    fleet = FakeFleet(lambda worker, task: Run())
    dispatcher = Dispatcher(fleet, fleet.clock, lambda: reason[0] if reason else None)
    course = dispatcher.run([task(n, "reader-0") for n in range(9)])
    next(course)
    started = len(fleet.started)
    reason.append(BudgetExceeded("cancelled", budget="cancelled"))
    with pytest.raises(BudgetExceeded) as caught:
        list(course)
    assert caught.value is reason[0] and len(fleet.started) == started


def test_stop_is_seen_while_all_tasks_hang() -> None:
    fleet = FakeFleet(lambda worker, task: Run(1e9))
    deadline_s = fleet.clock.steady_s() + 3.0
    late = BudgetExceeded("late", budget="seconds")
    dispatcher = Dispatcher(fleet, fleet.clock, lambda: late if fleet.clock.steady_s() > deadline_s else None)
    with pytest.raises(BudgetExceeded):
        list(dispatcher.run([task(0, *TWO)]))
    assert fleet.clock.steady_s() < deadline_s + 1.0


@pytest.mark.parametrize("seed", range(30))
def test_under_random_failures_every_task_is_answered_once_or_one_error_is_raised(seed: int) -> None:
    rng = random.Random(seed)
    readers = [f"reader-{n}" for n in range(4)]
    tasks = [task(n, *rng.sample(readers, 2), shard=n % 2) for n in range(30)]
    tasks += [task(30 + n, f"shard-{n}", memtable=True, shard=n) for n in range(2)]

    def script(worker: str, task: Task) -> Run:
        if task.memtable:
            return Run(rng.random())
        run = Run(rng.choice([0.01, 0.02, 3.0]))
        kind = rng.random() if worker.startswith("reader") else 1.0
        run.refused = AWAY if kind < 0.1 else Overloaded("full", retry_after=1.0) if kind < 0.1005 else None
        run.error = UnknownOutcome("?") if 0.2 < kind < 0.3 else None
        return run

    fleet = FakeFleet(script)
    try:
        answers, _ = run(fleet, tasks)
    except Overloaded:
        return
    assert sorted(number for number, _ in answers) == list(range(32))
    assert max(fleet.most.values()) <= TASKS_IN_FLIGHT_MAX
    assert all(len(fleet.workers_of(number)) == 1 for number in (30, 31))


@pytest.mark.parametrize("memtable", [True, False])
def test_a_task_that_fails_because_its_query_was_cancelled_says_so(memtable: bool) -> None:
    fleet = FakeFleet(lambda worker, task: Run(error=Unavailable("the snapshot is gone")))
    cancelled = BudgetExceeded("cancelled", budget="cancelled")
    dispatcher = Dispatcher(fleet, fleet.clock, lambda: cancelled if fleet.started else None)
    with pytest.raises(BudgetExceeded) as caught:
        list(dispatcher.run([task(0, "shard-0", memtable=memtable)]))
    assert caught.value is cancelled and len(fleet.started) == 1
