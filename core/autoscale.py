"""Owns the decision how many shards a deployment should have, from how busy they were. Pure: no clock, no shards.

Up fast: as soon as every sample of a short time needs more shards than there are, as many as the least of them needs.
Down slowly: only when no sample of a long time needed as many, with room to spare, and by a quarter at most. After a
change the time begins anew, so that what the change itself did to the numbers decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BACKLOG_FULL: Final = 0.8  # of the memory that a shard has for unflushed events: it falls behind
DOWN_SHARE: Final = 0.7  # of the targets: with fewer shards the rest must not be busier than that


@dataclass(frozen=True, slots=True)
class AutoscaleRules:
    """When to change the number of shards. Targets are of one shard: Arrow bytes and CPU seconds in a second."""

    shards_min: int
    shards_max: int
    bytes_per_s_target: float
    cpu_target: float
    up_after_s: float
    down_after_s: float


@dataclass(frozen=True, slots=True)
class Sample:
    """How busy all shards together were until `at_s`; `backlog` is how full the fullest one was (0 to 1)."""

    at_s: float
    bytes_per_s: float
    cpu: float
    backlog: float


@dataclass(frozen=True, slots=True)
class Decision:
    """How many shards there should be, and why."""

    shards: int
    reason: str


def decide(samples: Sequence[Sample], shards: int, rules: AutoscaleRules, since_s: float) -> Decision:
    """How many shards there should be instead of `shards`, which there are since `since_s`; `samples` oldest first."""
    bounded = min(max(shards, rules.shards_min), rules.shards_max)
    if bounded != shards:
        return Decision(bounded, f"{shards} shards are outside of {rules.shards_min} to {rules.shards_max}")
    samples = [sample for sample in samples if sample.at_s >= since_s]
    if not samples:
        return Decision(shards, "there are no numbers since the last change yet")
    now_s, newest = samples[-1].at_s, samples[-1]
    recent = [sample for sample in samples if sample.at_s > now_s - rules.up_after_s]
    up = min(min(_needed(sample, shards, rules, 1.0) for sample in recent), rules.shards_max)
    if up > shards:
        if now_s - since_s < rules.up_after_s:
            return Decision(shards, f"{_why(newest, rules)}: {up} shards if it lasts {rules.up_after_s:g} s")
        return Decision(up, f"for {rules.up_after_s:g} s at least {up} shards were needed: {_why(newest, rules)}")
    long = [sample for sample in samples if sample.at_s > now_s - rules.down_after_s]
    down = max(max(_needed(sample, shards, rules, DOWN_SHARE) for sample in long), rules.shards_min)
    if down >= shards:
        return Decision(shards, f"{shards} shards are right: {_why(newest, rules)}")
    if now_s - since_s < rules.down_after_s:
        left_s = rules.down_after_s - (now_s - since_s)
        return Decision(shards, f"{_why(newest, rules)}: {down} shards would do, looked at for {left_s:.0f} s more")
    step = max(down, shards - max(1, shards // 4))
    return Decision(step, f"for {rules.down_after_s:g} s no more than {down} shards were needed: {_why(newest, rules)}")


def _needed(sample: Sample, shards: int, rules: AutoscaleRules, share: float) -> int:
    by_bytes = math.ceil(sample.bytes_per_s / (share * rules.bytes_per_s_target))
    by_cpu = math.ceil(sample.cpu / (share * rules.cpu_target))
    by_backlog = shards + 1 if sample.backlog >= BACKLOG_FULL else 1
    return max(1, by_bytes, by_cpu, by_backlog)


def _why(sample: Sample, rules: AutoscaleRules) -> str:
    return (
        f"{sample.bytes_per_s / 1e6:.1f} MB/s (target {rules.bytes_per_s_target / 1e6:.1f} a shard), {sample.cpu:.2f} "
        f"cores (target {rules.cpu_target:g} a shard), the fullest shard holds {sample.backlog:.0%} of what it may"
    )
