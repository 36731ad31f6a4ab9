"""Owns the fake deployment of the query tests: snapshots as shards and readers of this process, without Ray."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from core.errors import MalamuteError, NotFound, Unavailable
from core.limits import HOT_COLUMNS_BYTES
from query.attempt import Attempt, Attempted, run_attempt
from query.executor import Executor
from query.fragment import Leaf, LeafResult
from query.holdings import Teller, Told
from query.hot_columns import HotColumns
from query.state_cache import StateCache
from query.tasks import Task, reader_worker, shard_worker, task_snapshots
from query.worker import Worker
from storage.fs import LocalFileSystem
from storage.named_snapshot_format import NamedSnapshot
from storage.snapshot import Segment, StreamSnapshot


class NamedFiles:
    """Segments whose names end with the paths of their files, see named()."""

    def path(self, segment: Segment) -> str:
        return segment.name.partition(_SEGMENTS)[2] or segment.name


_SEGMENTS: Final = "/segments/"


def named(shard: int, path: Path) -> str:
    """The name of a segment of `shard` whose file is at `path`."""
    return f"shards/{shard:04d}{_SEGMENTS}{path}"


class LocalBackend:
    """Implements query.backend.Backend over `snapshots`, one dict (by stream) per shard."""

    def __init__(
        self,
        snapshots: Sequence[Mapping[str, StreamSnapshot]],
        executor: Executor,
        readers: int = 0,
        states: StateCache | None = None,
        indexes: Any = None,
    ) -> None:
        self.snapshots = snapshots
        self.readers = tuple(reader_worker(number) for number in range(readers))
        names = [*(shard_worker(number) for number in range(len(snapshots))), *self.readers]
        # Every other one keeps columns in memory, so that most queries read both ways.
        self.workers = {
            name: Worker(executor, NamedFiles(), indexes, states, HotColumns(HOT_COLUMNS_BYTES * (number % 2)))
            for number, name in enumerate(names)
        }
        self.pins: dict[str, set[int]] = {}
        self.cancelled: list[str] = []
        self._tellers = [Teller() for _ in snapshots]

    @property
    def shards(self) -> Sequence[int]:
        return range(len(self.snapshots))

    def describe(
        self, query_id: str, tenant: str, known: Mapping[int, Mapping[str, int]], timeout_s: float
    ) -> Mapping[int, Mapping[str, Told]]:
        answers: dict[int, Mapping[str, Told]] = {}
        for number, versions in known.items():
            snapshots = self._held(number, tenant, versions)
            if any(snapshot.memtable for snapshot in snapshots.values()):
                self.pins.setdefault(query_id, set()).add(number)
            answers[number] = {
                stream: self._tellers[number].tell(snapshot, versions[stream]) for stream, snapshot in snapshots.items()
            }
        return answers

    def attempt(self, tenant: str, attempts: Mapping[int, Attempt], timeout_s: float) -> dict[int, Attempted]:
        return {
            shard: run_attempt(
                attempt,
                self._held(shard, tenant, attempt.known),
                self._tellers[shard],
                self.workers[shard_worker(shard)],
            )
            for shard, attempt in attempts.items()
        }

    def _held(self, number: int, tenant: str, streams: Iterable[str]) -> dict[str, StreamSnapshot]:
        empty = {stream: StreamSnapshot(number, tenant, stream, 1, 0, (), ()) for stream in streams}
        return {stream: self.snapshots[number].get(stream, empty[stream]) for stream in streams}

    def fleet(self, query_id: str, leaf: Leaf, timeout_s: float, cache: bool) -> _LocalFleet:
        return _LocalFleet(self, query_id, leaf, timeout_s, cache)

    def release(self, query_id: str) -> None:
        self.pins.pop(query_id, None)

    def cancel(self, query_id: str) -> None:
        self.cancelled.append(query_id)
        self.pins.pop(query_id, None)


class _LocalFleet:
    def __init__(self, backend: LocalBackend, query_id: str, leaf: Leaf, timeout_s: float, cache: bool) -> None:
        self._backend = backend
        self._query_id = query_id
        self._leaf = leaf
        self._timeout_s = timeout_s
        self._cache = cache
        self._done: dict[int, LeafResult | MalamuteError] = {}

    def start(self, worker: str, task: Task) -> int:
        try:
            done: LeafResult | MalamuteError = self._backend.workers[worker].run_leaf(
                self._leaf,
                task_snapshots(task, self._taken(task) if task.memtable else {}),
                seconds=self._timeout_s,
                query_id=self._query_id,
                cache=self._cache,
            )
        except MalamuteError as error:
            done = error
        self._done[len(self._done)] = done
        return len(self._done) - 1

    def _taken(self, task: Task) -> Mapping[str, StreamSnapshot]:
        """The pinned snapshots, as storage.pins gives them."""
        pins = self._backend.pins.get(self._query_id, set())
        if task.shard not in pins:
            raise Unavailable(f"the snapshot of query {self._query_id} is gone")
        pins.remove(task.shard)
        streams = {scan.stream for scan in self._leaf.scans}
        return {s: held for s, held in self._backend.snapshots[task.shard].items() if s in streams}

    def wait(self, pending: Sequence[int], timeout_s: float) -> list[int]:
        return list(pending)

    def result(self, pending: int) -> LeafResult:
        done = self._done[pending]
        if isinstance(done, MalamuteError):
            raise done
        return done


class FixedStreams:
    """A catalog that never changes; implements query.backend.Streams."""

    def __init__(self, streams: Sequence[Any]) -> None:
        self._streams = tuple(streams)
        self.pending: list[Any] = []  # deletes
        self.kept: dict[str, Any] = {}  # retentions

    def known_streams(self, tenant: str) -> Sequence[Any]:
        return self._streams

    def streams(self, tenant: str) -> Sequence[Any]:
        return self._streams

    def deletes(self) -> Sequence[Any]:
        return self.pending

    def retentions(self, tenant: str) -> Mapping[str, Any]:
        return self.kept


class FixedSnapshots:
    """Named snapshots that never change; implements query.past.Snapshots."""

    def __init__(self, *snapshots: NamedSnapshot) -> None:
        self._snapshots = {(snapshot.tenant, snapshot.name): snapshot for snapshot in snapshots}

    def get(self, tenant: str | None, name: str) -> NamedSnapshot:
        if (tenant, name) not in self._snapshots:
            raise NotFound(f"snapshot {name!r} is not there")
        return self._snapshots[(tenant, name)]


def memory_states(bytes_max: int = 2**24) -> StateCache:
    """A cache of partial states without a disk."""
    return StateCache(bytes_max, LocalFileSystem())
