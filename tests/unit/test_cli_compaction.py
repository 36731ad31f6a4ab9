"""What `malamute status` says of compaction."""

from __future__ import annotations

from typing import Any

from malamute.display_compaction import compaction_lines
from malamute.status import Status


def status(*compactions: dict[str, Any], flushed: int = 100) -> Status:
    shards = [{"shard": n, "flushed_rows": flushed, "compaction": c} for n, c in enumerate(compactions)]
    return Status({"shards": shards, "readers": [], "coordinator": {}})


def numbers(**more: Any) -> dict[str, Any]:
    names = ("compactions", "compacted_rows", "compacted_bytes_in", "compacted_bytes_out", "compacted_files_in",
             "compacted_files_out", "compaction_s", "compactions_refused", "compactions_failed", "compactions_running",
             "compactions_waiting", "garbage_deleted", "garbage_waiting")  # fmt: skip
    return {**dict.fromkeys(names, 0), "segments_by_level": {}, "last_compaction_error": "", **more}


def texts(found: Status) -> list[str]:
    return [line.plain for line in compaction_lines(found.compaction)]


def test_nothing_is_said_while_no_shard_answers() -> None:
    assert texts(Status({"shards": [{"shard": 0, "state": "unavailable"}], "readers": [], "coordinator": {}})) == []


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
