"""Owns what a shard knows of its producers and the decision what an append is. Pure; no clock, no disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from core.errors import Fenced, InvalidRequest, SequenceGap

ProducerKey = tuple[str, str, str]  # tenant, stream, producer id


@dataclass(frozen=True, slots=True)
class ProducerState:
    """The newest epoch of a producer and the last batch accepted in it.

    `last_sequence` is -1 before the first batch of the epoch. Offsets are those of the last batch, inclusive, and
    -1 when there is none. `last_seen_us` is the shard's wall clock at the last change. Of the last batch,
    `duplicate_ids` events were not stored, and `late` were stored without looking for their ids. `shard` is the one
    whose offsets they are, when it was another that took the batch and gave the producer away; -1: this one.
    """

    epoch: int
    last_sequence: int = -1
    first_offset: int = -1
    last_offset: int = -1
    position: bytes | None = None
    last_seen_us: int = 0
    duplicate_ids: int = 0
    late: int = 0
    shard: int = -1


class Verdict(Enum):
    """What an append is, seen from the producer's state."""

    NEXT = "next"
    DUPLICATE = "duplicate"


def judge(state: ProducerState | None, key: ProducerKey, epoch: int, sequence: int) -> Verdict:
    """Whether an append is the next one or was seen already; raises Fenced, SequenceGap or InvalidRequest."""
    producer = key[2]
    if sequence < 0:
        raise InvalidRequest(f"sequence {sequence} of producer {producer!r} is negative: sequences begin at 0")
    if state is None or epoch > state.epoch:
        raise InvalidRequest(f"producer {producer!r} has not opened epoch {epoch} on this shard: open it first")
    if epoch < state.epoch:
        raise Fenced(f"producer {producer!r} epoch {epoch} was fenced by epoch {state.epoch}: open it again")
    if sequence <= state.last_sequence:
        return Verdict.DUPLICATE
    expected = state.last_sequence + 1
    if sequence > expected:
        raise SequenceGap(f"producer {producer!r} sent sequence {sequence}: resend from {expected}", expected=expected)
    return Verdict.NEXT


def opened(state: ProducerState | None, epoch: int, now_us: int) -> ProducerState:
    """The state after `epoch` was opened: the position stays, the sequence begins again."""
    if state is None:
        return ProducerState(epoch, last_seen_us=now_us)
    if epoch <= state.epoch:
        return state
    return replace(state, epoch=epoch, last_sequence=-1, last_seen_us=now_us)


def accepted(
    state: ProducerState,
    sequence: int,
    first_offset: int,
    rows: int,
    position: bytes | None,
    now_us: int,
    duplicate_ids: int = 0,
    late: int = 0,
) -> ProducerState:
    """The state after a batch was accepted; a batch without a position leaves the last one standing.

    `rows` are those that were stored; a batch of none has no offsets.
    """
    return ProducerState(
        epoch=state.epoch,
        last_sequence=sequence,
        first_offset=first_offset if rows else -1,
        last_offset=first_offset + rows - 1 if rows else -1,
        position=state.position if position is None else position,
        last_seen_us=now_us,
        duplicate_ids=duplicate_ids,
        late=late,
    )


def retained(
    states: Mapping[ProducerKey, ProducerState], now_us: int, idle_s_max: float, count_max: int
) -> dict[ProducerKey, ProducerState]:
    """The states worth keeping: not idle for longer than `idle_s_max`, and at most `count_max`, newest first."""
    floor_us = now_us - int(idle_s_max * 1e6)
    kept = {key: state for key, state in states.items() if state.last_seen_us >= floor_us}
    if len(kept) > count_max:
        newest = sorted(kept.items(), key=lambda item: item[1].last_seen_us, reverse=True)[:count_max]
        kept = dict(newest)
    return kept
