"""Dedup by id with the WAL on the object store: owners are replaced while they live, and calls to the store fail."""

from __future__ import annotations

import io
import random
from collections import Counter

import pyarrow.parquet as pq
import pytest

from core.clock import ManualClock
from core.errors import MalamuteError
from storage.shard import Shard
from tests.support.dedup import NOW_US, Sent, append_events, numbered, open_dedup_on_objects
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.shards import STREAM, TENANT

IDS = 40
ATTEMPTS = 60


def stored_ids_of(shard: Shard, objects: FlakyObjectStore) -> Counter[str]:
    snapshot = shard.snapshot(TENANT, STREAM)
    tables = [pq.read_table(io.BytesIO(objects.objects[segment.name])) for segment in snapshot.segments]
    parts = [*tables, *snapshot.memtable]
    return Counter(id_ for part in parts for id_ in part.column(part.schema.get_field_index("id")).to_pylist())


class Failover:
    """One source that sends on to whoever owns the shard, and older owners that wake up and try as well."""

    def __init__(self, seed: int, faults: float) -> None:
        self.rng = random.Random(seed)
        self.objects = FlakyObjectStore()
        self.clock = ManualClock(NOW_US)
        self.number = numbered()
        self.owners = [self.opened()]
        self.acknowledged: set[str] = set()
        self.refused = self.failed = self.duplicates = 0
        self.objects.hook = lambda operation, key: self._fault(operation, faults)

    def _fault(self, operation: str, faults: float) -> str | None:
        if self.rng.random() >= faults:
            return None
        return self.rng.choice(("before", "after")) if operation == "put_new" else "before"

    def opened(self) -> Shard:
        """A new owner; its calls do not fail while it opens, since every attempt makes the log of epochs longer."""
        hook, self.objects.hook = self.objects.hook, None
        shard = open_dedup_on_objects(self.objects, self.clock)
        self.objects.hook = hook
        return shard

    def events(self) -> list[Sent]:
        return [Sent(f"id{self.rng.randrange(IDS)}", NOW_US, self.number()) for _ in range(self.rng.randrange(1, 5))]

    def send(self, producer: str) -> None:
        """Send a batch until somebody acknowledges it, as the same sequence."""
        events, epoch = self.events(), None
        for _ in range(ATTEMPTS):
            shard = self.owners[-1]
            try:
                epoch = epoch or shard.open_producer(TENANT, STREAM, producer).epoch
                ack = append_events(shard, producer, epoch, 0, events)
            except MalamuteError:
                self.failed += 1
                if shard.poisoned or shard.fenced or self.rng.random() < 0.2:
                    self.owners.append(self.opened())
                continue
            self.duplicates += ack.duplicate_ids
            self.acknowledged |= {str(event.id) for event in events}
            return
        raise AssertionError("nobody acknowledges")

    def wake(self, old: Shard) -> None:
        """What an owner that was replaced does must come to nothing."""
        try:
            old.flush()
            append_events(old, "zombie", old.open_producer(TENANT, STREAM, "zombie").epoch, 0, self.events())
        except MalamuteError:
            self.refused += 1
        else:
            raise AssertionError("an owner that was replaced acknowledged")


@pytest.mark.parametrize("seed", range(4))
def test_an_id_is_stored_once_whoever_owns_the_shard(seed: int) -> None:
    course = Failover(seed, faults=0.08)
    for step in range(60):
        action = course.rng.random()
        if action < 0.15:
            course.owners.append(course.opened())
        elif action < 0.35:
            try:
                course.owners[-1].flush()
            except MalamuteError:
                course.failed += 1
        elif action < 0.5 and len(course.owners) > 1:
            course.wake(course.rng.choice(course.owners[:-1]))
        else:
            course.send(f"p{step}")
    course.objects.hook = None
    found = stored_ids_of(course.opened(), course.objects)
    assert max(found.values()) == 1
    assert course.acknowledged <= found.keys()
    assert course.refused and course.failed and course.duplicates and len(course.owners) > 3
