"""The index of a segment: never hides a row, says what the rows say, refused when damaged, kept within bounds."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import re
import threading
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from core.batch import OFFSET, TIMESTAMP
from core.clock import ManualClock
from core.columns import ColumnKey, field_of
from core.errors import Corrupt, NotFound, Unavailable
from core.ids import ShardId
from storage.envelope import seal
from storage.fs import LocalFileSystem
from storage.keys import index_key
from storage.local_objects import LocalObjectStore
from storage.objects import ObjectStore
from storage.remote_objects import RemoteObjectStore
from storage.segment_index import SegmentIndex, SegmentIndexes, Zone
from storage.segment_index_format import (
    FORMAT_VERSION,
    MAGIC,
    ColumnIndex,
    IndexContents,
    decode_index,
    encode_index,
)
from storage.segment_index_writer import build_index, column_stats
from storage.segment_writer import write_segments
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.tokens import tokens
from tests.support.batches import START_US, log_batch, memtable_batch
from tests.support.faultfs import Fault, FaultFileSystem
from tests.unit.test_segment_merge import random_batches

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats" / "segment_index.md"


def table_of(**columns: pa.Array) -> pa.Table:
    """Columns as name or name__kind."""
    fields = []
    for name, array in columns.items():
        path, _, kind = name.partition("__")
        fields.append(field_of(path, ColumnKey(path, kind or "str"), array.type))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def index_of(table: pa.Table, row_group_rows: int) -> SegmentIndex:
    return SegmentIndex(decode_index(encode_index(build_index(table, row_group_rows))))


def write(objects: ObjectStore, count: int = 1, rows: int = 200) -> list[Segment]:
    numbers = itertools.count()
    segments: list[Segment] = []
    for seed in range(count):
        segments += write_segments(
            [log_batch(rows, seed)],
            "default",
            StreamSettings("logs"),
            ShardId(0),
            new_name=lambda: f"00000001-{next(numbers):08d}",
            objects=objects,
        )
    return segments


def remote() -> RemoteObjectStore:
    return RemoteObjectStore(MemoryStore(), ManualClock())


# --- what it says -----------------------------------------------------------------------------------------------------

TEXTS = st.lists(st.one_of(st.none(), st.text(alphabet="aB_1 -é日", max_size=12)), min_size=1, max_size=40)


@given(TEXTS, st.integers(1, 9), st.booleans(), st.integers(0, 10))
@settings(max_examples=300, deadline=None)
def test_no_token_of_any_row_is_denied(texts: list[str | None], group: int, dictionary: bool, head: int) -> None:
    array = pa.array(texts, pa.string())
    array = (array.dictionary_encode() if dictionary else array).slice(min(head, len(texts) - 1))
    texts = array.to_pylist()
    index = index_of(table_of(m=array), group)
    assert sum(index.rows) == len(texts)
    for number, start in enumerate(range(0, len(texts), group)):
        rows = [text for text in texts[start : start + group] if text is not None]
        for text in rows:
            assert index.may_hold_tokens("m", tokens(text))[number]
        assert index.may_hold_tokens("m", [])[number] == bool(rows)
        zone = index.zone("m")[number]
        assert zone.values == len(rows)
        assert all(zone.minimum <= text <= zone.maximum for text in rows)


def test_it_tells_row_groups_apart() -> None:
    index = index_of(table_of(m=pa.array(["connection refused", "timeout", None, None, "--", ""])), 2)
    assert index.may_hold_tokens("m", ["refused"]).tolist() == [True, False, False]
    assert index.may_hold_tokens("m", ["connection", "timeout"]).tolist() == [True, False, False]  # not of one row
    assert index.may_hold_tokens("m", ["connection", "reset"]).tolist() == [False, False, False]
    assert index.may_hold_tokens("m", []).tolist() == [True, False, True]
    assert index.may_hold_tokens("other", ["refused"]).tolist() == [True] * 3
    assert index.zone("other") is None


def test_a_column_without_a_filter_may_hold_anything_where_it_holds_something() -> None:
    table = table_of(n__int=pa.array([1, 2, None]), tags__list=pa.array([["x"], None, None]))
    index = index_of(table, 1)
    assert index.may_hold_tokens("n", ["7"]).tolist() == [True, True, False]
    assert index.may_hold_tokens("tags", ["7"]).tolist() == [True, False, False]
    assert index.zone("tags") == (Zone(1, None, None), Zone(0, None, None), Zone(0, None, None))


def test_a_dropped_filter_may_hold_anything() -> None:
    contents = IndexContents((5, 5), (ColumnIndex("m", (5, 0), blooms=(None, None)),))
    index = SegmentIndex(decode_index(encode_index(contents)))
    assert index.may_hold_tokens("m", ["x"]).tolist() == [True, False]


def test_entries_of_a_dictionary_that_a_row_group_does_not_use_are_not_in_it() -> None:
    array = pa.array(["a", "b", "a", "c", None, "c"]).dictionary_encode()
    index = index_of(table_of(m=array), 2)
    assert [index.may_hold_tokens("m", [token]).tolist() for token in "abc"] == [
        [True, True, False],
        [True, False, False],
        [False, True, True],
    ]
    assert index.zone("m") == (Zone(2, "a", "b"), Zone(2, "a", "c"), Zone(1, "c", "c"))


def test_zones_follow_the_rules_of_the_zone_map() -> None:
    nan, day = float("nan"), 86_400_000_000
    times = pa.array([day, None, 0, 5], pa.int64()).cast(pa.timestamp("us", "UTC"))
    table = table_of(
        f__float=pa.array([1.5, -2.0, nan, 1.0]),
        b__bool=pa.array([True, True, None, None]),
        u__uint=pa.array([2**64 - 1, 0, 1, 1], pa.uint64()),
        at__time=times,
        m=pa.array(["b" * 100, "a" * 100, "", None]),
        j__json=pa.array(['{"k":"V w"}', None, None, "[]"]),
        d__decimal=pa.array(["1.50", None, None, None]),
        x__bin=pa.array([b"a", b"b", None, None]),
    )
    contents = build_index(table, 2)
    index = SegmentIndex(contents)
    assert index.zone("f") == (Zone(2, -2.0, 1.5), Zone(2, None, None))
    assert index.zone("b") == (Zone(2, True, True), Zone(0, None, None))
    assert index.zone("u") == (Zone(2, 0, 2**64 - 1), Zone(2, 1, 1))
    assert index.zone("at") == (Zone(1, day, day), Zone(2, 0, 5))
    assert index.zone("m") == (Zone(2, "a" * 64, "b" * 63 + "c"), Zone(1, "", ""))
    assert index.zone("j") == (Zone(1, None, None), Zone(1, None, None))
    assert index.zone("x") == (Zone(2, None, None), Zone(0, None, None))
    assert index.may_hold_tokens("j", ["k", "v"]).tolist() == [True, False]
    assert index.may_hold_tokens("d", ["50"]).tolist() == [True, False]
    # The whole segment's zone map is that of its row groups together.
    found = {stats.name: (stats.values, stats.minimum, stats.maximum) for stats in column_stats(table.schema, contents)}
    assert found["f"] == (4, None, None) and found["b"] == (2, True, True) and found["at"] == (3, 0, day)
    assert found["m"] == (3, "", "b" * 63 + "c") and found["j"] == (2, None, None)


@pytest.mark.parametrize("seed", range(3))
def test_the_index_of_a_written_segment_fits_its_file(seed: int, tmp_path: Path) -> None:
    store = LocalObjectStore(str(tmp_path), LocalFileSystem())
    batches = random_batches(seed, 60, 4)
    [segment] = write_segments(
        batches, "default", StreamSettings("logs"), ShardId(0), new_name=lambda: "1", objects=store
    )
    index = SegmentIndexes(store, 10**9).get(segment)
    assert index is not None
    file = pq.ParquetFile(store.local_path(segment.name))
    assert index.rows == tuple(file.metadata.row_group(g).num_rows for g in range(file.metadata.num_row_groups))
    table = file.read()
    for stats in segment.columns:
        [zone] = index.zone(stats.name)
        assert zone == Zone(stats.values, stats.minimum, stats.maximum)
        for value in table.column(stats.name).to_pylist():
            if isinstance(value, str):
                assert index.may_hold_tokens(stats.name, tokens(value)).all()
    assert index.zone(OFFSET) == (Zone(segment.rows, segment.first_offset, segment.last_offset),)
    assert index.zone(TIMESTAMP) == (Zone(segment.rows, segment.timestamp_min_us, segment.timestamp_max_us),)


def test_several_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.segment_writer.ROW_GROUP_ROWS", 64)
    store = LocalObjectStore(str(tmp_path), LocalFileSystem())
    [segment] = write(store)
    index = SegmentIndexes(store, 10**9).get(segment)
    assert index is not None and index.rows == (64, 64, 64, 8)
    file = pq.ParquetFile(store.local_path(segment.name))
    for number in range(4):
        rows = file.read_row_group(number)
        for name in ("message", "trace_id", "service"):
            texts = rows.column(name).to_pylist()
            assert all(index.may_hold_tokens(name, tokens(text))[number] for text in texts)
            zone = index.zone(name)[number]
            assert (zone.minimum, zone.maximum) == (min(texts), max(texts))
    [needle] = tokens(file.read_row_group(2).column("trace_id")[5].as_py())
    assert index.may_hold_tokens("trace_id", [needle]).sum() == 1  # this one; a false positive is another seed


# --- bytes ------------------------------------------------------------------------------------------------------------


def example() -> IndexContents:
    """The index of the worked example in docs/formats/segment_index.md."""
    at = pa.array([START_US, START_US + 1, START_US + 2], pa.int64()).cast(pa.timestamp("us", "UTC"))
    table = table_of(at__time=at, message=pa.array(["Disk full", "disk ok", None]), n__int=pa.array([None, 7, None]))
    return build_index(table, 2)


def test_the_worked_example_of_the_page() -> None:
    blocks = re.findall(r"```hex\n(.*?)```", PAGE.read_text(), re.S)
    shown = bytes.fromhex("".join(line.split("  ", 1)[1].split("  ")[0] for line in blocks[0].splitlines()))
    assert shown == encode_index(example())
    assert decode_index(shown) == example()


def test_round_trip_of_every_bound() -> None:
    values: list[Any] = [None, True, 0, -(2**63), 2**64 - 1, 1.5, float("inf"), "", "é\x00\U0001f600"]
    columns = tuple(ColumnIndex(f"c{i}", (i,), (v,), (v,), (bytes(32 * i), None)[:1]) for i, v in enumerate(values))
    contents = IndexContents((9,), columns)
    assert decode_index(encode_index(contents)) == contents
    assert decode_index(encode_index(IndexContents((), ()))) == IndexContents((), ())


def test_each_flipped_byte_and_each_cut_is_detected() -> None:
    data = encode_index(example())
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            with pytest.raises(Corrupt, match="index of x"):
                decode_index(bytes(damaged), "index of x")
    for length in range(len(data)):
        with pytest.raises(Corrupt):
            decode_index(data[:length])
    with pytest.raises(Corrupt):
        decode_index(data + b"\0")


def test_a_newer_format_is_refused_clearly() -> None:
    with pytest.raises(Corrupt, match="format version 2, this release reads up to 1: upgrade"):
        decode_index(seal(MAGIC, FORMAT_VERSION + 1, {}))


GOOD = ["m", [1], ["a"], ["b"], [1]]


@pytest.mark.parametrize(
    "header",
    [
        None,
        [],
        {},
        {"rows": 5},
        {"rows": [True]},
        {"rows": [-1]},
        {"rows": [1.5]},
        {"columns": [GOOD[:4]]},
        {"columns": [[7, *GOOD[1:]]]},
        {"columns": [["m", [1, 1], *GOOD[2:]]]},
        {"columns": [["m", [2], *GOOD[2:]]]},  # more values than rows
        {"columns": [["m", [1], ["a"], [], [1]]]},
        {"columns": [["m", [1], ["a", "b"], ["a", "b"], [1]]]},
        {"columns": [["m", [1], [["a"]], ["b"], [1]]]},
        {"columns": [["m", [1], ["a"], ["b"], [2]]]},  # more blocks than there are
        {"columns": [["m", [1], ["a"], ["b"], [0]]]},  # fewer
        {"columns": [["m", [1], ["a"], ["b"], [-1]]]},
        {"columns": [["m", [1], ["a"], ["b"], ["1"]]]},
        {"columns": [["m", [1], ["a"], ["b"], 1]]},
        {"columns": 5},
        {"columns": [GOOD, ["n", *GOOD[1:]]]},
        {"columns": [GOOD, ["m", [1], [], [], []]]},  # the same name twice
    ],
)
def test_a_header_of_another_shape_is_corrupt(header: Any) -> None:
    filters = bytes(range(32))
    if isinstance(header, dict) and header:
        sums = {"filter_bytes": len(filters), "filter_crc32c": google_crc32c.value(filters)}
        header = {"rows": [1], "columns": [GOOD], **sums, **header}
    with pytest.raises(Corrupt, match="unexpected shape"):
        decode_index(seal(MAGIC, FORMAT_VERSION, header) + filters)


# --- the loader -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["local", "remote"])
def test_an_index_is_read_once(kind: str, tmp_path: Path) -> None:
    store = remote() if kind == "remote" else LocalObjectStore(str(tmp_path), LocalFileSystem())
    [segment] = write(store)
    indexes = SegmentIndexes(store, 10**6)
    first = indexes.get(segment)
    assert first is not None and first.rows == (200,) and indexes.get(segment) is first
    assert (indexes.hits, indexes.misses) == (1, 1) and 0 < indexes.bytes <= 10**6


def test_a_segment_that_was_written_without_has_none() -> None:
    store = remote()
    [segment] = write(store)
    store.delete([index_key(segment.name)])
    assert SegmentIndexes(store, 10**6).get(dataclasses.replace(segment, index_bytes=0, index_crc32c=0)) is None


def test_a_missing_index_is_named(tmp_path: Path) -> None:
    for store in (remote(), LocalObjectStore(str(tmp_path), LocalFileSystem())):
        [segment] = write(store)
        store.delete([index_key(segment.name)])
        with pytest.raises(NotFound, match=f"index {index_key(segment.name)}"):
            SegmentIndexes(store, 10**6).get(segment)


def test_an_index_that_cannot_be_read_now_is_unavailable(tmp_path: Path) -> None:
    fs = FaultFileSystem(LocalFileSystem(), [Fault("read", 1, errno.EIO)])
    store = LocalObjectStore(str(tmp_path), fs)
    [segment] = write(store)
    indexes = SegmentIndexes(store, 10**6)
    with pytest.raises(Unavailable):
        indexes.get(segment)
    assert indexes.get(segment) is not None


def test_any_other_bytes_than_the_published_are_corrupt(tmp_path: Path) -> None:
    store = LocalObjectStore(str(tmp_path), LocalFileSystem())
    one, two = write(store, 2, rows=5)
    file = Path(store.local_path(index_key(one.name)))
    intact, other = file.read_bytes(), Path(store.local_path(index_key(two.name))).read_bytes()
    damaged = [intact[:place] + bytes([intact[place] ^ 1 << place % 8]) + intact[place + 1 :] for place in range(300)]
    for content in (*damaged, intact[:-1], intact + b"\0", b"", other):
        file.write_bytes(content)
        indexes = SegmentIndexes(store, 10**6)
        with pytest.raises(Corrupt, match="published were"):
            indexes.get(one)
        assert indexes.bytes == 0
    file.write_bytes(intact)
    assert SegmentIndexes(store, 10**6).get(one) is not None


def test_an_index_of_other_rows_than_the_segment_is_corrupt() -> None:
    store = remote()
    [segment] = write(store)
    with pytest.raises(Corrupt, match="200 rows, its segment has 199"):
        SegmentIndexes(store, 10**6).get(dataclasses.replace(segment, rows=199))


def test_memory_stays_within_the_bound() -> None:
    store = remote()
    segments = write(store, 4)
    indexes = SegmentIndexes(store, 10**9)
    indexes.get(segments[0])
    size = indexes.bytes
    bounded = SegmentIndexes(store, int(size * 3.5))
    for segment in segments[:3]:
        bounded.get(segment)
    bounded.get(segments[0])  # now the second is the least recently used
    bounded.get(segments[3])
    assert bounded.bytes <= size * 3.5 and (bounded.hits, bounded.misses) == (1, 4)
    bounded.get(segments[0])
    bounded.get(segments[1])
    assert (bounded.hits, bounded.misses) == (2, 5)
    none = SegmentIndexes(store, 0)
    assert none.get(segments[0]) is not None and none.bytes == 0


def test_threads_share_one_read() -> None:
    store = remote()
    segments = write(store, 3)
    indexes = SegmentIndexes(store, 10**9)
    found: list[tuple[str, SegmentIndex | None]] = []

    def read() -> None:
        found.extend((segment.name, indexes.get(segment)) for segment in segments)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({(name, id(index)) for name, index in found}) == 3
    assert (indexes.misses, indexes.hits) == (3, 21)


# --- beside the segment -----------------------------------------------------------------------------------------------


def test_what_the_manifest_says_of_it() -> None:
    store = remote()
    [segment] = write(store)
    data = store.get(index_key(segment.name))
    assert (segment.index_bytes, segment.index_crc32c) == (len(data), google_crc32c.value(data))
    assert [info.key for info in store.list("shards/")] == [index_key(segment.name), segment.name]
    assert index_key("a/b-1.parquet") == "a/b-1.index"


def test_a_flush_without_texts_has_an_index(tmp_path: Path) -> None:
    store = LocalObjectStore(str(tmp_path), LocalFileSystem())
    batch = memtable_batch({("n", "int"): np.arange(5).tolist()}, [START_US] * 5)
    [segment] = write_segments([batch], "t", StreamSettings("logs"), ShardId(0), new_name=lambda: "1", objects=store)
    index = SegmentIndexes(store, 10**6).get(segment)
    assert index is not None and index.zone("n") == (Zone(5, 0, 4),)
