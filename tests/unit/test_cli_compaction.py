"""What `malamute status` says of compaction."""

from __future__ import annotations

from typing import Any

import pytest

from malamute.display_compaction import compaction_lines, compactor_lines
from malamute.status import Status


def status(*compactions: dict[str, Any], flushed: int = 100) -> Status:
    shards = [{"shard": n, "flushed_rows": flushed, "compaction": c} for n, c in enumerate(compactions)]
    return Status({"shards": shards, "readers": [], "compactors": [], "coordinator": {}})


def numbers(**more: Any) -> dict[str, Any]:
    names = ("compactions", "compacted_rows", "compacted_bytes_in", "compacted_bytes_out", "compacted_files_in",
             "compacted_files_out", "compaction_s", "compactions_refused", "compactions_failed", "compactions_running",
             "compactions_waiting", "garbage_deleted", "garbage_waiting")  # fmt: skip
    return {**dict.fromkeys(names, 0), "segments_by_level": {}, "last_compaction_error": "", **more}


def texts(found: Status) -> list[str]:
    return [line.plain for line in compaction_lines(found.compaction)]


def test_nothing_is_said_while_no_shard_answers() -> None:
    assert (
        texts(
            Status(
                {"shards": [{"shard": 0, "state": "unavailable"}], "readers": [], "compactors": [], "coordinator": {}}
            )
        )
        == []
    )


def test_shards_are_added_up() -> None:
    merged = {"compacted_files_in": 9, "compacted_files_out": 2, "compacted_rows": 300, "compaction_s": 0.5}
    merged |= {"compacted_bytes_in": 9_000, "compacted_bytes_out": 3_000, "compactions": 2}
    one = numbers(segments_by_level={0: 3, 2: 1}, **merged)
    other = numbers(segments_by_level={0: 1}, garbage_waiting=9, compactions_waiting=1)
    found = status(one, other)
    assert found.compaction["write_amplification"] == 2.5
    (line,) = texts(found)
    assert line == (
        "segments: 4 on level 0, 1 on level 2; 9 merged into 2 (9.00 kB into 3.00 kB, 600 events/s in 500 ms), each "
        "event written 2.5 times; 1 merges to do, 9 files to delete"
    )


def test_failures_are_said_with_the_last_reason() -> None:
    failed = numbers(compactions_failed=2, last_compaction_error="Corrupt: segment x has other bytes")
    assert texts(status(numbers(), failed))[1] == "compaction: 2 failed; the last: Corrupt: segment x has other bytes"


def compactor(number: int, **more: Any) -> dict[str, Any]:
    done = {"merges": 0, "rows": 0, "refused": 0, "failed": 0, "last_error": ""}
    return {"compactor": number, "pid": 9, "merging": None, **done, **more}


def test_compactors_say_what_they_are_at() -> None:
    assert list(compactor_lines([])) == []
    merging = {"shard": 3, "tenant": "default", "stream": "logs", "segments": 4, "rows": 4_000_000, "s": 2.5}
    failed = compactor(1, merges=1, failed=1, last_error="Corrupt: segment x has other bytes")
    away = {"compactor": 2, "state": "unavailable", "reason": "it is not there (yet)"}
    lines = [line.plain for line in compactor_lines([compactor(0, merging=merging, merges=7, refused=2), failed, away])]
    assert lines == [
        "compactors: 1 of 3 at work; 8 merges, 2 refused, 1 failed; "
        "compactor 0: 4 segments of default/logs of shard 3, 4.00 M events, for 2.5 s",
        "compactor 1 failed at last: Corrupt: segment x has other bytes",
        "compactor 2 does not answer: it is not there (yet)",
    ]


def test_the_requests_of_compactors_are_counted() -> None:
    found = Status(
        {
            "shards": [{"shard": 0, "requests": {"get": 1}}],
            "readers": [],
            "compactors": [compactor(0, requests={"get": 2, "put": 1000}), {"compactor": 1, "state": "unavailable"}],
            "scrub": {},
            "coordinator": {},
        }
    )
    assert found.requests == {"get": 3, "put": 1000}
    assert found.requests_usd == pytest.approx(0.005, rel=0.01)
