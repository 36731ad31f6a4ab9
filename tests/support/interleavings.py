"""Runs the real code of several actors over one object store in every order of their operations on it.

An actor is a function in a thread of its own, and only one thread runs at a time: at each operation an actor waits for
its turn. Orders are enumerated depth first, by running everything again with another choice at the last free point.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

WAIT_S_MAX = 30.0

Actor = Callable[[], None]


@dataclass(slots=True)
class _Choice:
    enabled: list[int]
    taken: int  # index into enabled


@dataclass(slots=True)
class Schedule:
    """One order: at each point, which of the actors that could go on was chosen."""

    choices: list[_Choice] = field(default_factory=list)

    def next(self, switches_max: int | None) -> Schedule | None:
        """The following order in depth first search, or None at the end. At most `switches_max` switches by choice."""
        choices = [_Choice(list(choice.enabled), choice.taken) for choice in self.choices]
        while choices:
            last = choices[-1]
            if last.taken + 1 < len(last.enabled):
                last.taken += 1
                if switches_max is None or _switches(choices) <= switches_max:
                    return Schedule(choices)
                continue
            choices.pop()
        return None


def _switches(choices: Sequence[_Choice]) -> int:
    """How often an actor was left although it could have gone on: the first of `enabled` is the one that ran last."""
    return sum(choice.taken > 0 for choice in choices)


class Turns:
    """Gives out turns by a schedule, and extends it by "go on with the same actor" where it ends."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = Schedule(schedule.choices)
        self._step = 0
        self._condition = threading.Condition()
        self._waiting: set[int] = set()
        self._live: set[int] = set()
        self._running: int | None = None
        self._names: dict[int, int] = {}  # thread → actor
        self.failures: list[BaseException] = []

    def wait(self) -> None:
        """Called by an actor before each operation; anybody else passes."""
        me = self._names.get(threading.get_ident())
        if me is None:
            return
        with self._condition:
            self._waiting.add(me)
            self._choose(me)
            while self._running != me:
                if not self._condition.wait(WAIT_S_MAX):
                    raise TimeoutError(f"actor {me} never got its turn")
            self._waiting.discard(me)

    def run(self, actors: Sequence[Actor]) -> None:
        """Run all actors to their ends; raises the first failure of one."""
        self._live = set(range(len(actors)))
        threads = [threading.Thread(target=self._act, args=(number, act)) for number, act in enumerate(actors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT_S_MAX)
        if self.failures:
            raise self.failures[0]

    def _act(self, number: int, act: Actor) -> None:
        self._names[threading.get_ident()] = number
        try:
            self.wait()
            act()
        except BaseException as error:
            self.failures.append(error)
        finally:
            with self._condition:
                self._live.discard(number)
                self._waiting.discard(number)
                self._choose(number)

    def _choose(self, last: int) -> None:
        """Once every actor waits or has ended, give the turn to the one that the schedule names."""
        if self._running not in (None, last) or self._waiting != self._live or not self._live:
            return
        enabled = sorted(self._live, key=lambda actor: (actor != last, actor))
        if self._step == len(self.schedule.choices):
            self.schedule.choices.append(_Choice(enabled, 0))
        choice = self.schedule.choices[self._step]
        assert choice.enabled == enabled, "not the same course"
        self._step += 1
        self._running = enabled[choice.taken]
        self._condition.notify_all()


def orders(make: Callable[[Turns], Sequence[Actor]], switches_max: int | None = None) -> Iterator[Schedule]:
    """Run the actors of `make` in every order of their operations; yields after each run, for checks."""
    schedule: Schedule | None = Schedule()
    while schedule is not None:
        turns = Turns(schedule)
        turns.run(make(turns))
        yield turns.schedule
        schedule = turns.schedule.next(switches_max)
