"""Owns the opening of input files as byte streams: what a file is by its first bytes, and streamed decompression.

Never loads a file as a whole; what comes out is bounded in ratio, so that a small file cannot keep a reader busy
for ever.
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, Final

import pyarrow as pa

from core.errors import InvalidRequest

HEAD_BYTES: Final = 16

NDJSON: Final = "ndjson"
PARQUET: Final = "parquet"
ARROW_FILE: Final = "arrow file"
ARROW_STREAM: Final = "arrow stream"

# Output beyond the ratio is let through up to the free bytes: a few equal lines compress to nearly nothing.
DECOMPRESSION_RATIO_MAX: Final = 10_000  # logs reach 20 to 200; zstd of zeros 30,000
DECOMPRESSED_FREE_BYTES: Final = 1024 * 1024 * 1024

_CODECS: Final = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\x04\x22\x4d\x18": "lz4"}
_FORMATS: Final = {b"PAR1": PARQUET, b"ARROW1\0\0": ARROW_FILE, b"\xff\xff\xff\xff": ARROW_STREAM}
_UNSUPPORTED: Final = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"PK\x03\x04": "zip",
    b"FEA1": "feather version 1",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def format_of(head: bytes) -> str:
    """The format of uncompressed input by its first HEAD_BYTES; InvalidRequest for known ones that are not read."""
    for magic, name in _FORMATS.items():
        if head.startswith(magic):
            return name
    for magic, name in _UNSUPPORTED.items():
        if head.startswith(magic):
            raise InvalidRequest(f"{name} is not read: convert it to plain, gzip, zstd or lz4 NDJSON, or to Parquet")
    return NDJSON


class Source(io.RawIOBase):
    """A binary stream whose first bytes can be looked at and whose progress is known, pipes included.

    Closing it closes `stream` only when it is `owned`.
    """

    def __init__(self, stream: BinaryIO, *, owned: bool) -> None:
        self._stream = stream
        self._owned = owned
        self._head = _read_fully(stream, HEAD_BYTES)
        self._head_read = 0
        self.progress_bytes = 0

    @property
    def head(self) -> bytes:
        """The first HEAD_BYTES of the stream, fewer when it is shorter."""
        return self._head

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._head[self._head_read : self._head_read + len(buffer)]
        self._head_read += len(data)
        if not data:
            data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self.progress_bytes += len(data)
        return len(data)

    def close(self) -> None:
        if self._owned:
            self._stream.close()
        super().close()


class Decompressed:
    """The decompressed bytes of a Source, or its bytes as they are when it is not compressed.

    Concatenated members are read one after the other. OSError when the stream is damaged or cut off,
    InvalidRequest beyond DECOMPRESSION_RATIO_MAX.
    """

    def __init__(self, source: Source) -> None:
        codec = next((name for magic, name in _CODECS.items() if source.head.startswith(magic)), None)
        self._source = source
        self._stream: Any = source
        if codec is not None:
            self._stream = pa.CompressedInputStream(pa.PythonFile(source, mode="r"), codec)
        self._compressed = codec is not None
        self._output_bytes = 0

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end."""
        data: bytes = self._stream.read(size)
        self._output_bytes += len(data)
        if self._compressed and self._output_bytes > DECOMPRESSED_FREE_BYTES:
            ratio = self._output_bytes // max(1, self._source.progress_bytes)
            if ratio > DECOMPRESSION_RATIO_MAX:
                raise InvalidRequest(f"decompresses to {ratio} times its size: more than {DECOMPRESSION_RATIO_MAX}")
        return data


def read_head(reader: Decompressed) -> bytes:
    """The first HEAD_BYTES of `reader`, fewer when it is shorter."""
    return _read_fully(reader, HEAD_BYTES)


def _read_fully(reader: Any, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := reader.read(size - len(data))):
        data += more
    return data
