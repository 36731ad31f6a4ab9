"""Owns what a query reads of the past: of a named snapshot its segments, of an instant what was stored until then.

A named snapshot stands in for what the shards hold now. At an instant the query reads what they hold now, and every
scan leaves out what came later: what was removed since then is not there. Takes no snapshot.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Protocol

from core.batch import INGESTED_AT
from core.errors import InvalidRequest
from core.ids import check_name
from query.dialect import quote
from query.fragment import Condition, DistributedPlan, Leaf, ScanColumn, StreamScan
from query.holdings import Holding, adopted_ends, each_once
from query.readings import TIMESTAMPTZ
from query.shape import StreamShape, shape_of_segments
from query.written_times import as_datetime, instant_us
from storage.named_snapshot_format import NamedSnapshot

At = str | int | None  # the name of a snapshot, an instant (UTC microseconds), or None: now

_INGESTED: Final = "__malamute_ingested_at"
_KNOWN_MAX: Final = 64  # streams in snapshots; what 5,000 segments of 20 columns hold takes 0.2 s to put together


class Snapshots(Protocol):
    """Where a query finds named snapshots (storage.named_snapshots.NamedSnapshots)."""

    def get(self, tenant: str | None, name: str) -> NamedSnapshot: ...


def at_of(at: Any) -> At:
    """What a caller means by `at`: a name, a datetime or ISO 8601 text. Raises InvalidRequest."""
    if at is None:
        return None
    if isinstance(at, datetime) or (isinstance(at, str) and at[:1].isdigit()):
        return instant_us(at, "at")
    if isinstance(at, str):
        return check_name("snapshot", at)
    raise InvalidRequest(f"at {at!r} is not allowed: pass the name of a snapshot, a datetime or ISO 8601 text")


class Past:
    """What the shards held of each stream in the named snapshots that were asked for last. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[object, ...], list[Holding]] = OrderedDict()

    def holdings(self, snapshot: NamedSnapshot, streams: Iterable[str]) -> dict[str, list[Holding]]:
        """What every shard held of each stream in `snapshot`."""
        found = {}
        for stream in streams:
            key = (snapshot.tenant, snapshot.name, snapshot.created_at_us, stream)
            with self._lock:
                held = self._known.get(key)
            found[stream] = held if held is not None else _holdings(snapshot, stream)
            with self._lock:
                self._known[key] = found[stream]
                self._known.move_to_end(key)
                while len(self._known) > _KNOWN_MAX:
                    self._known.popitem(last=False)
        return found


def _holdings(snapshot: NamedSnapshot, stream: str) -> list[Holding]:
    holdings = []
    for manifest in snapshot.manifests:
        segments = tuple(segment for segment in manifest.segments if segment.stream == stream)
        shape, adopted = shape_of_segments(segments), adopted_ends(manifest.shard, segments, {})
        position = (manifest.shard, manifest.version, manifest.wal_floor)
        holdings.append(Holding(*position, segments, shape, StreamShape(), 0, adopted))
    return each_once(holdings)


def stored_until(plan: DistributedPlan, at_us: int) -> DistributedPlan:
    """`plan` over what was stored at `at_us` (UTC microseconds) or before."""
    literal = f"TIMESTAMPTZ '{as_datetime(at_us).isoformat()}'"
    until = Condition(f"{quote(_INGESTED)} <= {literal}")

    def bounded(scan: StreamScan) -> StreamScan:
        ingested = ScanColumn(_INGESTED, TIMESTAMPTZ, system=INGESTED_AT)
        return replace(scan, columns=(*scan.columns, ingested), conditions=(*scan.conditions, until))

    def of(leaf: Leaf) -> Leaf:
        return replace(leaf, scans=tuple(map(bounded, leaf.scans)))

    return replace(plan, leaf=of(plan.leaf), alone=plan.alone and of(plan.alone))
