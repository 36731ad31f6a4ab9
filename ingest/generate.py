"""Owns synthetic log events: made column by column, so that the generator is never what a benchmark measures.

What is fresh in every batch: `load.sequence`, `timestamp`, `trace_id` (16 random bytes each), and every number in
`message` (8 hex digits and twice 4 decimal digits in one of 300 texts).
What repeats: the other columns come from pools of 131,072 rows, drawn once from the seed. Columns that belong
together share a pool (service + version; host + env + region; status + http.* + message text; usr.id;
duration_ms; bytes); each batch reads each pool from a random position of its own, so a pool's order comes back,
but neither the events nor the order of combinations do.
What is null: http.*, trace_id, usr.id, duration_ms and bytes, in the events that do not tell of a request (half).
So a compressor finds the regularity that real logs have (skewed values, repeated texts), and no repeated events.

Never does I/O, never looks at the clock.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa

from core.batch import SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED
from core.columns import FLOAT, INT, STR, ColumnKey, field_of
from core.errors import InvalidRequest
from core.ids import nearest
from core.limits import BATCH_ROWS_MAX
from ingest import generate_pools as pools
from ingest.generate_json import ndjson
from ingest.generate_pools import PIECE_ROWS_MAX, POOL_ROWS

PRODUCER: Final = "load.producer"
SEQUENCE: Final = "load.sequence"

_DICTIONARY: Final = pa.dictionary(pa.int32(), pa.string())
_ATTRIBUTES: Final[tuple[tuple[str, str, pa.DataType | None], ...]] = (
    ("service", STR, _DICTIONARY),
    ("host", STR, _DICTIONARY),
    ("env", STR, _DICTIONARY),
    ("status", STR, _DICTIONARY),
    ("http.method", STR, _DICTIONARY),
    ("http.path", STR, _DICTIONARY),
    ("http.status_code", INT, None),
    ("duration_ms", FLOAT, None),
    ("trace_id", STR, None),
    ("usr.id", INT, None),
    ("region", STR, _DICTIONARY),
    ("version", STR, _DICTIONARY),
    ("bytes", INT, None),
    ("message", STR, None),
    (PRODUCER, INT, None),
    (SEQUENCE, INT, None),
)
SCHEMA: Final = pa.schema(
    [SYSTEM_FIELDS[TIMESTAMP], SYSTEM_FIELDS[TIMESTAMP_INFERRED]]
    + [field_of(path, ColumnKey(path, kind), type_) for path, kind, type_ in _ATTRIBUTES]
)

# Four hex digits of every 16-bit number and four decimal digits of 1000 … 9999, as one little-endian word each.
_HEX_WORDS: Final = np.frombuffer(b"".join(b"%04x" % number for number in range(65_536)), dtype="<u4")
_DECIMAL_WORDS: Final = np.frombuffer(b"".join(b"%d" % number for number in range(1000, 10_000)), dtype="<u4")


class Generator(Protocol):
    """Makes events of one shape without end."""

    def batch(self, rows: int, now_us: int) -> pa.RecordBatch:
        """The next `rows` events, in core.batch's layout."""
        ...

    def ndjson(self, rows: int, now_us: int) -> bytes:
        """The next `rows` events, one JSON object a line."""
        ...


class LogGenerator:
    """Log events of a web shop: 16 attributes, ~330 bytes each as JSON, the same for the same seed and calls.

    `producer` (0 or more) goes into `load.producer`; `load.sequence` counts its events from 0 without gaps, so that
    a reader can tell whether each event is there exactly once. One thread at a time.
    """

    def __init__(self, seed: int, producer: int = 0) -> None:
        self._rng = np.random.default_rng([seed, producer])
        self._next_sequence = 0
        self._request_pool, self._requests = pools.request_pool(self._rng)
        self._pools = [pools.service_pool(self._rng), pools.host_pool(self._rng)]
        self._request_numbers = {
            "usr.id": pools.user_numbers(self._rng),
            "duration_ms": pools.duration_numbers(self._rng),
            "bytes": pools.size_numbers(self._rng),
        }
        self._lateness_us = pools.lateness_numbers(self._rng)
        self._producer = pa.array(np.full(PIECE_ROWS_MAX, producer, dtype=np.int64))
        self._not_inferred = pa.array(np.zeros(PIECE_ROWS_MAX, dtype=np.bool_))

    def batch(self, rows: int, now_us: int) -> pa.RecordBatch:
        """The next `rows` events (1 to 1,000,000), one for each of the microseconds that end at `now_us`.

        Each is older than its place by 2 ms on average, one in a hundred by seconds, none by more than a minute.
        """
        if not 0 < rows <= BATCH_ROWS_MAX:
            raise InvalidRequest(f"a batch of {rows} rows is not allowed: ask for 1 to {BATCH_ROWS_MAX}")
        if rows <= PIECE_ROWS_MAX:
            return self._piece(rows, now_us)
        lengths = [PIECE_ROWS_MAX] * (rows // PIECE_ROWS_MAX) + (
            [rows % PIECE_ROWS_MAX] if rows % PIECE_ROWS_MAX else []
        )
        ends_us = now_us - rows + np.cumsum(lengths)
        return pa.concat_batches([self._piece(length, int(end)) for length, end in zip(lengths, ends_us, strict=True)])

    def ndjson(self, rows: int, now_us: int) -> bytes:
        """The events that batch() would have given, one JSON object a line, dotted paths as nested objects."""
        return ndjson(self.batch(rows, now_us))

    def _piece(self, rows: int, now_us: int) -> pa.RecordBatch:
        columns: dict[str, pa.Array] = {
            TIMESTAMP: self._timestamps(rows, now_us),
            TIMESTAMP_INFERRED: self._not_inferred.slice(0, rows),
            PRODUCER: self._producer.slice(0, rows),
            SEQUENCE: pa.array(np.arange(self._next_sequence, self._next_sequence + rows)),
        }
        self._next_sequence += rows
        start = self._position()
        columns["message"] = self._message(start, rows)
        columns["trace_id"] = self._trace_ids(start, rows)
        for name, numbers in self._request_numbers.items():
            columns[name] = self._of_requests(start, numbers, rows, SCHEMA.field(name).type)
        for name, column in self._request_pool.columns.items():
            columns[name] = column.slice(start, rows)
        for pool in self._pools:
            start = self._position()
            for name, column in pool.columns.items():
                columns[name] = column.slice(start, rows)
        return pa.RecordBatch.from_arrays([columns[name] for name in SCHEMA.names], schema=SCHEMA)

    def _position(self) -> int:
        # A multiple of 64 rows: bitmaps then start on a word and are sliced without shifting.
        return int(self._rng.integers(POOL_ROWS // 64)) * 64

    def _timestamps(self, rows: int, now_us: int) -> pa.Array:
        start = self._position()
        times_us = np.arange(now_us - rows + 1, now_us + 1)
        times_us -= self._lateness_us[start : start + rows]
        return pa.array(times_us).view(SCHEMA.field(TIMESTAMP).type)

    def _of_requests(self, start: int, numbers: pools.Numbers, rows: int, type_: pa.DataType) -> pa.Array:
        """`rows` numbers from a position of their own, null where the row at `start` … is not a request."""
        own = self._position()
        return pa.Array.from_buffers(type_, rows, [self._is_request(start), pa.py_buffer(numbers[own : own + rows])])

    def _is_request(self, start: int) -> pa.Buffer:
        return self._requests.is_request.slice(start // 8)

    def _trace_ids(self, start: int, rows: int) -> pa.Array:
        before = self._requests.requests_before
        offsets = (before[start : start + rows + 1] - before[start]) * 32
        digits = _HEX_WORDS[self._rng.integers(0, 65_536, int(offsets[-1]) // 4, dtype=np.uint16)]
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(digits), self._is_request(start))

    def _message(self, start: int, rows: int) -> pa.Array:
        pool = self._requests
        begin = int(pool.offsets[start])
        text = pool.text[begin : pool.offsets[start + rows]].copy()
        id_at, n_at, m_at = (at[start : start + rows] - begin for at in (pool.id_at, pool.n_at, pool.m_at))
        ids = _HEX_WORDS[self._rng.integers(0, 65_536, rows * 2, dtype=np.uint16)].view("<u8")
        numbers = _DECIMAL_WORDS[self._rng.integers(0, _DECIMAL_WORDS.size, rows * 2, dtype=np.uint16)]
        _words_at(text, "<u8")[id_at] = ids
        fours = _words_at(text, "<u4")
        fours[n_at] = numbers[:rows]
        fours[m_at] = numbers[rows:]
        offsets = pool.offsets[start : start + rows + 1] - pool.offsets[start]
        return pa.StringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(text))


def _words_at(text: Any, word: str) -> Any:
    """A view of `text` in which item i is the word that begins at byte i (unaligned, overlapping)."""
    size = np.dtype(word).itemsize
    return np.ndarray((text.size - size + 1,), dtype=word, buffer=text, strides=(1,))


_SHAPES: Final = {"logs": LogGenerator}


def generator(shape: str, seed: int, producer: int = 0) -> Generator:
    """The generator of events of the named shape; InvalidRequest names the known ones."""
    if shape not in _SHAPES:
        close = nearest(shape, _SHAPES)
        hint = f", did you mean {close!r}?" if close else ""
        raise InvalidRequest(f"there is no generator {shape!r}{hint}: use one of {', '.join(sorted(_SHAPES))}")
    return _SHAPES[shape](seed, producer)
