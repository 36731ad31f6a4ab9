"""Old and new owners of a shard in every order of their operations on the object store, and crashes after each.

Nothing acknowledged is lost, nothing is doubled, and what anybody acknowledges is visible with the newest owner.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence

import pytest

from core.errors import Fenced, MalamuteError
from storage.shard import Shard
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.interleavings import Actor, Turns, orders
from tests.support.shards import STREAM, TENANT, append, check_exactly_once, open_on_objects, stored_rows

# Operations on segments commute with everything of the other owner: they are no points of choice.
GATED = ("/wal/", "/manifest/")


class World:
    """One object store, what was sent and acknowledged, and the owners that serve."""

    def __init__(self, turns: Turns | None = None) -> None:
        self.objects = FlakyObjectStore()
        self.sent: set[int] = set()
        self.acknowledged: set[int] = set()
        self.fenced: set[int] = set()
        self.serving: list[Shard] = []  # by epoch
        self.producer_epoch = 1
        self._ids = itertools.count(1)
        owner = self.open()
        assert owner.open_producer(TENANT, STREAM, "p").epoch == self.producer_epoch
        self.append(owner, 0)
        if turns is not None:
            self.objects.hook = lambda operation, key: turns.wait() if any(part in key for part in GATED) else None

    def open(self) -> Shard:
        """The next owner; the one before is not told."""
        shard = open_on_objects(self.objects, file_ids=lambda: next(self._ids))
        self.serving.append(shard)
        self.serving.sort(key=lambda owner: int(str(owner.status()["epoch"])))
        return shard

    def append(self, owner: Shard, n: int) -> bool:
        """Send event `n` as sequence `n` of the one producer: whoever retries it sends the same."""
        self.sent.add(n)
        try:
            append(owner, "p", self.producer_epoch, n, [n])
        except Fenced:
            self.fenced.add(id(owner))
            return False
        except MalamuteError:
            return False
        assert id(owner) not in self.fenced, "acknowledged by an owner that knew itself fenced"
        self.acknowledged.add(n)
        visible = {number for _, number in stored_rows(self.serving[-1], Ungated(self.objects))}
        assert n in visible, f"{n} was acknowledged and is not visible with the newest owner"
        return True

    def flush(self, owner: Shard) -> None:
        with contextlib.suppress(MalamuteError):
            owner.flush()

    def check(self) -> None:
        self.objects.hook = None
        rows = stored_rows(open_on_objects(self.objects), self.objects)
        check_exactly_once(rows, self.acknowledged, self.sent)
        assert [n for _, n in rows] == sorted(n for _, n in rows)


class Ungated:
    """Reads of the checks themselves."""

    def __init__(self, objects: FlakyObjectStore) -> None:
        self._objects = objects

    def get(self, key: str) -> bytes:
        return self._objects.objects[key]


def old_appends(world: World, owner: Shard) -> Actor:
    return lambda: [world.append(owner, n) for n in (1, 2)] and None


def old_flushes(world: World, owner: Shard) -> Actor:
    def act() -> None:
        world.append(owner, 1)
        world.flush(owner)
        world.append(owner, 2)

    return act


def new_retries(world: World, _: Shard) -> Actor:
    """Opens, and gets the batch that the client did not hear of from the old owner; goes on where that ended."""

    def act() -> None:
        try:
            owner = world.open()
        except MalamuteError:
            return
        for n in (1, 2, 3):
            world.append(owner, n)

    return act


def new_flushes(world: World, _: Shard) -> Actor:
    def act() -> None:
        try:
            owner = world.open()
        except MalamuteError:
            return
        world.append(owner, 1)
        world.flush(owner)

    return act


def late_append(world: World, owner: Shard) -> Actor:
    return lambda: world.append(owner, 1) and None


MakeActor = Callable[[World, Shard], Actor]
SCENARIOS: dict[str, tuple[tuple[MakeActor, ...], int | None, int]] = {
    # name: actors, most switches (None: all orders), fewest orders there must be
    "an old owner appends while a new one opens and gets the retries": ((old_appends, new_retries), 3, 100),
    "an old owner flushes and removes while a new one opens": ((old_flushes, new_retries), 2, 50),
    "a new owner removes what the old one may still write": ((late_append, new_flushes), None, 10),
    "two new owners at once": ((late_append, new_retries, new_retries), 1, 20),
    "two new owners at once, one of which removes": ((late_append, new_flushes, new_retries), 1, 20),
}
# Each more takes several times as long; many are all orders, which is how the figures of ADR 0018 were found.
MORE_SWITCHES = int(os.environ.get("MALAMUTE_MORE_SWITCHES", "0"))


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_order_of_operations_is_exact(name: str) -> None:
    actors, switches_max, orders_min = SCENARIOS[name]
    if switches_max is not None:
        switches_max += MORE_SWITCHES
    worlds: list[World] = []

    def make(turns: Turns) -> Sequence[Actor]:
        worlds.append(World(turns))
        return [actor(worlds[-1], worlds[-1].serving[0]) for actor in actors]

    count = 0
    for _ in orders(make, switches_max):
        worlds.pop().check()
        count += 1
    print(f"{name}: {count} orders")
    assert count >= orders_min


class Crash(BaseException):
    """The process ends here."""


def life(world: World) -> None:
    """A new owner opens over an old one, works, removes, works, and another one follows."""
    owner = world.open()
    first = max(world.sent) + 1
    world.append(owner, first)
    world.flush(owner)
    world.append(owner, first + 1)
    owner.close()


def crash_at(world: World, operation: int, run: Callable[[World], None]) -> bool:
    """Run until the process ends right before its `operation`-th call; False when it came to its end before."""
    steps = itertools.count()

    def hook(name: str, key: str) -> None:
        if next(steps) == operation:
            raise Crash

    world.objects.hook = hook
    try:
        run(world)
    except Crash:
        return True
    finally:
        world.objects.hook = None
    return False


def survivors(world: World) -> None:
    """Whatever the next owner finds is from now on fixed; what was not stored is sent again under new numbers."""
    world.serving.clear()
    owner = world.open()
    found = {n for _, n in stored_rows(owner, world.objects)}
    assert world.acknowledged <= found <= world.sent
    world.acknowledged = found
    world.sent = set(found)


def test_a_crash_at_any_operation_loses_and_doubles_nothing() -> None:
    points = 0
    for operation in itertools.count():
        world = World()
        if not crash_at(world, operation, life):
            break
        world.check()
        points += 1
        survivors(world)
        life(world)
        world.check()
    assert points >= 20


def test_a_crash_inside_the_recovery_from_a_crash_changes_nothing() -> None:
    pairs = 0
    for first in range(0, 60, 3):
        for second in itertools.count():
            world = World()
            if not crash_at(world, first, life):
                break
            if not crash_at(world, second, lambda world: world.open() and None):
                break
            world.check()
            pairs += 1
    assert pairs > 100
