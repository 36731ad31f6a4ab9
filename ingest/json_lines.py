"""Owns NDJSON as bytes: cutting a stream into blocks and lines, and one line into a plain event with exact numbers.

Never looks into an event and never keeps more of a stream than one block and one line.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn, Protocol

import orjson

from core.errors import InvalidRequest
from core.limits import RECORD_BYTES_MAX
from ingest.values import Number, too_deep, whole_number

BOM: Final = b"\xef\xbb\xbf"
READ_BYTES: Final = 1024 * 1024

_BLANK: Final = b" \t\r"
_TO_ZERO: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBERS: Final = (b"0" * 20, b"-" + b"0" * 19)  # shorter whole numbers always fit int64 or uint64
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_VALUE_STARTS: Final = frozenset(b"%c" % char for char in b'{["-0123456789tfnNI')
_SHORT_INTEGER: Final = 21  # characters; anything longer is beyond uint64, and int() of hostile lengths is slow

# json's own messages quote the event in places; these are what people get to see.
_REASONS: Final = {
    "Expecting value": "expected a value",
    "Expecting property name": "expected a quoted name",
    "Expecting ':'": "expected ':'",
    "Expecting ','": "expected ',' or a closing '}' or ']'",
    "Unterminated string": "unterminated string that begins",
    "Invalid control character": "unescaped control character in a string",
    "Invalid \\escape": "unknown escape in a string",
    "Invalid \\uXXXX": "broken \\u escape in a string",
    "Extra data": "more text after the object",
    "Illegal trailing comma": "trailing comma",
}


class Reader(Protocol):
    """What bytes come from."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end."""
        ...


class Rewound:
    """A reader that gives `head` once more before what `reader` goes on with."""

    def __init__(self, head: bytes, reader: Reader) -> None:
        self._head = head
        self._reader = reader

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes; b"" only at the end."""
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
            return data
        return self._reader.read(size)


def blocks(reader: Reader, block_bytes: int) -> Iterator[tuple[bytes, int, int]]:
    """Cut an NDJSON stream at line ends into (bytes, first line from 1, first byte from 0) of about `block_bytes`.

    A line beyond RECORD_BYTES_MAX comes cut to one byte more than that, so that whoever shreds it rejects it; the
    rest of it is passed over without being kept.
    """
    line = 1
    start = 0  # position in the stream of pending[0]
    pending = bytearray()
    skipping = False  # inside an overlong line whose beginning was handed out
    while chunk := reader.read(min(block_bytes, READ_BYTES)):
        if skipping:
            end = chunk.find(b"\n")
            skipping = end < 0
            start += len(chunk) if skipping else end + 1
            if skipping:
                continue
            line += 1
            chunk = chunk[end + 1 :]
        pending += chunk
        if len(pending) >= block_bytes and (cut := pending.rfind(b"\n") + 1):
            block = bytes(pending[:cut])
            del pending[:cut]
            yield block, line, start
            line += block.count(b"\n")
            start += cut
        if len(pending) > RECORD_BYTES_MAX and pending.rfind(b"\n") < 0:
            yield bytes(pending[: RECORD_BYTES_MAX + 1]), line, start
            start += len(pending)
            pending.clear()
            skipping = True
    if pending:
        yield bytes(pending), line, start


def lines(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The lines of `data` that are not blank as (number from 0, byte offset in `data`, text without line end)."""
    offset = 0
    for number, line in enumerate(data.split(b"\n")):
        text = line.strip(_BLANK)
        if text:
            yield number, offset, text
        offset += len(line) + 1


def has_long_numbers(data: bytes) -> bool:
    """Whether `data` may hold a whole number beyond 64 bits, which orjson would round to a float."""
    zeros = data.translate(_TO_ZERO)
    return any(number in zeros for number in _LONG_NUMBERS)


def parse_event(line: bytes, may_have_long_numbers: bool) -> dict[str, Any]:
    """The event of one line, as plain values; InvalidRequest with a reason for people when it is not a JSON object.

    Keys are resolved as Python does: a repeated key has its last value at the place of its first one.
    `may_have_long_numbers` is has_long_numbers of the line or of what it is part of.
    """
    if len(line) > RECORD_BYTES_MAX:
        raise InvalidRequest(f"longer than {RECORD_BYTES_MAX} bytes")
    if line[:1] not in _VALUE_STARTS and line.isascii():
        raise InvalidRequest("expected a value at column 1")  # plain text: the parsers take far longer to say it
    if may_have_long_numbers and has_long_numbers(line):
        event = parse_exactly(line)
    else:
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError:
            # orjson also refuses what is legal here (1e400); the exact parser has the last word and the reason.
            event = parse_exactly(line)
    if type(event) is not dict:
        raise InvalidRequest(f"expected a JSON object, found {_json_name(event)}")
    return event


def parse_exactly(line: bytes) -> Any:
    """The JSON document in `line` with exact numbers; InvalidRequest with a reason when it is not one."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"invalid utf-8 at byte {error.start + 1}") from error
    try:
        event = _DECODER.decode(text)
        if _SURROGATE.search(line):
            _refuse_lone_surrogates(event)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"{_reason(error.msg)} at column {error.pos + 1}") from error
    except RecursionError as error:
        raise too_deep() from error
    return event


@functools.lru_cache(maxsize=256)
def _reason(message: str) -> str:
    return next((reason for start, reason in _REASONS.items() if message.startswith(start)), "malformed JSON")


def _integer(text: str) -> int | Number:
    return Number(text) if len(text) > _SHORT_INTEGER else whole_number(int(text))


def _float(text: str) -> float | Number:
    value = float(text)
    return Number(text) if math.isinf(value) else value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequest(f"{name} is not a JSON value")


def _refuse_lone_surrogates(event: Any) -> None:
    if isinstance(event, str):
        try:
            event.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest("a string holds half of a surrogate pair") from error
    elif isinstance(event, dict):
        for key, value in event.items():
            _refuse_lone_surrogates(key)
            _refuse_lone_surrogates(value)
    elif isinstance(event, list):
        for value in event:
            _refuse_lone_surrogates(value)


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_refuse_constant)


def _json_name(value: Any) -> str:
    if isinstance(value, list):
        return "an array"
    if value is None or isinstance(value, bool):
        return "null" if value is None else "a boolean"
    return "a number" if isinstance(value, (int, float, Number)) else "a string"
