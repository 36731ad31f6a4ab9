"""Owns what a query reads of the past: of a named snapshot its segments, of an instant what was stored until then.

A named snapshot stands in for what the shards hold now. At an instant the query reads what they hold now, and every
scan leaves out what came later: what was removed since then is not there. Takes and keeps no snapshot.
"""

from __future__ import annotations

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


def holdings_in(snapshot: NamedSnapshot, streams: Iterable[str]) -> dict[str, list[Holding]]:
    """What every shard held of each stream in `snapshot`."""
    return {
        stream: each_once(
            [
                Holding(
                    shard=manifest.shard,
                    version=manifest.version,
                    visible_offset=manifest.wal_floor,
                    segments=(held := tuple(segment for segment in manifest.segments if segment.stream == stream)),
                    segments_shape=shape_of_segments(held),
                    memtable=StreamShape(),
                    batches=0,
                    adopted=adopted_ends(manifest.shard, held, {}),
                )
                for manifest in snapshot.manifests
            ]
        )
        for stream in streams
    }


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
