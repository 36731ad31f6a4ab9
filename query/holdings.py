"""Owns what a shard tells of its snapshot, and what the coordinator remembers of it: segment lists travel as changes.

A manifest version never changes, so what is known of one stays true. Opens no files.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from core.errors import Unavailable
from query.shape import StreamShape, merge_shapes, shape_of_batches, shape_of_segments
from storage.keys import origin_of
from storage.snapshot import Segment, StreamSnapshot

_VERSIONS_TOLD: Final = 4  # per stream, that a shard remembers to have told
_STREAMS_KNOWN: Final = 10_000  # per process, of shards and tenants


@dataclass(frozen=True, slots=True)
class Told:
    """What a shard says of one stream's snapshot.

    `added` and `removed` lead from the segments of manifest version `base` to those of `version`; base 0 = from none.
    """

    version: int
    visible_offset: int
    base: int
    added: tuple[Segment, ...]
    removed: frozenset[str]
    memtable: StreamShape
    batches: int


@dataclass(frozen=True, slots=True)
class Holding:
    """What the coordinator knows of one stream's snapshot on one shard.

    `adopted` has for each other shard whose segments this one took over the end of their offsets.
    """

    shard: int
    version: int
    visible_offset: int
    segments: tuple[Segment, ...]
    segments_shape: StreamShape
    memtable: StreamShape
    batches: int
    adopted: Mapping[int, int] = field(default_factory=dict)

    @property
    def identity(self) -> tuple[int, int, int]:
        """Says which events are in the snapshot: equal identities hold equal rows."""
        return (self.shard, self.version, self.visible_offset)


class Describer(Protocol):
    """The part of query.backend.Backend that takes snapshots."""

    @property
    def shards(self) -> Sequence[int]: ...

    def describe(
        self, query_id: str, tenant: str, known: Mapping[int, Mapping[str, int]], timeout_s: float
    ) -> Mapping[int, Mapping[str, Told]]: ...


class Teller:
    """The shard's side: remembers which lists it has told, so that it can tell the change. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: OrderedDict[tuple[str, str], OrderedDict[int, tuple[Segment, ...]]] = OrderedDict()

    def tell(self, snapshot: StreamSnapshot, known_version: int) -> Told:
        """What to say of `snapshot` to somebody who knows the segments of `known_version` (0 = none)."""
        key = (snapshot.tenant, snapshot.stream)
        version = snapshot.manifest_version
        with self._lock:
            versions = self._told.setdefault(key, OrderedDict())
            self._told.move_to_end(key)
            before = versions.get(known_version)
            # One list for each version: then it is seen at a glance that nothing changed.
            segments = versions.setdefault(version, snapshot.segments)
            while len(versions) > _VERSIONS_TOLD:
                versions.popitem(last=False)
            while len(self._told) > _STREAMS_KNOWN:
                self._told.popitem(last=False)
        added, removed = _change(before or (), segments)
        base = known_version if before is not None else 0
        memtable = shape_of_batches(snapshot.memtable)
        return Told(version, snapshot.visible_offset, base, added, removed, memtable, len(snapshot.memtable))


class Ledger:
    """The coordinator's side: the newest list that each shard told of each stream. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[int, str, str], Holding] = OrderedDict()

    def versions(self, shard: int, tenant: str, streams: list[str]) -> dict[str, int]:
        """The manifest version whose segments are known, by stream; 0 where none is."""
        with self._lock:
            held = {stream: self._known.get((shard, tenant, stream)) for stream in streams}
        return {stream: holding.version if holding is not None else 0 for stream, holding in held.items()}

    def learn(self, shard: int, tenant: str, stream: str, told: Told) -> Holding | None:
        """The holding that `told` leads to; None when its base is no longer known: ask again with version 0."""
        key = (shard, tenant, stream)
        with self._lock:
            before = self._known.get(key)
        if told.base == 0:
            segments, shape = told.added, shape_of_segments(told.added)
        elif before is None or before.version != told.base:
            return None
        elif not told.added and not told.removed:
            segments, shape = before.segments, before.segments_shape
        elif told.removed:
            segments = (*(s for s in before.segments if s.name not in told.removed), *told.added)
            shape = shape_of_segments(segments)
        else:
            segments = (*before.segments, *told.added)
            shape = merge_shapes((before.segments_shape, shape_of_segments(told.added)))
        known = before.adopted if before is not None and told.base != 0 else {}
        adopted = adopted_ends(shard, told.added, known)
        holding = Holding(
            shard, told.version, told.visible_offset, segments, shape, told.memtable, told.batches, adopted
        )
        with self._lock:
            newest = self._known.get(key)
            if newest is None or newest.version <= holding.version:
                self._known[key] = holding
            self._known.move_to_end(key)
            while len(self._known) > _STREAMS_KNOWN:
                self._known.popitem(last=False)
        return holding

    def learn_all(
        self, tenant: str, streams: list[str], told: Mapping[int, Mapping[str, Told]]
    ) -> dict[str, list[Holding]] | None:
        """What all shards hold of each stream, by what each told; None when one begins with what is no longer known."""
        held = {
            stream: [self.learn(shard, tenant, stream, by_stream[stream]) for shard, by_stream in told.items()]
            for stream in streams
        }
        return _complete(held)

    def recall(self, shards: Iterable[int], tenant: str, streams: list[str]) -> dict[str, list[Holding]] | None:
        """What every shard held of each stream when it was last asked; None when that is not known of all."""
        with self._lock:
            held = {stream: [self._known.get((shard, tenant, stream)) for shard in shards] for stream in streams}
        return _complete(held)


def _complete(held: Mapping[str, Sequence[Holding | None]]) -> dict[str, list[Holding]] | None:
    known = {stream: [one for one in holdings if one is not None] for stream, holdings in held.items()}
    if any(len(known[stream]) < len(held[stream]) for stream in held):
        return None
    return {stream: each_once(holdings) for stream, holdings in known.items()}


def merged_shape(holdings: Iterable[Holding]) -> StreamShape:
    """The shape of a stream over all shards."""
    return merge_shapes(shape for holding in holdings for shape in (holding.segments_shape, holding.memtable))


def _change(before: tuple[Segment, ...], after: tuple[Segment, ...]) -> tuple[tuple[Segment, ...], frozenset[str]]:
    if before is after:
        return (), frozenset()
    old = {segment.name for segment in before}
    new = {segment.name for segment in after}
    return tuple(segment for segment in after if segment.name not in old), frozenset(old - new)


def adopted_ends(shard: int, added: Iterable[Segment], known: Mapping[int, int]) -> Mapping[int, int]:
    """Holding.adopted of `shard`: what is `known` of it, with the segments `added`."""
    ends = dict(known)
    for segment in added:
        origin = origin_of(segment.name)
        if origin is not None and origin != shard:
            ends[origin] = max(ends.get(origin, 0), segment.last_offset + 1)
    return ends


def visible_ends(holdings: Iterable[Holding]) -> dict[int, int]:
    """The end of the offsets of every shard, also of those that gave their segments away, in a snapshot."""
    ends: dict[int, int] = {}
    for holding in holdings:
        for shard, end in ((holding.shard, holding.visible_offset), *holding.adopted.items()):
            ends[shard] = max(ends.get(shard, 0), end)
    return ends


def each_once(holdings: list[Holding]) -> list[Holding]:
    """The holdings without what a shard still has of events that another took over: that one has the lower number."""
    holders: dict[int, int] = {}
    for holding in holdings:
        for origin in holding.adopted:
            holders[origin] = min(holders.get(origin, origin), holding.shard)
    return [
        _without(holding, {origin for origin, holder in holders.items() if holder < holding.shard})
        for holding in holdings
    ]


def _without(holding: Holding, given: Collection[int]) -> Holding:
    """`holding` without the events that the shards `given` wrote."""
    nothing = StreamShape()
    if holding.shard in given:
        # An heir takes all at once, and only of a sealed shard: what that had in memory is in its segments.
        return replace(holding, segments=(), segments_shape=nothing, memtable=nothing, batches=0)
    if not holding.adopted.keys() & given:
        return holding
    left = tuple(segment for segment in holding.segments if _origin(segment, holding.shard) not in given)
    return replace(holding, segments=left, segments_shape=shape_of_segments(left))


def _origin(segment: Segment, shard: int) -> int:
    """Who wrote the events of a segment that `shard` has."""
    origin = origin_of(segment.name)
    return shard if origin is None else origin


def take_snapshot(
    backend: Describer, ledger: Ledger, query_id: str, tenant: str, streams: list[str], timeout_s: float
) -> dict[str, list[Holding]]:
    """What every shard holds of each stream at one snapshot per shard, which it pins under `query_id`."""
    while True:
        shards = backend.shards
        held = _ask(backend, shards, ledger, query_id, tenant, streams, timeout_s)
        if backend.shards == shards:
            return held  # else an heir may have rewritten by now what the shard before it still told


def _ask(
    backend: Describer,
    shards: Sequence[int],
    ledger: Ledger,
    query_id: str,
    tenant: str,
    streams: list[str],
    timeout_s: float,
) -> dict[str, list[Holding]]:
    # With whole lists, when another query learned a newer version meanwhile.
    for known in (
        {shard: ledger.versions(shard, tenant, streams) for shard in shards},
        {shard: dict.fromkeys(streams, 0) for shard in shards},
    ):
        held = ledger.learn_all(tenant, streams, backend.describe(query_id, tenant, known, timeout_s))
        if held is not None:
            return held
    raise Unavailable("a shard told a change of its segments instead of all of them: run the query again")
