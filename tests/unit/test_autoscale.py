"""The decision of automatic scaling over traces of a day in seconds: up fast, down slowly, never to and fro."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from actors.autoscaler import Autoscaler
from core.autoscale import AutoscaleRules, Sample, decide
from core.clock import ManualClock

RULES = AutoscaleRules(
    shards_min=1, shards_max=8, bytes_per_s_target=10e6, cpu_target=0.7, up_after_s=15.0, down_after_s=900.0
)


def trace(load: Callable[[float], tuple[float, float, float]], seconds: int, every_s: int = 2) -> list[tuple[int, int]]:
    """(second, shards) of each change that the decisions make under `load` (bytes/s, cores, backlog) of a second."""
    shards = 1
    samples: list[Sample] = []
    changes: list[tuple[int, int]] = []
    since_s = 0.0
    for second in range(0, seconds, every_s):
        samples.append(Sample(second, *load(second)))
        decision = decide(samples[-900 // every_s :], shards, RULES, since_s)
        assert RULES.shards_min <= decision.shards <= RULES.shards_max and decision.reason
        if decision.shards != shards:
            shards, since_s = decision.shards, float(second)
            changes.append((second, shards))
    return changes


def test_a_quiet_deployment_stays_as_it_is() -> None:
    assert trace(lambda s: (1e6, 0.1, 0.0), 3_600) == []


def test_more_load_brings_more_shards_at_once_and_as_many_as_it_needs() -> None:
    assert trace(lambda s: (1e6, 0.1, 0.0) if s < 100 else (45e6, 1.0, 0.1), 300) == [(114, 5)]


def test_a_peak_of_ten_seconds_changes_nothing() -> None:
    assert trace(lambda s: (80e6, 4.0, 1.0) if 100 <= s < 110 else (5e6, 0.1, 0.0), 600) == []


def test_cpu_and_a_backlog_count_as_well() -> None:
    assert trace(lambda s: (1e6, 2.5, 0.0), 60) == [(16, 4)]
    assert trace(lambda s: (1e6, 0.1, 0.9), 60)[0] == (16, 2)


def test_less_load_takes_shards_away_slowly_and_one_step_after_the_other() -> None:
    changes = trace(lambda s: (70e6, 1.0, 0.0) if s < 1_000 else (1e6, 0.1, 0.0), 6 * 3_600, every_s=10)
    assert changes[0][1] == 7
    times, counts = zip(*changes[1:], strict=True)
    assert counts == (6, 5, 4, 3, 2, 1)
    gaps = [later - earlier for earlier, later in zip((1_000, *times), times, strict=False)]
    assert min(gaps) >= 890


def test_a_load_that_comes_and_goes_within_the_long_time_keeps_its_shards() -> None:
    changes = trace(lambda s: (40e6 * (1 + math.sin(s / 100)) / 2, 0.5, 0.0), 4 * 3_600, every_s=10)
    assert [count for _, count in changes] == sorted({count for _, count in changes}) and changes[-1][1] <= 4


def test_a_number_outside_of_the_bounds_is_brought_back() -> None:
    decision = decide([], 12, RULES, 0.0)
    assert decision.shards == 8 and "outside of 1 to 8" in decision.reason


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (Sample(10.0, 25e6, 0.1, 0.0), "3 shards if it lasts 15 s"),
        (Sample(10.0, 0.0, 0.0, 0.0), "1 shards would do, looked at for 890 s more"),
        (Sample(10.0, 13e6, 0.1, 0.0), "2 shards are right: 13.0 MB/s (target 10.0 a shard)"),
    ],
)
def test_the_reason_says_what_was_seen(sample: Sample, said: str) -> None:
    assert said in decide([sample], 2, RULES, 0.0).reason


def test_a_process_that_is_new_counts_from_its_first_look() -> None:
    clock = ManualClock()
    autoscaler = Autoscaler(RULES, 100, clock)

    def look(*shards: tuple[int, int, float, float]) -> None:
        clock.advance(10.0)
        told = [
            {"shard": shard, "pid": pid, "accepted_bytes": size, "cpu_s": cpu_s, "memtable_bytes": 50}
            for shard, pid, size, cpu_s in shards
        ]
        autoscaler.look([*told, {"shard": 9, "state": "unavailable"}])

    look((0, 1, 1e9, 100.0))
    assert "no numbers" in autoscaler.decide((0,)).reason
    look((0, 1, 1e9 + 50e6, 102.0), (1, 2, 9e9, 500.0))
    assert "5.0 MB/s" in autoscaler.decide((0,)).reason and "0.20 cores" in autoscaler.decide((0,)).reason
    look((0, 3, 1e6, 1.0), (1, 2, 9e9 + 10e6, 501.0))
    assert "1.0 MB/s" in autoscaler.decide((0,)).reason and "holds 50%" in autoscaler.decide((0,)).reason
