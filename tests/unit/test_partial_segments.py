"""Parts of remote segments: what is read of them, that it is verified, and that queries see the same rows."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obstore.store
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.clock import SystemClock
from core.errors import Corrupt, NotFound, Unavailable
from query.executor import Executor
from query.merge import run_merge
from query.parse import parse
from query.plan import plan
from query.shape import describe
from query.worker import Worker
from storage import partial_segments
from storage.column_chunks import MAGIC, column_chunks
from storage.fs import LocalFileSystem
from storage.objects import Range
from storage.partial_segments import PartialSegments
from storage.remote_objects import RemoteObjectStore
from storage.segment_index import SegmentIndex, SegmentIndexes
from storage.segment_index_format import IndexContents, decode_index, encode_index
from storage.segment_reader import SegmentFiles
from storage.snapshot import Segment
from tests.support.batches import START_US, memtable_batch
from tests.support.segment_store import SegmentStore, snapshot_of

ROWS, GROUP_ROWS = 20_000, 2_048
EVENTS = {
    ("service", "str"): [f"service {row * 8 // ROWS}" for row in range(ROWS)],
    ("message", "str"): [f"word{row // 2_000} {random.Random(row).randbytes(24).hex()}" for row in range(ROWS)],
    ("n", "int"): [row * 7919 % 100_003 for row in range(ROWS)],
    ("trace", "str"): [random.Random(-row - 1).randbytes(16).hex() for row in range(ROWS)],
}


class Ranged(RemoteObjectStore):
    """Objects in memory that tell what was read of them."""

    def __init__(self) -> None:
        self.store = obstore.store.MemoryStore()
        super().__init__(self.store, SystemClock())
        self.read: list[Range] = []
        self.whole: list[str] = []

    def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        self.read += ranges
        return super().get_ranges(key, ranges)

    def get(self, key: str) -> bytes:
        self.whole.append(key)
        return super().get(key)


class Rig:
    def __init__(self, directory: Path) -> None:
        self.local = SegmentStore(directory / "local", GROUP_ROWS)
        self.objects = Ranged()
        self.cache, self.parts_directory = directory / "cache", directory / "parts"
        self.files = SegmentFiles(self.objects, str(self.cache), 2**30, LocalFileSystem())
        self.indexes = SegmentIndexes(self.objects, 2**26)
        self.parts = self.new_parts()
        self.executor = Executor(threads=2, data_directories=[str(self.cache), str(self.parts_directory)])
        self.near = Executor(threads=2, data_directories=[str(directory / "local")])

    def new_parts(self, bytes_max: int = 2**30) -> PartialSegments:
        return PartialSegments(self.files, self.objects, str(self.parts_directory), bytes_max, LocalFileSystem())

    def write(self, columns: dict[tuple[str, str], list[Any]]) -> Segment:
        rows = len(next(iter(columns.values())))
        (segment,) = self.local.write([memtable_batch(columns, [START_US + row for row in range(rows)])])
        for key in (segment.name, segment.name.removesuffix(".parquet") + ".index"):
            self.objects.put_new(key, (self.local.directory / key).read_bytes())
        return segment

    def index(self, segment: Segment) -> SegmentIndex:
        index = self.indexes.get(segment)
        assert index is not None and index.chunks is not None
        return index

    def rows(self, segments: list[Segment], sql: str, *, remote: bool = True) -> list[dict[str, Any]]:
        snapshot = snapshot_of(segments)
        executor = self.executor if remote else self.near
        worker = (
            Worker(executor, self.files, self.indexes, parts=self.parts)
            if remote
            else Worker(executor, self.local, self.local.indexes)
        )
        planned = plan(parse(sql), {"logs": describe(snapshot)}, executor, now_us=START_US)
        return run_merge(planned, [worker.run_leaf(planned.leaf, {"logs": snapshot})], executor).to_pylist()

    @property
    def bytes_read(self) -> int:
        return sum(length for _, length in self.objects.read)


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    monkeypatch.setattr(partial_segments, "PART_GAP_BYTES", 1_000)  # the files are small
    made = Rig(tmp_path)
    yield made
    made.executor.close()
    made.near.close()


@pytest.fixture(scope="module")
def expected() -> dict[str, list[Any]]:
    return {path: values for (path, _), values in EVENTS.items()}


def test_the_chunks_of_a_file_are_all_of_it_but_magic_and_tail(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    data = pa.py_buffer((rig.local.directory / segment.name).read_bytes())
    chunks, footer = rig.index(segment).chunks, pq.read_metadata(pa.BufferReader(data))
    assert chunks is not None and chunks.bytes.shape == (10, footer.num_columns)
    assert chunks.starts[0, 0] == len(MAGIC) and chunks.tail_start < segment.bytes - footer.serialized_size
    place = footer.row_group(3).column(2)
    assert chunks.starts[3, 2] in (place.dictionary_page_offset, place.data_page_offset)
    again = column_chunks(data, footer)
    assert again is not None and np.array_equal(again.crc32c, chunks.crc32c) and again.tail_crc32c == chunks.tail_crc32c


def test_an_index_without_chunks_and_a_damaged_one(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    index = rig.index(segment)
    contents = IndexContents(index.rows, (), index.chunks)
    with pytest.raises(Corrupt, match="unexpected shape"):
        decode_index(encode_index(contents))  # chunks of columns that are not there
    older = SegmentIndex(decode_index(encode_index(replace(contents, chunks=None))))
    assert older.chunks is None and rig.parts.path(segment, older, ["n"]) is None


QUESTIONS = (
    "SELECT service, count(*) AS c FROM logs GROUP BY 1 ORDER BY 1",
    "SELECT count(*) AS c FROM logs",
    "SELECT sum(n) AS s, min(n) AS low FROM logs WHERE service = 'service 3'",
    "SELECT n FROM logs WHERE n < 100 ORDER BY 1",
    "SELECT service, n FROM logs WHERE message LIKE 'word3 %' ORDER BY n LIMIT 5",
    "SELECT * FROM logs WHERE trace = '{}'",
    "SELECT service, n FROM logs ORDER BY timestamp DESC LIMIT 3",
)


def test_queries_over_parts_give_the_rows_of_the_whole(rig: Rig, expected: dict[str, list[Any]]) -> None:
    segment = rig.write(EVENTS)
    for question in QUESTIONS:
        sql = question.format(expected["trace"][12_345])
        rows = rig.rows([segment], sql)
        assert rows == rig.rows([segment], sql, remote=False) and rows, sql
    assert segment.name not in rig.objects.whole, "the whole segment was read"
    assert 0 < rig.bytes_read < segment.bytes / 2


def test_a_part_is_read_once_and_grows_by_what_is_missing(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    rig.rows([segment], "SELECT sum(n) AS s FROM logs")
    first = rig.bytes_read
    rig.rows([segment], "SELECT max(n) AS s FROM logs")
    assert rig.bytes_read == first
    rig.rows([segment], "SELECT max(n) AS s, count(service) AS c FROM logs")
    assert first < rig.bytes_read < 2 * first
    (file,) = rig.parts_directory.iterdir()
    status = file.stat()
    assert status.st_size == segment.bytes and status.st_blocks * 512 < segment.bytes / 2


def test_only_the_row_groups_that_may_match_are_read(rig: Rig, expected: dict[str, list[Any]]) -> None:
    segment = rig.write(EVENTS)
    trace = expected["trace"][7]
    assert rig.rows([segment], f"SELECT message FROM logs WHERE trace = '{trace}'") == [
        {"message": expected["message"][7]}
    ]
    index = rig.index(segment)
    assert index.chunks is not None
    read = [index.names.index(name) for name in ("trace", "message")]
    of_groups = index.chunks.bytes[:, read].sum(axis=1)
    tail = segment.bytes - index.chunks.tail_start
    assert rig.bytes_read <= of_groups.max() + index.chunks.bytes.sum(axis=1).max() + tail
    assert rig.bytes_read < of_groups.sum() / 2 + tail


def test_much_of_a_segment_is_read_as_a_whole_and_then_nothing_more(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    everything = rig.rows([segment], "SELECT message, trace, n FROM logs ORDER BY n, trace")
    assert everything == rig.rows([segment], "SELECT message, trace, n FROM logs ORDER BY n, trace", remote=False)
    assert segment.name in rig.objects.whole and rig.objects.read == []
    rig.rows([segment], "SELECT sum(n) AS s FROM logs")
    assert rig.objects.read == []


def test_a_path_named_like_the_engines_row_number(rig: Rig) -> None:
    columns = {**EVENTS, ("File_Row_Number", "int"): [5] * ROWS}
    segment = rig.write(columns)
    sql = "SELECT sum(n) AS s, max(File_Row_Number) AS m FROM logs WHERE service = 'service 3'"
    assert rig.rows([segment], sql) == rig.rows([segment], sql, remote=False)
    assert rig.objects.read and segment.name not in rig.objects.whole


@pytest.mark.parametrize("where", ["chunk", "tail", "short"])
def test_damage_is_found_and_never_answered(rig: Rig, where: str) -> None:
    segment = rig.write(EVENTS)
    index = rig.index(segment)
    assert index.chunks is not None
    data = bytearray((rig.local.directory / segment.name).read_bytes())
    place = int(index.chunks.starts[4, index.names.index("n")]) + 9 if where == "chunk" else len(data) - 100
    data[place] ^= 1
    obstore.put(rig.objects.store, segment.name, bytes(data[:-50] if where == "short" else data))
    with pytest.raises(Exception, match=r"damaged in|cannot read") as caught:
        rig.rows([segment], "SELECT sum(n) AS s FROM logs")
    if where == "chunk":
        assert isinstance(caught.value, Corrupt) and "column 'n' of row group 4" in str(caught.value)
        assert rig.rows([segment], "SELECT count(service) AS c FROM logs") == [{"c": ROWS}]
    with pytest.raises(Exception, match=r"damaged in|cannot read"):
        rig.rows([segment], "SELECT sum(n) AS s FROM logs")


def test_an_object_that_is_gone(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    rig.index(segment)
    rig.objects.delete([segment.name])
    with pytest.raises(NotFound):
        rig.rows([segment], "SELECT sum(n) AS s FROM logs")


def test_the_least_recently_used_parts_are_removed_and_read_again(rig: Rig) -> None:
    segments = [rig.write({**EVENTS, ("number", "int"): [number] * ROWS}) for number in range(4)]
    sql = "SELECT sum(n) AS s, max(number) AS m FROM logs"
    rig.rows(segments[:1], sql)
    rig.parts = rig.new_parts(int(rig.bytes_read * 2.5))
    for segment in (segments[0], segments[1], segments[0], segments[2]):
        rig.rows([segment], sql)
    assert len(list(rig.parts_directory.iterdir())) == 2
    read = rig.bytes_read
    rig.rows([segments[0], segments[2]], sql)
    assert rig.bytes_read == read
    assert rig.rows([segments[1]], sql) == rig.rows([segments[1]], sql, remote=False)
    assert rig.bytes_read > read


def test_what_an_earlier_process_left_is_removed(rig: Rig) -> None:
    segment = rig.write(EVENTS)
    rig.rows([segment], "SELECT sum(n) AS s FROM logs")
    (file,) = rig.parts_directory.iterdir()
    file.write_bytes(b"\0" * segment.bytes)
    rig.parts = rig.new_parts()
    assert rig.rows([segment], "SELECT min(n) AS s FROM logs") == [{"s": min(EVENTS["n", "int"])}]


def test_a_disk_that_is_full_for_a_while(rig: Rig) -> None:
    class Full(LocalFileSystem):
        full = True

        def write_range(self, path: str, start: int, data: bytes | memoryview) -> None:
            if self.full and start:
                raise OSError(errno.ENOSPC, "No space left on device")
            super().write_range(path, start, data)

    segment, fs = rig.write(EVENTS), Full()
    rig.parts = PartialSegments(rig.files, rig.objects, str(rig.parts_directory), 2**30, fs)
    with pytest.raises(Unavailable, match="No space left"):
        rig.rows([segment], "SELECT min(n) AS s FROM logs")
    assert list(rig.parts_directory.iterdir()) == []
    fs.full = False
    assert rig.rows([segment], "SELECT min(n) AS s FROM logs") == [{"s": min(EVENTS["n", "int"])}]


def test_threads_that_ask_at_once(rig: Rig) -> None:
    segments = [rig.write({**EVENTS, ("number", "int"): [number] * ROWS}) for number in range(3)]
    rig.parts = rig.new_parts(300_000)  # of about two of them
    questions = [question for question in QUESTIONS if "*" not in question]
    expected = {question: rig.rows(segments, question, remote=False) for question in questions}
    wrong: list[str] = []

    def ask(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            question = rng.choice(questions)
            try:
                if rig.rows(segments, question) != expected[question]:
                    wrong.append(question)
            except BaseException as error:
                wrong.append(f"{question}: {error!r}")

    threads = [threading.Thread(target=ask, args=[seed]) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # A file that is removed between the look and the read is the only thing that may go wrong: for the caller to retry.
    assert [text for text in wrong if "Unavailable" not in text] == []
