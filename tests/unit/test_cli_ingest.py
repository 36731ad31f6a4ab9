"""`malamute ingest` without a deployment: what is read, counted and rejected, and resuming after a crash."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from core.append import Ack
from core.clock import ManualClock
from core.errors import InvalidRequest
from ingest.sender import Sent
from ingest.shred import ShredSettings
from malamute import file_ingest
from malamute.file_ingest import Position, Tally, ingest_file, remaining, total_bytes


class Source:
    """A shard of one named producer: keeps what it was sent, and dies after `deaths` batches."""

    def __init__(self) -> None:
        self.values: list[int] = []
        self.position: bytes | None = None
        self.progress: list[int] = []
        self.tally = Tally()
        self.lives = 10**9

    def send(self, batch: pa.RecordBatch, position: bytes | None) -> None:
        if self.lives == 0:
            raise ConnectionError("killed")
        self.lives -= 1
        name = "n" if "n" in batch.schema.names else "message"
        self.values += batch.column(name).to_pylist()
        self.position = position
        self.tally.count(Sent(batch.num_rows, Ack(0, 1, 0, 0, "local", False), 0.0))

    def ingest(self, files: Sequence[Path], *, text: bool = False, resumable: bool = True) -> None:
        for file, begin in remaining([str(file) for file in files], self.position):
            ingest_file(
                file,
                begin,
                self.send,
                ShredSettings(),
                ManualClock(),
                self.tally,
                text=text,
                resumable=resumable,
                on_progress=self.progress.append,
            )


def _lines(numbers: Sequence[int]) -> str:
    return "".join(json.dumps({"n": number}) + "\n" for number in numbers)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_ingest, "RESUMABLE_BLOCK_BYTES", 100)


def test_files_are_sent_in_order_and_counted(tmp_path: Path) -> None:
    first, second = tmp_path / "a.ndjson", tmp_path / "b.ndjson.gz"
    first.write_text(_lines(range(50)))
    second.write_bytes(gzip.compress(_lines(range(50, 100)).encode()))
    source = Source()
    source.ingest([first, second], resumable=False)
    assert source.values == list(range(100))
    assert source.position is None
    assert (source.tally.accepted, source.tally.rejected, source.tally.timestamps_missing) == (100, 0, 100)
    assert total_bytes([str(first), str(second)]) == sum(file.stat().st_size for file in (first, second))
    assert total_bytes([str(first), "-"]) is None
    assert first.stat().st_size in source.progress and second.stat().st_size in source.progress


def test_rejected_lines_are_named_and_the_others_kept(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text(_lines(range(30)) + "".join("{bad\n" for _ in range(15)) + _lines([30]))
    source = Source()
    source.ingest([file])
    assert source.values == list(range(31))
    assert source.tally.rejected == 15
    assert [(name, line) for name, line, _ in source.tally.reasons] == [(str(file), line) for line in range(31, 41)]


@pytest.mark.parametrize("deaths", range(8))
def test_a_named_producer_goes_on_where_it_was_killed(tmp_path: Path, deaths: int) -> None:
    first, second = tmp_path / "a.ndjson", tmp_path / "b.ndjson"
    first.write_text(_lines(range(40)))
    second.write_text(_lines(range(40, 80)))
    source = Source()
    source.lives = deaths
    with pytest.raises(ConnectionError):
        source.ingest([first, second])
    source.lives = 10**9
    source.ingest([first, second])
    source.ingest([first, second])
    assert source.values == list(range(80))


def test_a_file_that_grew_gives_only_what_is_new(tmp_path: Path) -> None:
    file = tmp_path / "a.ndjson"
    file.write_text(_lines(range(25)))
    source = Source()
    source.ingest([file])
    with file.open("a") as more:
        more.write("{bad\n" + _lines(range(25, 60)))
    source.ingest([file])
    assert source.values == list(range(60))
    assert [line for _, line, _ in source.tally.reasons] == [26]


def test_tables_and_text_are_resumed_by_rows(tmp_path: Path) -> None:
    text, table = tmp_path / "a.log", tmp_path / "a.arrow"
    text.write_text("".join(f"line {number}\n" for number in range(40)))
    with pa.OSFile(str(table), "wb") as sink, pa.ipc.new_file(sink, pa.schema({"n": pa.int64()})) as writer:
        for start in range(0, 40, 10):
            writer.write_batch(pa.record_batch({"n": pa.array(range(start, start + 10), pa.int64())}))
    for file, is_text, expected in (
        (text, True, [f"line {number}" for number in range(40)]),
        (table, False, list(range(40))),
    ):
        source = Source()
        source.lives = 2
        with pytest.raises(ConnectionError):
            source.ingest([file], text=is_text)
        source.lives = 10**9
        source.ingest([file], text=is_text)
        assert source.values == expected


def test_only_files_after_the_position_are_left(tmp_path: Path) -> None:
    names = [str(tmp_path / name) for name in "abc"]
    assert remaining(names, None) == [(name, 0) for name in names]
    assert remaining(names, Position(names[1], 7).encode()) == [(names[1], 7), (names[2], 0)]
    assert remaining(names[1:], Position(names[0], 7).encode()) == [(names[1], 0), (names[2], 0)]
    with pytest.raises(InvalidRequest, match="standard input"):
        remaining(["-"], Position(names[0], 7).encode())


@pytest.mark.parametrize("stored", [b"line 4711", b"\xff\xfe", b"[1]", b'{"file": "x"}'])
def test_a_position_of_another_program_is_refused(stored: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not left by 'malamute ingest'"):
        remaining(["a"], stored)
