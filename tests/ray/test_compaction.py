"""Segments are merged by the shards in their spare time, or by compactors, while queries give the same answers."""

from __future__ import annotations

import time

import pytest

import malamute
from core.limits import COMPACTION_INPUTS_MAX

WAIT_S = 60.0
QUESTION = "SELECT count(*) AS c, sum(n) AS s, count(DISTINCT word) AS w FROM logs WHERE matches('event')"


@pytest.mark.parametrize("compactors", [0, 1])
def test_a_few_dozen_segments_become_one_and_every_answer_is_the_same(ray_session, tmp_path, compactors: int):
    config = tmp_path / "ray_config.yaml"
    config.write_text(
        f"name: compaction{compactors}\nshards: 1\ncompaction:\n  compactors: {compactors}\n  num_cpus: 0.1\n"
    )
    with malamute.connect(storage=str(tmp_path / "data"), config=str(config)) as store:
        events = 0
        for number in range(COMPACTION_INPUTS_MAX):
            store.write("logs", [{"n": events + i, "word": f"w{i % 3}", "message": f"an event {i}"} for i in range(5)])
            events += 5
            store.flush()
            if number % 8 == 0:
                assert answer(store) == (events, events * (events - 1) // 2, 3)
        until_s = time.monotonic() + WAIT_S
        while (shard := store.status().shards[0])["segments"] > 1 and time.monotonic() < until_s:
            assert answer(store) == (events, events * (events - 1) // 2, 3)
            time.sleep(0.2)
        assert shard["segments"] == 1, shard["compaction"]
        assert shard["compaction"]["compactions"] == 1
        assert shard["compaction"]["garbage_waiting"] == COMPACTION_INPUTS_MAX
        wanted = [(1, events, None, 0)] * compactors
        while (told := compactors_of(store)) != wanted and time.monotonic() < until_s:
            time.sleep(0.1)  # the shard tells of the merge a moment before its compactor
        assert told == wanted
        assert answer(store) == (events, events * (events - 1) // 2, 3)


def answer(store: malamute.Client) -> tuple[int, int, int]:
    row = store.sql(QUESTION, cache=False).to_arrow().to_pylist()[0]
    return row["c"], int(row["s"]), row["w"]


def compactors_of(store: malamute.Client) -> list[tuple[int, int, object, int]]:
    told = store.status().compactors
    return [(one["merges"], one["rows"], one["merging"], one["failed"]) for one in told]
