"""When a shard that says nothing counts as hanging, and what the status says of it."""

from __future__ import annotations

from actors.keeper import Silence
from core.limits import SHARD_SILENT_LOOKS_MAX
from malamute.commands.status import keeper_texts

ONE, OTHER = "shard-0", "shard-1"


def looks(silence: Silence, worker: str, count: int, *, running: bool = True) -> list[bool]:
    return [silence.hangs(worker, running=running) for _ in range(count)]


def test_a_shard_hangs_when_it_says_nothing_at_so_many_looks_in_a_row() -> None:
    silence = Silence()
    assert looks(silence, ONE, SHARD_SILENT_LOOKS_MAX) == [False] * (SHARD_SILENT_LOOKS_MAX - 1) + [True]
    assert not any(looks(silence, ONE, SHARD_SILENT_LOOKS_MAX - 1))  # its successor gets as long


def test_each_answer_begins_anew_and_shards_are_apart() -> None:
    silence = Silence()
    assert not any(looks(silence, ONE, SHARD_SILENT_LOOKS_MAX - 1))
    silence.answered(ONE)
    assert not any(looks(silence, OTHER, SHARD_SILENT_LOOKS_MAX - 1))
    assert not any(looks(silence, ONE, SHARD_SILENT_LOOKS_MAX - 1))


def test_a_shard_that_still_replays_its_log_never_hangs() -> None:
    silence = Silence()
    assert not any(looks(silence, ONE, SHARD_SILENT_LOOKS_MAX - 1))
    assert not any(looks(silence, ONE, 10 * SHARD_SILENT_LOOKS_MAX, running=False))
    assert not any(looks(silence, ONE, SHARD_SILENT_LOOKS_MAX - 1))


def test_status_says_what_was_done_for_shards() -> None:
    assert list(keeper_texts({"moved": 0, "ended": 0, "failure": None})) == []
    assert list(keeper_texts({"moved": 1, "ended": 2, "failure": "RaySystemError: away"})) == [
        "shards that hung and were ended: 2",
        "shards that were brought to their disks: 1",
        "looking after the shards failed at last: RaySystemError: away",
    ]
