"""Owns the course of a change of the placement, step by step, each of which may be repeated. No Ray, no threads.

Begin: the next placement is written down and its new shards are started. Move: every shard of the one in force is
sealed, then every shard of the next adopts what comes to it. Put in force: producers find it and go on. What has been
done is on the storage, so whoever comes after a crash, of anybody, goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from core.append import Ack, AppendRequest
from core.clock import Clock
from core.errors import Moved, Unavailable
from core.ids import ShardId
from core.placement import Placement
from storage.manifest import ManifestStore
from storage.objects import ObjectStore
from storage.placements import BEGUN, STEADY, Placements, PlacementStore
from storage.producers import ProducerState


class Shards(Protocol):
    """The shards of a deployment. Each call may be repeated, and raises what the first shard failed with."""

    def begin(self, shards: Sequence[int]) -> None:
        """Return when all of these serve."""

    def seal(self, shards: Sequence[int], placement: int) -> None:
        """See storage.shard.Shard.seal."""

    def adopt(self, shards: Sequence[int], before: Placement, after: Placement) -> None:
        """See storage.shard.Shard.adopt."""


def carry_on(store: PlacementStore, shards: Shards, on_placements: Callable[[Placements], None]) -> Placements:
    """Carry a change that was begun to its end; returns the placements, of which none is changing then.

    `on_placements` is told of every version before the step that relies on it. Raises what a step failed with: call
    again. Two callers at the same time do no harm.
    """
    placements = store.load()
    on_placements(placements)
    if placements.state == STEADY:
        return placements
    before, after = placements.current, placements.coming
    assert after is not None
    if placements.state == BEGUN:
        shards.begin([shard for shard in after.shards if shard not in before.shards])
        placements = store.move(placements)
        on_placements(placements)
    shards.seal(before.shards, after.version)
    shards.adopt(after.shards, before, after)
    placements = store.put_in_force(placements)
    on_placements(placements)
    return placements


def last_word(objects: ObjectStore, clock: Clock, placements: Placements, shard: int, request: AppendRequest) -> Ack:
    """What a shard that was retired, and whose process is gone, answers to an append; raises Moved like the shard.

    Raises Unavailable for a shard that is not retired.
    """
    newest = placements.current.version
    if shard not in placements.retired:
        raise Unavailable(f"shard {shard} is part of placement {newest}: ask the shard")
    manifest = ManifestStore(objects, ShardId(shard), clock).load()
    state = None if manifest is None else manifest.producers.get((request.tenant, request.stream, request.producer))
    if state is None or state.epoch != request.epoch or request.sequence > state.last_sequence:
        raise Moved(f"shard {shard} is retired: ask for placement {newest}", placement=newest)
    assert manifest is not None
    if request.sequence < state.last_sequence:
        state = ProducerState(request.epoch)  # of older batches only that they were stored is known
    wrote = shard if state.shard < 0 else state.shard
    counts = (state.duplicate_ids, state.late)
    return Ack(wrote, manifest.epoch, state.first_offset, state.last_offset, request.level, True, *counts)
