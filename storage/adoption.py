"""Owns what a shard takes over when a newer placement begins: producers, segments of retired shards, ids of events.

Every shard of the placement before was sealed, so its manifest holds all that it ever acknowledged and does not change
until the new placement is in force. Adoption only adds, and looks only at what a shard had under the placement before:
so the shards adopt in any order, at the same time, and again after a crash. Nothing of the events is copied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from core.clock import Clock
from core.errors import Unavailable
from core.event_ids import shards_of
from core.ids import ShardId
from core.placement import Placement
from storage.dedup import DedupRule
from storage.dedup_flush import write_run
from storage.dedup_index import IdIndex, SortedIds
from storage.dedup_run import IdRun, StreamIdRuns, read_run
from storage.manifest import Manifest, ManifestEdit, ManifestStore
from storage.memtable import StreamKey
from storage.objects import ObjectStore
from storage.producers import ProducerKey, ProducerState

Rules = Callable[[StreamKey], DedupRule | None]  # the rule of a stream with a dedup key, else None


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the placement, and the sealed manifests of all shards of the one before."""

    before: Placement
    after: Placement
    sources: Mapping[int, Manifest]


def sealed_manifests(objects: ObjectStore, clock: Clock, before: Placement, after: Placement) -> dict[int, Manifest]:
    """The manifests of the shards of `before`; raises Unavailable while one of them is not sealed for `after`."""
    found: dict[int, Manifest] = {}
    for shard in before.shards:
        manifest = ManifestStore(objects, ShardId(shard), clock).load()
        if manifest is None or manifest.sealed < after.version:
            raise Unavailable(f"shard {shard} is not sealed for placement {after.version} yet: retry")
        found[shard] = manifest
    return found


def adoption(
    change: Change,
    own: Manifest,
    producers: Mapping[ProducerKey, ProducerState],
    rule_of: Rules,
    *,
    new_name: Callable[[], str],
    objects: ObjectStore,
) -> ManifestEdit:
    """The edit with which the shard of `own`, whose producers are `producers`, begins to serve the new placement.

    Writes the runs of ids that it names; raises what ObjectStore raises, and what was written are orphans then.
    """
    shard = own.shard
    left = [change.sources[retired] for retired, heir in change.after.heirs.items() if heir == shard]
    still_own = {
        key: state
        for key, state in producers.items()
        if rule_of(key[:2]) is not None or change.before.shard_of(*key) == shard
    }
    return ManifestEdit(
        add=tuple(segment for manifest in left for segment in manifest.segments),
        inherit=tuple(removed.name for manifest in left for removed in manifest.removed),
        producers={**still_own, **adopted_producers(change, shard, rule_of)},
        id_runs=_adopted_ids(change, own, rule_of, new_name, objects),
        placement=change.after,
        sealed=max(own.sealed, change.after.version),
    )


def adopted_producers(change: Change, shard: int, rule_of: Rules) -> dict[ProducerKey, ProducerState]:
    """The states with which `shard` begins the new placement, of the producers that are its own then.

    A producer has one shard, and moves with all of its state. In a stream with a dedup key it has a state on every
    shard: those stay, a shard without begins one under the producer's newest epoch, and all know its newest position,
    which the number in front of it tells.
    """
    found: dict[ProducerKey, ProducerState] = {}
    spread: dict[ProducerKey, dict[int, ProducerState]] = {}
    for source, manifest in change.sources.items():
        for key, state in manifest.producers.items():
            if rule_of(key[:2]) is not None:
                spread.setdefault(key, {})[source] = state
            elif change.before.shard_of(*key) == source and change.after.shard_of(*key) == shard:
                origin = source if state.shard < 0 else state.shard
                found[key] = replace(state, shard=-1 if origin == shard else origin)
    return found | {key: _with_newest(states, shard) for key, states in spread.items()}


def _with_newest(states: Mapping[int, ProducerState], shard: int) -> ProducerState:
    positions = [state.position for state in states.values() if state.position is not None]
    position = max(positions, default=None)
    if shard in states:
        return replace(states[shard], position=position)
    epoch = max(state.epoch for state in states.values())
    return ProducerState(epoch, position=position, last_seen_us=max(state.last_seen_us for state in states.values()))


def _adopted_ids(
    change: Change, own: Manifest, rule_of: Rules, new_name: Callable[[], str], objects: ObjectStore
) -> dict[StreamKey, StreamIdRuns]:
    """The ids of every stream that has any: those that the shard knows, and those that come to it.

    The watermark becomes the newest of all: below it less the window nobody knows ids any more, above it every shard
    knows all of its own.
    """
    manifests = {**change.sources, own.shard: own}
    keys = {key for manifest in manifests.values() for key in manifest.id_runs}
    found: dict[StreamKey, StreamIdRuns] = {}
    for key in sorted(keys):
        rule = rule_of(key)
        if rule is None:
            continue
        known = {shard: manifest.id_runs[key] for shard, manifest in manifests.items() if key in manifest.id_runs}
        watermark_us = max(ids.watermark_us for ids in known.values())
        kept = known[own.shard].runs if own.shard in known else ()
        coming = [(shard, run) for shard, ids in known.items() if shard != own.shard for run in ids.runs]
        runs: list[IdRun] = [*kept]
        for number in sorted({run.start_us // rule.slice_us for _, run in coming}):
            if number < rule.oldest_slice(watermark_us):
                continue
            here = _known([read_run(objects, run) for run in kept if run.start_us // rule.slice_us == number])
            read = (
                (shard, *read_run(objects, run)) for shard, run in coming if run.start_us // rule.slice_us == number
            )
            parts = [_coming(change, own.shard, here, *ids) for ids in read]
            if any(len(high) for high, _ in parts):
                runs.append(write_run(parts, number, key, rule, ShardId(own.shard), new_name(), objects))
        found[key] = StreamIdRuns(watermark_us, tuple(sorted(runs, key=lambda run: run.start_us)))
    return found


def _known(runs: Sequence[tuple[Any, Any]]) -> IdIndex:
    index = IdIndex()
    for high, low in runs:
        index.add(SortedIds(high.copy(), low.copy(), np.zeros(len(high), np.uint16)))
    return index


def _coming(change: Change, shard: int, here: IdIndex, source: int, high: Any, low: Any) -> tuple[Any, Any]:
    """Those of the ids of `source` that come to `shard`: a shard may still have ids that it gave away before."""
    comes = (shards_of(low, change.before.shards) == source) & (shards_of(low, change.after.shards) == shard)
    high, low = high[comes], low[comes]
    new = ~here.known(high, low)
    return high[new], low[new]
