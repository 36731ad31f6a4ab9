"""Input files: what they are by their bytes, streamed, with exact positions, and typed errors that name them."""

import gzip
import io
import json
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lz4.frame
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidRequest, NotFound
from core.limits import BATCH_ROWS_TARGET
from ingest.input_files import JsonUnit, TableUnit, open_events, shred_unit
from ingest.json_lines import blocks
from ingest.shred import ShredSettings
from ingest.unshred import unshred

NOW = 1_700_000_000_000_000
LINES = b"".join(b'{"n":%d,"s":"text %d"}\n' % (i, i % 7) for i in range(5000))
CODECS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": partial(lz4.frame.compress, content_checksum=True),
}


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def events(units: Iterator[Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for unit in units:
        shredded = shred_unit(unit, ShredSettings(), ingest_time_us=NOW)
        assert shredded.rejected == ()
        found += unshred(shredded.batch)
    return found


def table(rows: int = 5000) -> pa.Table:
    return pa.table({"n": range(rows), "s": [f"text {i % 7}" for i in range(rows)]})


EVENTS = [json.loads(line) for line in LINES.splitlines()]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("members", [1, 2])
def test_compressed_by_content_whatever_the_name(tmp_path: Path, codec: str, members: int) -> None:
    half = len(LINES) if members == 1 else LINES.index(b"\n", len(LINES) // 2) - 3  # a member ends inside a line
    data = CODECS[codec](LINES[:half]) + (CODECS[codec](LINES[half:]) if members == 2 else b"")
    path = write(tmp_path, "events.anything", data)
    units = list(open_events(path, block_bytes=10_000))
    assert len(units) > 5
    assert b"".join(unit.block.data for unit in units if isinstance(unit, JsonUnit)) == LINES
    assert [unit.progress_bytes for unit in units] == sorted(unit.progress_bytes for unit in units)
    assert units[-1].progress_bytes == len(data)
    assert events(iter(units)) == EVENTS


@pytest.mark.parametrize("codec", ["gzip", "zstd", "lz4"])
def test_a_cut_or_damaged_file_is_an_error_that_names_it(tmp_path: Path, codec: str) -> None:
    noise = random.Random(5).randbytes(30_000).hex().encode()
    whole = CODECS[codec](b'{"a":"' + noise + b'"}\n')
    for number, data in enumerate((whole[: len(whole) // 2], whole[:-3])):
        path = write(tmp_path, f"cut{number}", data)
        with pytest.raises(InvalidRequest, match=f"cannot read '.*cut{number}'"):
            list(open_events(path))
    middle = len(whole) // 2
    damaged = whole[:middle] + bytes(64) + whole[middle + 64 :]
    with pytest.raises(InvalidRequest, match=r"cannot read '.*damaged'"):
        list(open_events(write(tmp_path, "damaged", damaged)))


def test_a_bomb_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.decompress.DECOMPRESSED_FREE_BYTES", 1_000_000)
    monkeypatch.setattr("ingest.decompress.DECOMPRESSION_RATIO_MAX", 500)
    path = write(tmp_path, "bomb", zstandard.compress(b"\n" * 100_000_000))
    with pytest.raises(InvalidRequest, match="times its size"):
        list(open_events(path))


def test_parquet_and_arrow(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "p", row_group_size=700)
    with pa.ipc.new_file(tmp_path / "f", table().schema) as writer:
        writer.write_table(table(), max_chunksize=600)
    with pa.ipc.new_stream(tmp_path / "s", table().schema) as writer:
        writer.write_table(table(), max_chunksize=600)
    for name in "pfs":
        units = list(open_events(tmp_path / name))
        assert all(isinstance(unit, TableUnit) for unit in units)
        assert units[-1].progress_bytes == (tmp_path / name).stat().st_size
        assert events(iter(units)) == EVENTS


def test_large_arrow_batches_are_cut(tmp_path: Path) -> None:
    rows = 2 * BATCH_ROWS_TARGET + 1
    with pa.ipc.new_file(tmp_path / "f", table().schema) as writer:
        writer.write_batch(table(rows).to_batches()[0])
    sizes = [unit.batch.num_rows for unit in open_events(tmp_path / "f") if isinstance(unit, TableUnit)]
    assert sizes == [BATCH_ROWS_TARGET, BATCH_ROWS_TARGET, 1]


def test_arrow_buffers_from_outside_are_checked(tmp_path: Path) -> None:
    unsound = pa.StringArray.from_buffers(2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"a\xff"))
    with pa.ipc.new_stream(tmp_path / "s", pa.schema({"a": pa.string()})) as writer:
        writer.write_batch(pa.record_batch({"a": unsound}))
    with pytest.raises(InvalidRequest, match="UTF8"):
        list(open_events(tmp_path / "s"))


def test_standard_input(tmp_path: Path) -> None:
    for data in (LINES, gzip.compress(LINES)):
        stdin = io.BytesIO(data)
        assert events(open_events("-", stdin=stdin)) == EVENTS
        assert not stdin.closed
    pq.write_table(table(), tmp_path / "p")
    with pytest.raises(InvalidRequest, match="cannot come from a pipe"):
        list(open_events("-", stdin=io.BytesIO((tmp_path / "p").read_bytes())))


def test_text_lines_become_messages(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbfstarted\r\n\n  indented \n{"a":1}\n\xffbroken\n \nlast'
    for block_bytes in (10, 1000):
        units = open_events(write(tmp_path, "raylet.log", data), text=True, block_bytes=block_bytes)
        assert [event["message"] for event in events(units)] == ["started", "  indented ", '{"a":1}', "�broken", "last"]


def test_text_lines_are_never_cut_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.json_lines.RECORD_BYTES_MAX", 100)
    monkeypatch.setattr("ingest.input_files.RECORD_BYTES_MAX", 100)
    with pytest.raises(InvalidRequest, match="line 2 is longer than 100 bytes"):
        list(open_events(write(tmp_path, "log", b"a\n" + b"x" * 5000 + b"\nb\n"), text=True, block_bytes=20))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"BZh91AY&SY", "bzip2 is not read"),
        (b"\xff\xfe{\0}\0", "utf-16 is not read"),
        (b"PAR1 and nothing", ""),
        (b"ARROW1\0\0 and nothing", ""),
        (b"\xff\xff\xff\xff and nothing", ""),
        (gzip.compress(b"PAR1"), "compressed parquet"),
    ],
)
def test_unreadable_files(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InvalidRequest, match=f"cannot read '.*input': .*{reason}"):
        list(open_events(write(tmp_path, "input", data)))


def test_missing_file_folder_and_empty_file(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file '.*absent'"):
        open_events(tmp_path / "absent")
    with pytest.raises(InvalidRequest, match="cannot read"):
        open_events(tmp_path)
    assert list(open_events(write(tmp_path, "empty", b""))) == []
    assert list(open_events(write(tmp_path, "empty.gz", gzip.compress(b"")))) == []


@settings(deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=40)), st.integers(1, 100), st.integers(1, 20), st.integers(5, 60))
def test_blocks_cover_the_stream_with_exact_positions(
    pieces: list[bytes], block_bytes: int, read_bytes: int, longest: int
) -> None:
    data = b"\n".join(pieces)

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, read_bytes))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.json_lines.RECORD_BYTES_MAX", longest)
        found = list(blocks(Trickle(data), block_bytes))
    seen: dict[int, bytes] = {}
    for block, first_line, first_byte in found:
        assert data[first_byte : first_byte + len(block)] == block
        assert data[:first_byte].count(b"\n") == first_line - 1
        assert first_byte == 0 or data[first_byte - 1 : first_byte] == b"\n"
        lines = block.split(b"\n")
        for number, line in enumerate(lines[:-1] if block.endswith(b"\n") else lines, start=first_line):
            assert number not in seen
            seen[number] = line
    for number, line in enumerate(data.split(b"\n"), start=1):
        if line:
            assert seen[number] == line or (len(line) > longest < len(seen[number]) and line.startswith(seen[number]))
