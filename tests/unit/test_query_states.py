"""Kept partial states: never another answer than without, bounded in memory and on the disk, damage is a miss."""

from __future__ import annotations

import errno
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.limits import STATE_BYTES_MAX
from query import states as states_module
from query.executor import Executor
from query.fragment import Leaf, LeafResult
from query.merge import run_merge
from query.parse import parse
from query.plan import plan
from query.shape import describe
from query.state_cache import StateCache, state_key
from query.worker import Worker
from storage.fs import LocalFileSystem
from storage.snapshot import Segment, StreamSnapshot
from tests.support.batches import START_US, memtable_batch
from tests.support.faultfs import ANY, Fault, FaultFileSystem
from tests.support.local_backend import memory_states
from tests.support.segment_store import SegmentStore, snapshot_of

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

MINUTE_US = 60_000_000
SEGMENTS, ROWS = 12, 40


def table(number: int, rows: int = 3) -> pa.Table:
    return pa.table({"k": [f"k{number}-{row}" for row in range(rows)], "a": [bytes([row, 7]) for row in range(rows)]})


def on_disk(directory: Path, fs: Any = None, memory: int = 2**20, disk: int = 2**20) -> StateCache:
    return StateCache(memory, fs or LocalFileSystem(), str(directory / "states"), disk)


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_least_recently_used_states_go_first_and_bytes_stay_within_bounds() -> None:
    cache = StateCache(10_000, LocalFileSystem())
    cache.put("kept", table(0))
    for number in range(40):
        assert cache.get("kept") == table(0)
        cache.put(str(number), table(number))
        assert cache.bytes <= 10_000
    assert cache.get("39") == table(39) and cache.get("0") is None
    status = cache.status()
    assert status["bytes"] == cache.bytes and 1 < status["entries"] < 6 and status["disk_bytes"] == 0
    assert (status["hits"], status["misses"]) == (41, 1)


def test_what_is_too_large_or_turned_off_is_not_kept() -> None:
    cache = StateCache(2**30, LocalFileSystem())
    cache.put("large", pa.table({"a": [b"x" * (STATE_BYTES_MAX + 1)]}))
    assert cache.get("large") is None and cache.bytes == 0
    off = StateCache(0, LocalFileSystem())
    off.put("a", table(1))
    assert off.get("a") is None and off.bytes == 0


def test_putting_twice_counts_once() -> None:
    cache = StateCache(2**20, LocalFileSystem())
    cache.put("a", table(1))
    size = cache.bytes
    cache.put("a", table(1))
    assert cache.bytes == size


# --- disk -------------------------------------------------------------------------------------------------------------


def test_states_outlive_the_process_and_memory(tmp_path: Path) -> None:
    cache = on_disk(tmp_path, memory=5_000)
    for number in range(20):
        cache.put(f"{number:040x}", table(number))
    assert [cache.get(f"{number:040x}") for number in range(20)] == [table(number) for number in range(20)]
    again = on_disk(tmp_path)
    assert [again.get(f"{number:040x}") for number in range(20)] == [table(number) for number in range(20)]
    assert again.disk_bytes == cache.disk_bytes == sum(f.stat().st_size for f in (tmp_path / "states").iterdir())
    assert again.status()["misses"] == 0


def test_files_stay_within_their_bound_also_those_of_an_earlier_process(tmp_path: Path) -> None:
    for start in (0, 100):
        cache = on_disk(tmp_path, disk=8_000)
        for number in range(start, start + 50):
            cache.put(f"{number:040x}", table(number))
            sizes = [f.stat().st_size for f in (tmp_path / "states").iterdir()]
            assert sum(sizes) == cache.disk_bytes <= 8_000
    assert cache.get(f"{149:040x}") == table(149)


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_a_file_that_is_flipped_or_cut_anywhere_is_a_miss_and_removed(tmp_path: Path, damage: str) -> None:
    key = "a" * 40
    on_disk(tmp_path).put(key, table(1))
    file = tmp_path / "states" / key
    whole = file.read_bytes()
    for at in range(len(whole)):
        changed = whole[:at] + bytes([whole[at] ^ (1 << at % 8)]) + whole[at + 1 :] if damage == "flip" else whole[:at]
        file.write_bytes(changed)
        cache = on_disk(tmp_path)
        assert cache.get(key) is None and not file.exists() and cache.disk_bytes == 0
    file.write_bytes(whole)
    assert on_disk(tmp_path).get(key) == table(1)


def test_a_file_of_other_bytes_with_a_right_checksum_is_a_miss(tmp_path: Path) -> None:
    import google_crc32c

    key = "a" * 40
    (tmp_path / "states").mkdir()
    for body in (b"", b"no arrow stream at all", b"\xff\xff\xff\xff" * 4):
        (tmp_path / "states" / key).write_bytes(google_crc32c.value(body).to_bytes(4, "little") + body)
        assert on_disk(tmp_path).get(key) is None


@pytest.mark.parametrize("operation", [ANY, "create", "write", "rename", "unlink", "read_range", "size", "list"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("forever", [False, True])
def test_a_disk_that_fails_costs_states_never_the_query(
    tmp_path: Path, operation: str, nth: int, forever: bool
) -> None:
    fs = FaultFileSystem(LocalFileSystem(), [Fault(operation, nth, errno.ENOSPC, forever, written=10)])
    on_disk(tmp_path).put("b" * 40, table(2))
    cache = on_disk(tmp_path, fs, memory=1, disk=3_000)
    for number in range(9):
        key = f"{number:040x}"
        cache.put(key, table(number))
        assert cache.get(key) == table(number)
        assert cache.get("b" * 40) in (None, table(2))
        assert cache.get(f"{number - 2:040x}" if number > 1 else key) in (
            None,
            table(max(number - 2, 0)),
            table(number),
        )
    if not forever and operation != "unlink":
        names = {f.name for f in (tmp_path / "states").iterdir()}
        assert all(len(name) == 40 for name in names), "what did not fit was left behind"


# --- keys -------------------------------------------------------------------------------------------------------------


def some_segment() -> Segment:
    return Segment("s", "t", "logs", 0, 10, 1, 100, 7, 0, 9, 0, 0, False, (), ())


def test_keys_tell_segments_and_texts_apart() -> None:
    segment = some_segment()
    keys = {
        state_key(segment, "SELECT 1"),
        state_key(segment, "SELECT 2"),
        state_key(replace(segment, crc32c=8), "SELECT 1"),
        state_key(replace(segment, bytes=101), "SELECT 1"),
        state_key(replace(segment, name="s2"), "SELECT 1"),
    }
    assert len(keys) == 5
    assert state_key(replace(segment, has_rest=True, columns=()), "SELECT 1") in keys  # the text says what is read


# --- the states of segments -------------------------------------------------------------------------------------------


def events(number: int, rng: random.Random) -> pa.RecordBatch:
    """One minute of events, to its first and last microsecond."""
    first_us = START_US + number * MINUTE_US
    times = [first_us, first_us + MINUTE_US - 1, *(first_us + rng.randrange(MINUTE_US) for _ in range(ROWS - 2))]
    services = [rng.choice(["web", "db", None]) for _ in times]
    ids = [number * ROWS + row for row in range(ROWS)]
    columns = {("service", "str"): services, ("n", "int"): ids, ("size", "float"): [rng.random() for _ in times]}
    return memtable_batch(columns, sorted(times), number * ROWS)


class Rig:
    """A worker over twelve segments of a minute each and two minutes in the memtable."""

    def __init__(self, directory: Path) -> None:
        rng = random.Random(11)
        self.store = SegmentStore(directory, row_group_rows=8)
        batches = [events(number, rng) for number in range(SEGMENTS + 2)]
        segments = [self.store.write([batch])[0] for batch in batches[:SEGMENTS]]
        self.times_us = [time for batch in batches for time in batch.column("timestamp").cast("int64").to_pylist()]
        self.snapshot = snapshot_of(segments, batches[SEGMENTS:])
        self.executor = Executor(threads=1, data_directories=[str(directory)])
        self.states = memory_states()
        self.worker = Worker(self.executor, self.store, self.store.indexes, self.states)

    def leaf(self, sql: str, parameters: Any = None) -> tuple[Any, Leaf]:
        planned = plan(parse(sql, parameters), {"logs": describe(self.snapshot)}, self.executor, now_us=START_US)
        assert planned.leaf.scans[0].states, "an aggregation is expected"
        return planned, planned.leaf

    def run(
        self, sql: str, parameters: Any = None, cache: bool = True, snapshot: StreamSnapshot | None = None
    ) -> tuple[list[dict[str, Any]], LeafResult]:
        planned, leaf = self.leaf(sql, parameters)
        result = self.worker.run_leaf(leaf, {"logs": snapshot or self.snapshot}, cache=cache)
        rows = run_merge(planned, [result], self.executor).to_pylist()
        return sorted(rows, key=repr), result


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.executor.close()


BY_SERVICE = "SELECT service, count(*) AS c, sum(n) AS s, max(timestamp) AS t FROM logs GROUP BY service"
TOTAL = "SELECT count(*) AS c, min(n) AS low, max(n) AS high FROM logs"


@pytest.mark.parametrize("sql", [BY_SERVICE, TOTAL, "SELECT DISTINCT service FROM logs"])
def test_from_the_second_run_on_states_are_kept_and_give_the_same(rig: Rig, sql: str) -> None:
    fresh, result = rig.run(sql, cache=False)
    assert result.stats.segments_cached == 0 and rig.states.status()["entries"] == 0
    assert rig.run(sql)[0] == fresh and rig.states.status()["entries"] == 0, "asked for once: nothing is kept"
    assert rig.run(sql)[0] == fresh and rig.states.status()["entries"] == SEGMENTS
    again, result = rig.run(sql)
    assert again == fresh
    assert (result.stats.segments_cached, result.stats.segments_read) == (SEGMENTS, 0)
    assert result.stats.batches == 2 and result.stats.bytes_read == 0
    ignored, result = rig.run(sql, cache=False)
    assert ignored == fresh and result.stats.segments_cached == 0


def test_states_are_not_confused_between_questions_segments_and_parameters(rig: Rig) -> None:
    for sql, parameters in [
        (BY_SERVICE, None),
        (TOTAL, None),
        ("SELECT count(*) AS c FROM logs WHERE n > $1", [100]),
        ("SELECT count(*) AS c FROM logs WHERE n > $1", [101]),
        ("SELECT count(*) AS c FROM logs WHERE n >= $1", [101]),
        ("SELECT _shard, count(*) AS c FROM logs GROUP BY 1", None),
        ("SELECT count(DISTINCT service) AS c FROM logs", None),
        ("SELECT count(*) FILTER (WHERE service = 'web') AS c FROM logs", None),
    ]:
        fresh = rig.run(sql, parameters, cache=False)[0]
        assert rig.run(sql, parameters)[0] == fresh == rig.run(sql, parameters)[0]
    renewed = snapshot_of([replace(segment, crc32c=segment.crc32c ^ 1) for segment in rig.snapshot.segments])
    assert rig.run(TOTAL, snapshot=renewed)[1].stats.segments_cached == 0
    fewer = snapshot_of(rig.snapshot.segments[3:5])
    rows, result = rig.run(TOTAL, snapshot=fewer)
    assert rows == [{"c": 2 * ROWS, "low": 3 * ROWS, "high": 5 * ROWS - 1}] and result.stats.segments_cached == 2


def test_a_segment_is_of_the_shard_that_wrote_it_whoever_has_it_now(rig: Rig) -> None:
    sql = "SELECT _shard, count(*) AS c FROM logs GROUP BY 1"
    rig.run(sql)
    other = replace(rig.snapshot, shard=5, memtable=())
    assert rig.run(sql, snapshot=other)[0] == [{"_shard": 0, "c": SEGMENTS * ROWS}]


def test_a_sliding_time_range_gives_the_right_rows_and_reads_only_its_ends(rig: Rig) -> None:
    sql = "SELECT count(*) AS c FROM logs WHERE timestamp >= $1 AND timestamp < $2"
    rng = random.Random(2)
    minutes = [START_US + minute * MINUTE_US for minute in range(SEGMENTS + 3)]
    starts = [time + off for time in minutes[1:5] for off in (-2, -1, 0, 1, 2, 3, rng.randrange(MINUTE_US))]
    kept = 0
    for start_us in starts:
        end_us = start_us + 6 * MINUTE_US
        times = [
            datetime.fromtimestamp(us // 10**6, UTC) + timedelta(microseconds=us % 10**6) for us in (start_us, end_us)
        ]
        rows, result = rig.run(sql, times)
        assert (
            rows
            == [{"c": sum(start_us <= time < end_us for time in rig.times_us)}]
            == rig.run(sql, times, cache=False)[0]
        )
        stats = result.stats
        assert stats.segments_read <= SEGMENTS if not kept else stats.segments_read <= 4
        kept += stats.segments_cached
    assert kept >= 4 * len(starts)


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "="])
def test_the_edges_of_segments_are_asked_for_row_by_row(rig: Rig, operator: str) -> None:
    tests = {"<": int.__lt__, "<=": int.__le__, ">": int.__gt__, ">=": int.__ge__, "=": int.__eq__}
    for offset in range(-4, 5):
        bound_us = START_US + 5 * MINUTE_US + offset
        text = (
            datetime.fromtimestamp(START_US // 10**6, UTC) + timedelta(microseconds=bound_us - START_US)
        ).isoformat()
        rows, _ = rig.run(f"SELECT count(*) AS c FROM logs WHERE timestamp {operator} '{text}'")
        assert rows == [{"c": sum(tests[operator](time, bound_us) for time in rig.times_us)}]


def test_a_scan_of_many_groups_is_combined_at_once_and_not_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states_module, "STATE_GROUPS_MAX", 5)
    sql = "SELECT n, count(*) AS c FROM logs GROUP BY n"
    fresh, _ = rig.run(sql, cache=False)
    for _ in range(2):
        rows, result = rig.run(sql)
        assert rows == fresh and len(rows) == (SEGMENTS + 2) * ROWS
        assert result.stats.segments_cached == 0 and result.stats.segments_read == SEGMENTS
    assert rig.states.status()["entries"] <= 2  # of the first look, before it was known
    narrow, result = rig.run(BY_SERVICE)
    assert narrow == rig.run(BY_SERVICE)[0] and rig.run(BY_SERVICE)[1].stats.segments_cached == SEGMENTS


@pytest.mark.parametrize("segments", [0, 1, 2, 3])
@pytest.mark.parametrize("batches", [0, 1])
def test_few_segments_or_none(rig: Rig, segments: int, batches: int) -> None:
    held = snapshot_of(rig.snapshot.segments[:segments], rig.snapshot.memtable[:batches])
    for _ in range(2):
        rows, _ = rig.run("SELECT count(*) AS c FROM logs", snapshot=held)
        assert rows == [{"c": (segments + batches) * ROWS}]
        groups, _ = rig.run(BY_SERVICE, snapshot=held)
        assert sum(row["c"] for row in groups) == (segments + batches) * ROWS


def test_states_of_row_groups_chosen_by_index_are_those_of_the_segment(rig: Rig) -> None:
    sql = "SELECT count(*) AS c, sum(n) AS s FROM logs WHERE n BETWEEN 100 AND 104"
    fresh, result = rig.run(sql, cache=False)
    assert fresh == [{"c": 5, "s": 510}] and result.stats.row_groups_pruned + result.stats.segments_pruned > 0
    for _ in range(2):
        assert rig.run(sql)[0] == fresh


@pytest.mark.parametrize(
    "condition",
    ["timestamp BETWEEN '2020-01-01' AND to_timestamp(n)", "timestamp BETWEEN to_timestamp(n + 1e10) AND '2100-01-01'"],
)
def test_a_range_that_depends_on_the_row_is_asked_for_row_by_row(rig: Rig, condition: str) -> None:
    assert rig.run(f"SELECT count(*) AS c FROM logs WHERE {condition}")[0] == [{"c": 0}]
