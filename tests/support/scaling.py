"""A deployment in one process, without Ray, whose placement changes while everybody dies: shards, coordinator, calls.

Everything that is random comes from one seed. What is sent must be stored once, whatever happens; check() looks.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from core.append import LOCAL, OBJECT, Ack, AppendRequest, ProducerOpened
from core.batch import OFFSET
from core.clock import ManualClock
from core.errors import MalamuteError, Overloaded, Unavailable, UnknownOutcome
from core.ids import ShardId
from core.placement import Placement
from ingest.keyed_sender import KeyedSender
from ingest.routing import SpreadSender, producer_sender
from ingest.sender import Sender, Sent
from query.holdings import Ledger, Teller, Told, take_snapshot
from storage.compaction_plan import CompactionRules
from storage.keys import origin_of
from storage.placements import STEADY, Placements, PlacementStore
from storage.recovery import open_object_shard, open_shard
from storage.replacement import Replacement
from storage.scaling import carry_on, last_word
from storage.shard import Shard, ShardOptions
from storage.stream_settings import StreamSettings
from tests.support.compacted import Compaction
from tests.support.dedup import NOW_US, WINDOW_US, batch_of
from tests.support.dedup import Sent as Event
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.shards import AT_ONCE, OPTIONS, TENANT, random_id, read_segment
from tests.support.simfs import SimFileSystem

PLAIN, KEYED = "plain", "keyed"
STREAMS = {
    PLAIN: StreamSettings(PLAIN),
    KEYED: StreamSettings(KEYED, dedup_key="id", dedup_window=WINDOW_US),
}
EAGER = CompactionRules(rows_target=2, bytes_target=10**9, inputs_max=2, level_factor=2, levels_max=4)
TRIES = 400  # of one step that somebody's death cut off


class Died(Exception):
    """The coordinator's process ended here."""


class Deployment:
    """Implements the transport of senders, storage.scaling.Shards and query.holdings.Describer over real shards.

    `faults` is how often a call, its answer, a shard or the coordinator is lost. With `dies_at` the coordinator dies
    before its step of that number, and at no other.
    """

    def __init__(self, seed: int, shards: int = 2, faults: float = 0.0, level: str = LOCAL) -> None:
        self.rng = random.Random(seed)
        self.level = level
        self.faults = faults
        self.dies_at = -1
        self.steps = 0
        self.deaths: Counter[str] = Counter()
        self.clock = ManualClock(NOW_US)
        self.objects = FlakyObjectStore()
        self.store = PlacementStore(self.objects, self.clock, shards)
        self.placements = self.store.load()
        self.placement = self.placements.current
        self.files: dict[int, SimFileSystem] = {}
        self.opened: dict[int, Shard] = {}
        self.tellers: dict[int, Teller] = {}
        self.ledger = Ledger()
        self.compactions: dict[int, Compaction] = {}
        self.merged: list[tuple[int, Replacement]] = []  # what a compactor is about to propose to a shard
        for shard in self.placement.shards:
            self._open(shard)

    # --- shards and their deaths ----------------------------------------------------------------------------------

    def _open(self, shard: int) -> Shard:
        options = ShardOptions(ShardId(shard), *[getattr(OPTIONS, name) for name in OPTIONS.__slots__[1:]])
        common: dict[str, Any] = {
            "objects": self.objects,
            "clock": self.clock,
            "new_file_id": random_id,
            "stream_settings": lambda tenant, stream: STREAMS[stream],
        }
        if self.level == OBJECT:
            self.opened[shard] = open_object_shard(options, wal_options=AT_ONCE, reads_ahead=1, **common)
        else:
            fs = self.files.setdefault(shard, SimFileSystem())
            self.opened[shard] = open_shard(options, fs=fs, wal_directory=f"/wal/{shard:04d}", **common)
        self.tellers[shard] = Teller()
        self.compactions[shard] = Compaction(self.opened[shard], self.objects, self.clock, EAGER)
        return self.opened[shard]

    def kill(self, shard: int) -> None:
        """End the shard's process and begin it again."""
        self.deaths["shard"] += 1
        self.opened[shard].abandon()
        if shard in self.files:
            self.files[shard] = self.files[shard].killed()
        self._open(shard)

    def _lost(self) -> bool:
        return self.rng.random() < self.faults

    # --- the transport of senders ---------------------------------------------------------------------------------

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        if shard not in self.opened:
            nothing = AppendRequest(tenant, stream, producer_id, 0, 0, b"")
            last_word(self.objects, self.clock, self.placements, shard, nothing)
        answer = self.opened[shard].open_producer(tenant, stream, producer_id, placement)
        if self._lost():
            raise UnknownOutcome("answer lost")
        return answer

    def submit(self, shard: int, request: AppendRequest) -> Any:
        return shard, request

    def result(self, pending: Any, timeout_s: float) -> Ack:
        shard, request = pending
        if self._lost() and shard in self.opened:
            self.kill(shard)
        if self._lost() and shard in self.opened:
            self.opened[shard].flush()
        if self._lost():
            raise UnknownOutcome("request lost")
        if shard not in self.opened:
            return last_word(self.objects, self.clock, self.placements, shard, request)
        for _ in range(self.rng.choice([1, 1, 2])):
            answer = self.opened[shard].append(request)
        if self._lost():
            raise UnknownOutcome("answer lost")
        return answer

    def next_placement(self, version: int) -> Placement:
        if self.placements.after(version) is None:
            self.work()
        placement = self.placements.after(version)
        if placement is None:
            raise Overloaded("not yet", retry_after=0.0)
        self.placement = self.placements.current
        return placement

    # --- compaction -----------------------------------------------------------------------------------------------

    def merge(self) -> Counter[str]:
        """Flush a shard, carry out its merges, or propose one of them; what came of it. Garbage goes at once."""
        shard = self.rng.choice(sorted(self.opened))
        if self.rng.random() < 0.3:
            self.opened[shard].flush()
        if self.merged and self.rng.random() < 0.6:
            shard, replacement = self.merged.pop(self.rng.randrange(len(self.merged)))
            if shard not in self.opened:
                return Counter()
            if not self.compactions[shard].jobs.finish(self.opened[shard], replacement):
                return Counter(("refused merges",))
            adopted = any(origin_of(segment.name) != shard for segment in replacement.outputs)
            return Counter(("merges", "merges of adopted segments")[: 1 + adopted])
        while (job := self.compactions[shard].jobs.take(self.opened[shard])) is not None:
            self.merged.append((shard, self.compactions[shard].merged(job)))
        self.opened[shard].collect_garbage(0.0)
        return Counter()

    # --- the coordinator ------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Let the coordinator go on with a change until it is done or the coordinator dies."""
        try:
            carry_on(self.store, self, self._take)
        except Died:
            self.deaths["coordinator"] += 1
        except (Unavailable, UnknownOutcome):
            self.deaths["step"] += 1

    def finish(self) -> None:
        """Carry the change to its end, whoever dies."""
        for _ in range(TRIES):
            self.work()
            if self.store.load().state == STEADY:
                return
        raise AssertionError("the change never ends")

    def retire(self) -> None:
        """End the processes of shards that are retired."""
        for shard in self.placements.retired & self.opened.keys():
            self.opened.pop(shard).abandon()

    def _take(self, placements: Placements) -> None:
        self._step()
        self.placements = placements
        self._step()

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self.dies_at or self._lost():
            raise Died

    def begin(self, shards: Sequence[int]) -> None:
        for shard in shards:
            self._step()
            if shard not in self.opened:
                self._open(shard)

    def seal(self, shards: Sequence[int], placement: int) -> None:
        for shard in self.rng.sample(list(shards), len(shards)):
            self._step()
            self.opened[shard].seal(placement)
            if self._lost():
                self.kill(shard)

    def adopt(self, shards: Sequence[int], before: Placement, after: Placement) -> None:
        for shard in self.rng.sample(list(shards), len(shards)):
            self._step()
            self.opened[shard].adopt(before, after)
            if self._lost():
                self.kill(shard)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def shards(self) -> Sequence[int]:
        return self.placements.serving

    def describe(
        self, query_id: str, tenant: str, known: Mapping[int, Mapping[str, int]], timeout_s: float
    ) -> Mapping[int, Mapping[str, Told]]:
        self.memtables: dict[int, Mapping[str, tuple[pa.RecordBatch, ...]]] = {}
        told = {}
        for shard, versions in known.items():
            snapshots = self.opened[shard].snapshots(tenant, list(versions))
            self.memtables[shard] = {stream: snapshot.memtable for stream, snapshot in snapshots.items()}
            told[shard] = {s: self.tellers[shard].tell(snapshot, versions[s]) for s, snapshot in snapshots.items()}
        return told

    def rows(self, stream: str) -> list[tuple[int, int, int]]:
        """(shard, offset, n) of every event that a query sees now."""
        held = take_snapshot(self, self.ledger, "q", TENANT, [stream], 1.0)[stream]
        rows: list[tuple[int, int, int]] = []
        for holding in held:
            parts: list[tuple[int, Any]] = [
                (origin_of(segment.name) or 0, read_segment(self.objects, segment.name)) for segment in holding.segments
            ]
            parts += [(holding.shard, batch) for batch in self.memtables[holding.shard][stream]]
            for origin, part in parts:
                columns = [part.column(part.schema.get_field_index(name)).to_pylist() for name in (OFFSET, "n")]
                rows += [(origin, offset, n) for offset, n in zip(*columns, strict=True)]
        return rows


@dataclass
class Course:
    """Senders of every kind on one deployment, and what they sent: numbers, each that of one event."""

    deployment: Deployment
    sent: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    acknowledged: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    number: Callable[[], int] = field(default_factory=lambda: itertools.count().__next__)
    positions: dict[str, bytes] = field(default_factory=dict)
    senders: dict[str, Sender | KeyedSender | SpreadSender] = field(default_factory=dict)
    twice: int = 0

    def sender(self, name: str) -> Sender | KeyedSender | SpreadSender:
        """The sender of that name, p… named and w… without a name; of stream KEYED where the name ends in k."""
        found = self.senders.get(name)
        if found is None:
            stream = KEYED if name.endswith("k") else PLAIN
            on_sent = self._counter(stream)
            place = (self.deployment, self.deployment.placement, TENANT, stream)
            key, level = STREAMS[stream].dedup_key, self.deployment.level
            if name.startswith("w"):
                found = SpreadSender(*place, level, on_sent, key)
            else:
                found = producer_sender(*place, name, key, level=level, on_sent=on_sent)
            self.senders[name] = found
        for one in [found] if isinstance(found, Sender) else found._senders.values():
            one._sleep = lambda seconds: None
        return found

    def _counter(self, stream: str) -> Callable[[Sent], None]:
        def count(sent: Sent) -> None:
            self.acknowledged[stream] += sent.rows - sent.ack.duplicate_ids

        return count

    def send(self, name: str) -> None:
        """One batch of new events, in a stream with a dedup key also of some that were sent before."""
        rng, stream = self.deployment.rng, KEYED if name.endswith("k") else PLAIN
        numbers = [self.number() for _ in range(rng.randint(1, 5))]
        # An event without an id is never sent again by its sender, so every third number of the others has none.
        events = [Event(None if stream == PLAIN or n % 3 == 0 else f"id{n}", NOW_US, n) for n in numbers]
        self.sent[stream] |= set(numbers)
        if stream == KEYED:
            known = [n for n in sorted(self.sent[stream])[-40:] if n % 3 and n not in numbers]
            again = rng.sample(known, min(2, len(known)))
            self.twice += len(again)
            events += [Event(f"id{n}", NOW_US, n) for n in again]
        sender, batch = self.sender(name), batch_of(events)
        if isinstance(sender, SpreadSender):
            sender.send(batch)
        else:
            position = str(numbers[-1]).encode()
            sender.send(batch, position)
            self.positions[name] = position

    def drain(self) -> None:
        """Wait for every sender."""
        for name in list(self.senders):
            sender = self.sender(name)
            sender.drain()
            if not isinstance(sender, SpreadSender):
                assert sender.position == self.positions[name], name

    def check_reads(self) -> None:
        """No reader sees an event twice, or misses one that was acknowledged before."""
        for stream in STREAMS:
            least = self.acknowledged[stream]
            numbers = Counter(n for _, _, n in self.deployment.rows(stream))
            assert not [n for n, count in numbers.items() if count > 1], f"{stream}: seen twice"
            assert numbers.keys() <= self.sent[stream]
            assert len(numbers) >= least, f"{stream}: {least - len(numbers)} acknowledged events are not seen"

    def check(self) -> None:
        """All is there once, under dense offsets of the shards that took it, and every position is known."""
        self.drain()
        self.check_reads()
        places = defaultdict(list)
        for stream in STREAMS:
            rows = self.deployment.rows(stream)
            assert {n for _, _, n in rows} == self.sent[stream], f"{stream}: lost"
            for shard, offset, _ in rows:
                places[shard].append(offset)
        for shard, offsets in places.items():
            assert sorted(offsets) == list(range(len(offsets))), f"offsets of shard {shard}"
        for name, position in self.positions.items():
            self.senders.pop(name)
            again = self.sender(name)
            assert not isinstance(again, SpreadSender)
            again.open()
            assert again.position == position, name


NAMES = ("p1", "p2", "p3", "p4", "w1", "p1k", "p2k", "w1k")


def run(seed: int, steps: int = 40, faults: float = 0.04, merges: float = 0.0) -> Counter[str]:
    """A random course: senders of all kinds, changes of the placement, reads, deaths of all; what happened in it.

    With `merges`, that share of the steps is one of compaction.
    """
    level = OBJECT if seed % 3 == 2 else LOCAL
    deployment = Deployment(seed, shards=1 + seed % 3, faults=faults, level=level)
    course, counts, rng = Course(deployment), Counter[str](), deployment.rng
    for _ in range(steps):
        if merges and rng.random() < merges:
            counts += deployment.merge()
            continue
        action = rng.random()
        try:
            if action < 0.12:
                deployment.store.begin(rng.randint(1, 5))
                counts["changes"] += 1
            elif action < 0.25:
                deployment.work()
            elif action < 0.3:
                deployment.retire()
            elif action < 0.4:
                course.check_reads()
                counts["reads"] += 1
            else:
                course.send(rng.choice(NAMES))
        except MalamuteError as error:
            if action >= 0.12:
                raise
            counts["refused changes"] += "under way" in str(error)
    deployment.faults = 0.0
    deployment.finish()
    if seed % 2:
        deployment.retire()
    course.check()
    sent = sum(len(numbers) for numbers in course.sent.values())
    return counts + Counter(events=sent, placements=deployment.placements.current.version, **deployment.deaths)
