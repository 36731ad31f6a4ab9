"""Owns the day's deployment: shards whose processes die at any operation, the coordinator's queries, the scaling.

Everything is in memory but the files that DuckDB reads. What a process did before it died is there, what it did not
sync is lost in every third death.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import google_crc32c
import pyarrow as pa

from core.append import OBJECT, Ack, AppendRequest, ProducerOpened
from core.clock import ManualClock
from core.errors import Overloaded, Unavailable, UnknownOutcome
from core.ids import ShardId
from core.limits import GARBAGE_GRACE_S, KIB, QUERY_SECONDS_DEFAULT
from core.placement import Placement
from query.coordinate import Queries
from query.erase import offsets_found
from query.executor import Executor
from query.fragment import Leaf
from query.holdings import Teller
from query.options import QueryOptions
from query.tasks import shard_worker
from query.worker import Worker
from storage.catalog import CatalogStore
from storage.compaction_inputs import OpenSegment
from storage.compaction_jobs import CompactionJobs
from storage.compaction_plan import CompactionRules
from storage.erasure import Eraser, Matches
from storage.named_snapshots import NamedSnapshots
from storage.placements import Placements, PlacementStore
from storage.recovery import open_object_shard, open_shard
from storage.scaling import carry_on, last_word
from storage.shard import Shard, ShardOptions
from storage.snapshot import Segment, StreamSnapshot
from storage.storage_format import open_storage
from storage.stream_settings import StreamSettings
from storage.verify import StoragePlace
from storage.verify_wal import WalPlace
from tests.support.faultfs import CHANGES, FaultFileSystem
from tests.support.flaky_objects import FlakyObjectStore
from tests.support.local_backend import LocalBackend
from tests.support.shards import AT_ONCE
from tests.support.simfs import SimFileSystem
from tests.torture.day.model import HOUR_US, Row, StreamKey

# So small that a day of some thousand events has tiers, levels, cold windows and flushes by size.
RULES: Final = CompactionRules(
    rows_target=400, bytes_target=10**9, inputs_max=6, level_factor=3, levels_max=3, cold_s=1_800.0
)
MEMTABLE_BYTES: Final = (48 * KIB, 192 * KIB)
FLUSH_AGE_S: Final = 420.0
WAL_FILE_BYTES: Final = 32 * KIB
GRACE_S: Final = QUERY_SECONDS_DEFAULT + GARBAGE_GRACE_S
SHARDS_EVER: Final = 40
OPERATIONS_MAX: Final = 30  # of a process before it dies, where it is to die
COORDINATOR_DIES: Final = 8  # times as often as a shard: it is asked so much less often
TRIES: Final = 400  # of a change of the placement that a death cut off

SETTINGS: Final[Mapping[StreamKey, StreamSettings]] = {
    ("default", "logs"): StreamSettings("logs", window=HOUR_US),
    ("default", "traces"): StreamSettings("traces", window=HOUR_US, dedup_key="id", dedup_window=2 * HOUR_US),
    ("acme", "logs"): StreamSettings("logs", sort_key=("user", "timestamp"), window=2 * HOUR_US),
    ("acme", "audit"): StreamSettings("audit"),
}
COLUMNS: Final = 'n, epoch_us(timestamp) AS at_us, service, message, "user" AS u'


class Killed(BaseException):
    """The process ended here: whatever its code would do after it is not done."""


@dataclass
class Fuse:
    """Ends a process at one of its operations; from then on it does none."""

    left: int | None = None
    burnt: bool = False

    def __call__(self, operation: str, name: str) -> None:
        if self.left is not None and operation in _CHANGES:
            self.left -= 1
            self.burnt = self.burnt or self.left < 0
        if self.burnt:
            raise Killed


_CHANGES: Final = {*CHANGES, "put_new", "delete"}


@dataclass
class Process:
    """A shard's process: what ends it, the object store as it sees it, the shard, the merges that it gives out."""

    fuse: Fuse
    objects: FlakyObjectStore
    shard: Shard
    jobs: CompactionJobs


def opener(objects: FlakyObjectStore) -> OpenSegment:
    """How segments are read of `objects`."""
    return lambda segment: pa.py_buffer(objects.get(segment.name))


class Files:
    """Paths of segments, verified each time they are asked for; what is not in the store any more has none."""

    def __init__(self, objects: FlakyObjectStore, directory: Path) -> None:
        self._objects, self.directory = objects, directory

    def path(self, segment: Segment) -> str:
        data = self._objects.get(segment.name)
        assert google_crc32c.value(data) == segment.crc32c, f"{segment.name} was changed"
        path = self.directory / segment.name.replace("/", "_")
        if not path.exists():
            path.write_bytes(data)
        return str(path)


class Store:
    """Implements the transport of senders and storage.scaling.Shards over real shards of one storage.

    Nobody dies while `deaths_share`, how often a process dies in what it is asked for, is 0.
    """

    def __init__(
        self,
        rng: random.Random,
        directory: Path,
        clock: ManualClock,
        level: str,
        objects: FlakyObjectStore,
        shards: int,
    ) -> None:
        self.rng, self.clock, self.level, self.objects = rng, clock, level, objects
        self.deaths_share = 0.0
        self.deaths: Counter[str] = Counter()
        self.disks: dict[int, SimFileSystem] = {}
        self.processes: dict[int, Process] = {}
        self.placement_store = PlacementStore(objects, clock, open_storage(objects, shards))
        self.placements = self.placement_store.load()
        self.executor = Executor(threads=1, data_directories=[str(directory)])
        self.segment_files = Files(objects, directory)
        self.coordinate()
        for shard in self.placements.serving:
            self.open(shard)

    # --- processes and their deaths -------------------------------------------------------------------------------

    def coordinate(self) -> None:
        """A coordinator's process begins."""
        self.fuse = Fuse()
        self.objects_of_coordinator = objects = self.seen_by(self.fuse)
        self.catalog = CatalogStore(objects, self.clock, self.placements.next_shard)
        self.snapshots = NamedSnapshots(objects, self.clock, self.catalog)
        self.queries = Queries(Serving(self), self.executor, self.clock, self.catalog, self.snapshots)

    def open(self, shard: int) -> None:
        """A shard's process begins, which may die while it opens the shard; then another one does."""
        while True:
            fuse = Fuse()
            objects = self.seen_by(fuse)
            jobs = CompactionJobs(RULES, objects, self.clock)
            if self.rng.random() < self.deaths_share:
                fuse.left = self.rng.randint(0, OPERATIONS_MAX)
            try:
                opened = self._recovered(shard, fuse, objects)
            except Killed:
                self.deaths["opening"] += 1
                self._leave_disk(shard)
            else:
                fuse.left = None
                self.processes[shard] = Process(fuse, objects, opened, jobs)
                return

    def _recovered(self, shard: int, fuse: Fuse, objects: FlakyObjectStore) -> Shard:
        options = ShardOptions(ShardId(shard), *MEMTABLE_BYTES, FLUSH_AGE_S, WAL_FILE_BYTES)
        common: dict[str, Any] = {
            "objects": objects,
            "clock": self.clock,
            "new_file_id": lambda: self.rng.getrandbits(64),
            "stream_settings": lambda tenant, stream: SETTINGS[tenant, stream],
        }
        if self.level == OBJECT:
            return open_object_shard(options, wal_options=AT_ONCE, reads_ahead=1, **common)
        fs = FaultFileSystem(self.disks.setdefault(shard, SimFileSystem()), before=fuse)
        return open_shard(options, fs=fs, wal_directory=wal_directory(shard), **common)

    def kill(self, shard: int) -> None:
        """End a shard's process, every third time with the power, and begin another."""
        self.deaths["shard"] += 1
        self.processes[shard].shard.abandon()
        self._leave_disk(shard)
        self.open(shard)

    def reopen(self, shard: int) -> None:
        """The shard failed in its process, which opens it anew: what it gave out to be merged it still knows."""
        process = self.processes[shard]
        process.shard.abandon()
        process.shard = self._recovered(shard, process.fuse, process.objects)

    def _leave_disk(self, shard: int) -> None:
        disk = self.disks.get(shard)
        if disk is not None:
            states = list(disk.crash_states(self.rng, 4)) if self.rng.random() < 1 / 3 else [disk.killed()]
            self.disks[shard] = self.rng.choice(states)

    @contextmanager
    def mortal(self, shard: int) -> Iterator[Process]:
        """The shard's process, which may die at any operation of what is asked of it inside: UnknownOutcome then."""
        process = self.processes[shard]
        with self._burning(process.fuse, self.deaths_share, lambda: self.kill(shard), f"shard {shard} died"):
            yield process

    @contextmanager
    def mortal_coordinator(self) -> Iterator[None]:
        """The same of the coordinator."""
        with self._burning(self.fuse, COORDINATOR_DIES * self.deaths_share, self._begin_again, "the coordinator died"):
            yield

    def _begin_again(self) -> None:
        self.deaths["coordinator"] += 1
        self.coordinate()

    @contextmanager
    def _burning(self, fuse: Fuse, share: float, mourn: Callable[[], None], said: str) -> Iterator[None]:
        if self.rng.random() < share:
            fuse.left = self.rng.randint(0, OPERATIONS_MAX)
        try:
            yield
        except Killed:
            mourn()
            raise UnknownOutcome(said) from None
        finally:
            fuse.left = None

    def seen_by(self, fuse: Fuse) -> FlakyObjectStore:
        """The object store as a process has it that ends with `fuse`."""

        def hook(operation: str, key: str) -> None:
            fuse(operation, key)

        seen = FlakyObjectStore(hook)
        seen.objects = self.objects.objects
        return seen

    # --- the transport of senders ---------------------------------------------------------------------------------

    def open_producer(self, shard: int, tenant: str, stream: str, producer_id: str, placement: int) -> ProducerOpened:
        if shard not in self.processes:
            self.last_word(shard, AppendRequest(tenant, stream, producer_id, 0, 0, b""))
        with self.mortal(shard) as process:
            return process.shard.open_producer(tenant, stream, producer_id, placement)

    def submit(self, shard: int, request: AppendRequest) -> tuple[int, AppendRequest]:
        return shard, request

    def result(self, pending: tuple[int, AppendRequest], timeout_s: float) -> Ack:
        shard, request = pending
        if shard not in self.processes:
            return self.last_word(shard, request)
        with self.mortal(shard) as process:
            try:
                ack = process.shard.append(request)
            except Overloaded:
                process.shard.flush()
                raise
        if self.rng.random() < self.deaths_share:
            raise UnknownOutcome("the answer was lost")
        return ack

    def last_word(self, shard: int, request: AppendRequest) -> Ack:
        """What a shard that is gone would answer."""
        return last_word(self.objects, self.clock, self.placements, shard, request)

    def next_placement(self, version: int) -> Placement:
        placement = self.placements.after(version)
        if placement is None:
            raise Overloaded("not yet", retry_after=0.0)
        return placement

    # --- changes of the number of shards --------------------------------------------------------------------------

    def scale(self, count: int) -> None:
        """Change the number of shards, whoever dies."""
        self.placement_store.begin(count)
        for _ in range(TRIES):
            with suppress(Unavailable, UnknownOutcome):
                carry_on(self.placement_store, self, self._take)
                return
        raise AssertionError("the change never ends")

    def retire(self) -> None:
        """End the processes of shards that are retired."""
        for shard in self.placements.retired & self.processes.keys():
            self.processes.pop(shard).shard.abandon()

    def _take(self, placements: Placements) -> None:
        self.placements = placements

    def begin(self, shards: Sequence[int]) -> None:
        for shard in shards:
            if shard not in self.processes:
                self.open(shard)

    def seal(self, shards: Sequence[int], placement: int) -> None:
        for shard in shards:
            with self.mortal(shard) as process:
                process.shard.seal(placement)

    def adopt(self, shards: Sequence[int], before: Placement, after: Placement) -> None:
        for shard in shards:
            with self.mortal(shard) as process:
                process.shard.adopt(before, after)

    # --- what is asked of all or one of the shards ----------------------------------------------------------------

    def serving(self) -> list[Process]:
        """The processes of the shards that serve."""
        return [self.processes[shard] for shard in self.placements.serving]

    def flush(self) -> None:
        """Flush every shard."""
        for shard in self.placements.serving:
            with self.mortal(shard) as process:
                process.shard.flush()

    def eraser(self, process: Process) -> Eraser:
        """What erases for a shard."""
        return Eraser(process.shard, process.objects, opener(process.objects), self.clock, lambda: None)

    def matches(self, process: Process, leaf: Leaf) -> Matches:
        """What `leaf` finds in a segment of a shard."""
        worker = Worker(self.executor, Files(process.objects, self.segment_files.directory))
        return offsets_found(worker, leaf, process.shard.options.shard)

    def rows(self, key: StreamKey, at: str | int | None = None) -> list[Row]:
        """What a query shows of a stream, sorted."""
        tenant, stream = key
        options = QueryOptions(at=at, cache=False)
        table = self.queries.answer(f'SELECT {COLUMNS} FROM "{stream}"', None, tenant, options).table
        columns = [column.to_pylist() for column in table.columns] or [[]] * 5
        return sorted(zip(*columns, strict=True))

    def place(self) -> StoragePlace:
        """The storage, to be verified."""
        return _Place("the day's store", self.objects, SimFileSystem(), "/wal", self.clock, self.disks)

    def close(self) -> None:
        """Let go of everything."""
        for process in self.processes.values():
            process.shard.abandon()
        self.executor.close()


def wal_directory(shard: int) -> str:
    return f"/wal/{shard:04d}"


@dataclass(frozen=True)
class _Place(StoragePlace):
    """A storage whose shards have disks of their own."""

    disks: Mapping[int, SimFileSystem]

    def wal_of(self, shard: int) -> WalPlace:
        disk = self.disks.get(shard)
        return WalPlace(self.objects, disk or self.fs, disk and wal_directory(shard), self.clock)


class Serving(LocalBackend):
    """The shards of a store as queries have them."""

    def __init__(self, store: Store) -> None:
        super().__init__([], store.executor)
        self._store = store
        self.snapshots: dict[int, Mapping[str, StreamSnapshot]] = {}
        names = map(shard_worker, range(SHARDS_EVER))
        self.workers = {name: Worker(store.executor, store.segment_files) for name in names}
        self._tellers = [Teller() for _ in range(SHARDS_EVER)]

    @property
    def shards(self) -> Sequence[int]:
        return self._store.placements.serving

    def _held(self, number: int, tenant: str, streams: Iterable[str]) -> dict[str, StreamSnapshot]:
        held = self._store.processes[number].shard.snapshots(tenant, list(streams))
        self.snapshots[number] = held
        return held
