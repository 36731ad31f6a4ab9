"""The cut of a leaf into tasks: everything once, within bounds, on workers that keep what they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from unittest.mock import patch

from hypothesis import given, settings
from hypothesis import strategies as st

from core.columns import ColumnKey
from query import tasks as tasks_module
from query.fragment import KNOWN, Leaf, Predicate, ScanColumn, StreamScan, TimeRange, Words
from query.holdings import Holding
from query.shape import StreamShape
from query.tasks import Pruned, Task, make_tasks, prune, reader_worker, rendezvous, shard_worker, task_snapshots
from storage.snapshot import ColumnStats, Segment, StreamSnapshot

READERS = [reader_worker(number) for number in range(5)]


def segment(
    name: str,
    *,
    stream: str = "logs",
    times: tuple[int, int] = (0, 9),
    rows: int = 10,
    size: int = 100,
    has_rest: bool = False,
    zones: dict[str, tuple[int, int]] | None = None,
) -> Segment:
    columns = tuple(
        ColumnStats(path, ColumnKey(path, "int"), rows, low, high) for path, (low, high) in (zones or {}).items()
    )
    return Segment(
        name, "acme", stream, times[0], times[1] + 1, rows, size, 0, *times, 0, rows, has_rest, (), columns
    )  # fmt: skip


def holding(shard: int, segments: Sequence[Segment], batches: int = 0) -> Holding:
    return Holding(shard, 1, 100, tuple(segments), StreamShape(), StreamShape(), batches)


def scan(stream: str = "logs", alias: str = "a", **more: object) -> StreamScan:
    return StreamScan(stream, alias, (ScanColumn("n", "BIGINT", "n"),), "n", **more)  # type: ignore[arg-type]


def between(start_us: int | None, end_us: int | None) -> TimeRange:
    return TimeRange(start_us, end_us)


# --- prune ------------------------------------------------------------------------------------------------------------


def test_what_no_scan_needs_is_skipped_and_said_why() -> None:
    held = holding(
        3,
        [
            segment("early", times=(0, 9), zones={"n": (0, 5)}),
            segment("small", times=(10, 19), zones={"n": (0, 5)}),
            segment("none", times=(20, 29)),
            segment("large", times=(30, 39), zones={"n": (0, 50)}),
            segment("rest", times=(40, 49), has_rest=True),
        ],
    )
    wanted = scan(time_range=between(10, None), predicates=(Predicate("n", None, "BIGINT", ">", (9,)),))
    (found,) = prune(Leaf((wanted,)), {"logs": [held]})
    assert [kept.name for kept in found.segments] == ["rest", "large"]  # newest first
    assert found.reasons == {"time": 1, "zone map of n": 2} and found.holding is held


def test_two_scans_of_one_stream_keep_what_either_needs() -> None:
    held = holding(0, [segment(str(n), times=(10 * n, 10 * n + 9)) for n in range(5)])
    scans = (scan(time_range=between(None, 9)), scan(alias="b", time_range=between(40, None)))
    (found,) = prune(Leaf(scans), {"logs": [held]})
    assert [kept.name for kept in found.segments] == ["4", "0"] and found.reasons == {"time": 3}
    (found,) = prune(Leaf((*scans, scan(alias="c"))), {"logs": [held]})
    assert len(found.segments) == 5 and not found.reasons


def test_edges_of_a_time_range_are_in_it() -> None:
    held = holding(0, [segment("a", times=(10, 20))])
    for range_, kept in ((between(20, None), 1), (between(21, None), 0), (between(None, 10), 1), (between(None, 9), 0)):
        (found,) = prune(Leaf((scan(time_range=range_),)), {"logs": [held]})
        assert len(found.segments) == kept


def test_a_kept_segment_still_knows_what_words_predicates_and_columns_ask_for() -> None:
    zones = dict.fromkeys(("n", "word", "zone", "other"), (0, 9))
    wanted = scan(words=((Words("word", None, ("x",)),),), predicates=(Predicate("zone", None, "BIGINT", KNOWN),))
    (found,) = prune(Leaf((wanted,)), {"logs": [holding(0, [segment("a", zones=zones)])]})
    assert {stats.key.path for stats in found.segments[0].columns} == {"n", "word", "zone"}
    assert found.segments[0].rows == 10


def test_streams_that_are_not_held_give_nothing() -> None:
    assert prune(Leaf((scan(),)), {}) == [] and prune(Leaf(()), {"logs": [holding(0, [])]}) == []
    assert make_tasks([], READERS, 4, 100) == []


# --- tasks ------------------------------------------------------------------------------------------------------------

SHARDS = st.lists(
    st.tuples(
        st.lists(
            st.tuples(st.integers(0, 60), st.integers(1, 10**6), st.sampled_from(["logs", "traces"])), max_size=30
        ),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=4,
)


def pruned_of(shards: list[tuple[list[tuple[int, int, str]], int]]) -> list[Pruned]:
    pruned = []
    for shard, (held, batches) in enumerate(shards):
        for stream in ("logs", "traces"):
            segments = tuple(
                segment(f"{shard}/{number}", stream=stream, rows=rows, size=size)
                for number, (rows, size, of) in enumerate(held)
                if of == stream
            )
            # Memtable batches of one stream only: the task reads those of all.
            batches_here = batches if stream == "traces" else 0
            pruned.append(Pruned(holding(shard, segments, batches_here), stream, segments, {}))
    return pruned


@given(SHARDS, st.integers(0, 5), st.integers(1, 8), st.integers(1, 200))
@settings(max_examples=200, deadline=None)
def test_every_segment_and_memtable_is_in_one_task_within_bounds(
    shards: list[tuple[list[tuple[int, int, str]], int]], readers: int, segments_max: int, rows_max: int
) -> None:
    pruned = pruned_of(shards)
    with patch.object(tasks_module, "QUICK_ROWS_MAX", -1):
        tasks = make_tasks(pruned, READERS[:readers], segments_max, rows_max)
    assert [task.number for task in tasks] == list(range(len(tasks)))
    sent = Counter(
        (task.shard, stream, s.name) for task in tasks for stream, held in task.segments.items() for s in held
    )
    assert sent == Counter((p.holding.shard, p.stream, s.name) for p in pruned for s in p.segments)
    memtables = [task.shard for task in tasks if task.memtable]
    assert sorted(memtables) == [shard for shard, (_, batches) in enumerate(shards) if batches]
    for task in tasks:
        rows = [s.rows for held in task.segments.values() for s in held]
        assert task.segment_count == len(rows) <= segments_max
        assert len(rows) == 1 or sum(rows) <= rows_max or not rows
        assert task.memtable or rows
        own = (shard_worker(task.shard),)
        assert task.workers == own if task.memtable or not readers else len(task.workers) == min(2, readers)
        assert readers == 0 or task.memtable == (task.workers == own)


def test_one_call_is_enough_for_a_small_shard() -> None:
    (only,) = make_tasks(pruned_of([([(1, 1, "logs"), (1, 1, "traces")], 1)]), (), 4, 100)
    assert only.memtable and {stream: len(held) for stream, held in only.segments.items()} == {"logs": 1, "traces": 1}


@given(SHARDS, st.integers(0, 2), st.integers(1, 64))
@settings(max_examples=200, deadline=None)
def test_few_rows_are_for_one_shard_unless_two_have_a_memtable(
    shards: list[tuple[list[tuple[int, int, str]], int]], readers: int, segments_max: int
) -> None:
    pruned = pruned_of(shards)
    tasks = make_tasks(pruned, READERS[:readers], segments_max, 10**9)
    memtables = [shard for shard, (_, batches) in enumerate(shards) if batches]
    rows = [sum(rows for rows, _, _ in held) for held, _ in shards]
    segments = sum(len(held) for held, _ in shards)
    if readers == 0 and len(memtables) < 2 and segments <= segments_max and (segments or memtables):
        (task,) = tasks
        assert task.segment_count == segments and task.memtable == bool(memtables)
        assert task.shard in (memtables or [shard for shard, of in enumerate(rows) if of == max(rows)])
        assert task.workers == (shard_worker(task.shard),)
    else:
        shard_of = {s.name: p.holding.shard for p in pruned for s in p.segments}
        assert all(shard_of[s.name] == task.shard for task in tasks for held in task.segments.values() for s in held)


def readers_of(names: list[str], readers: list[str]) -> dict[str, tuple[str, ...]]:
    pruned = [Pruned(holding(0, ()), "logs", tuple(segment(name) for name in names), {})]
    tasks = make_tasks(pruned, readers, 1, 10**9)
    return {held[0].name: task.workers for task in tasks for held in task.segments.values()}


NAMES = [f"shards/0000/segments/acme/logs/{number:04d}.parquet" for number in range(400)]


def test_a_segment_stays_with_its_reader_whatever_else_the_query_reads() -> None:
    everything = readers_of(NAMES, READERS)
    few = readers_of(NAMES[:40], READERS)
    moved = sum(few[name] != everything[name] for name in few)
    assert moved <= 10  # those that a busy reader handed over
    share = Counter(workers[0] for workers in everything.values())
    assert set(share) == set(READERS) and max(share.values()) <= 1.5 * min(share.values())


def test_a_reader_that_goes_away_moves_its_own_segments_only() -> None:
    for name in NAMES:
        before = rendezvous(name, READERS)
        assert rendezvous(name, READERS[:-1]) == [reader for reader in before if reader != READERS[-1]]
        assert rendezvous(name, READERS[::-1]) == before


def test_a_reader_with_much_more_to_do_hands_over_to_the_second_choice() -> None:
    first, second, *_ = rendezvous("a", READERS)
    also_first = [name for name in NAMES if rendezvous(name, READERS)[:2] == [first, second]][:8]
    placed = readers_of(also_first, READERS)
    assert {workers[0] for workers in placed.values()} == {first, second}
    assert all(set(workers) == {first, second} for workers in placed.values())


# --- what a task looks at ---------------------------------------------------------------------------------------------


def test_a_task_sees_its_segments_and_the_pinned_batches() -> None:
    old, new = segment("old"), segment("new")
    pins = {
        name: StreamSnapshot(2, "acme", name, 7, 50, (old,), (name,))  # type: ignore[arg-type]
        for name in ("logs", "traces")
    }
    task = Task(0, 2, {"logs": (new,), "metrics": (segment("m", stream="metrics"),)}, True, ("shard-2",))
    found = task_snapshots(task, pins)
    assert {name: (snapshot.segments, snapshot.memtable) for name, snapshot in found.items()} == {
        "logs": ((new,), ("logs",)),
        "traces": ((), ("traces",)),
        "metrics": (task.segments["metrics"], ()),
    }
    assert {(snapshot.shard, snapshot.tenant) for snapshot in found.values()} == {(2, "acme")}
    assert task_snapshots(Task(0, 2, {"logs": (new,)}, False, ("reader-1",)), {})["logs"].segments == (new,)
