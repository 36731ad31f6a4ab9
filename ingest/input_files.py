"""Owns the reading of events from files and standard input, in units that can be shredded and counted.

Says what a file is by its bytes, not by its name. Never shreds while reading, never holds more than a few units.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import InvalidRequest, NotFound
from core.limits import BATCH_BYTES_TARGET, BATCH_ROWS_TARGET, RECORD_BYTES_MAX
from ingest.decompress import (
    ARROW_FILE,
    ARROW_STREAM,
    NDJSON,
    PARQUET,
    Decompressed,
    Source,
    format_of,
    read_head,
)
from ingest.json_blocks import JsonBlock, json_blocks
from ingest.json_lines import BOM, Rewound, blocks
from ingest.shred import Shredded, ShredSettings, fitting, shred_arrow, shred_json

STDIN: Final = "-"


@dataclass(frozen=True, slots=True)
class JsonUnit:
    """A block of JSON events; `progress_bytes` is how much of the input, as it is stored, was read so far."""

    block: JsonBlock
    progress_bytes: int


@dataclass(frozen=True, slots=True)
class TableUnit:
    """Events as an Arrow batch that was validated; `progress_bytes` as in JsonUnit."""

    batch: pa.RecordBatch
    progress_bytes: int


Unit = JsonUnit | TableUnit


def open_events(
    path: str | Path, *, text: bool = False, block_bytes: int = BATCH_BYTES_TARGET, stdin: BinaryIO | None = None
) -> Iterator[Unit]:
    """The events in the file at `path` ("-": `stdin`, by default the process's), unit by unit in order.

    Reads JSON (NDJSON, an array of objects, or objects one after the other; plain or gzip, zstd, lz4), Parquet, and
    Arrow files and streams. With `text` every line that is not blank is an event {"message": line}, whatever it holds;
    bytes that are not UTF-8 become U+FFFD.
    NotFound when there is no such file; InvalidRequest, here or while reading, when it cannot be read.
    """
    name = str(path)
    try:
        stream = (stdin or sys.stdin.buffer) if name == STDIN else Path(path).open("rb")  # noqa: SIM115
        source = Source(stream, owned=name != STDIN)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {name!r}") from error
    except OSError as error:
        raise InvalidRequest(f"cannot read {name!r}: {error.strerror}") from error
    return _named_errors(name, source, _units(name, source, text, block_bytes))


def shred_unit(unit: Unit, settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred one unit of open_events."""
    if isinstance(unit, TableUnit):
        return shred_arrow(unit.batch, settings, ingest_time_us=ingest_time_us)
    block = unit.block
    return shred_json(
        block.data,
        block.layout,
        settings,
        ingest_time_us=ingest_time_us,
        first_line=block.first_line,
        first_byte=block.first_byte,
    )


def _named_errors(name: str, source: Source, units: Iterator[Unit]) -> Iterator[Unit]:
    """`units`, with every failure to read them as InvalidRequest that names the file."""
    try:
        yield from units
    except (OSError, pa.ArrowException, InvalidRequest) as error:
        raise InvalidRequest(f"cannot read {name!r}: {error}") from error
    finally:
        source.close()


def _units(name: str, source: Source, text: bool, block_bytes: int) -> Iterator[Unit]:
    format_ = format_of(source.head)
    if format_ in (PARQUET, ARROW_FILE):
        if name == STDIN:
            raise InvalidRequest(f"an {format_} cannot come from a pipe: give the file's path")
        yield from _PARTED[format_](name)
        return
    if format_ == ARROW_STREAM:
        yield from _stream_units(source)
        return
    reader = Decompressed(source)
    head = read_head(reader)
    inner = format_of(head)
    if inner != NDJSON:
        raise InvalidRequest(f"it holds a compressed {inner}: decompress it first")
    rewound = Rewound(head, reader)
    if text:
        yield from _text_units(blocks(rewound, block_bytes), source)
        return
    for block in json_blocks(rewound, block_bytes):
        yield JsonUnit(block, source.progress_bytes)


def _text_units(found: Iterator[tuple[bytes, int, int]], source: Source) -> Iterator[Unit]:
    for data, line, byte in found:
        texts = [text.rstrip(b"\r") for text in (data.removeprefix(BOM) if byte == 0 else data).split(b"\n")]
        longest = max(texts, key=len)
        if len(longest) > RECORD_BYTES_MAX:
            raise InvalidRequest(f"line {line + texts.index(longest)} is longer than {RECORD_BYTES_MAX} bytes")
        messages = [text.decode(errors="replace") for text in texts if text.strip()]
        if messages:
            batch = pa.record_batch({"message": pa.array(messages, pa.string())})
            yield from _table_units(batch, source.progress_bytes)


def _stream_units(source: Source) -> Iterator[Unit]:
    # Arrow takes a short read for the end of the file, so a pipe needs the buffer.
    with pa.ipc.open_stream(pa.PythonFile(io.BufferedReader(source), mode="r")) as reader:
        for batch in reader:
            yield from _table_units(batch, source.progress_bytes)


def _arrow_file_units(name: str) -> Iterator[Unit]:
    size = Path(name).stat().st_size
    with pa.OSFile(name) as file, pa.ipc.open_file(file) as reader:
        count = reader.num_record_batches
        for index in range(count):
            yield from _table_units(reader.get_batch(index), size * (index + 1) // count)


def _parquet_units(name: str) -> Iterator[Unit]:
    size = Path(name).stat().st_size
    with pq.ParquetFile(name) as file:
        rows = 0
        for batch in file.iter_batches(batch_size=BATCH_ROWS_TARGET):
            rows += batch.num_rows
            yield from _table_units(batch, size * rows // file.metadata.num_rows)


def _table_units(batch: pa.RecordBatch, progress_bytes: int) -> Iterator[Unit]:
    """`batch` in pieces of at most BATCH_ROWS_TARGET rows; ArrowInvalid when its buffers are not sound."""
    batch.validate(full=True)
    for start in range(0, batch.num_rows, BATCH_ROWS_TARGET):
        for piece in fitting(batch.slice(start, BATCH_ROWS_TARGET)):
            yield TableUnit(piece, progress_bytes)


_PARTED: Final[dict[str, Callable[[str], Iterator[Any]]]] = {PARQUET: _parquet_units, ARROW_FILE: _arrow_file_units}
