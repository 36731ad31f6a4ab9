"""Owns the reference for msgpack streams: each value by msgpack's own decoder, and then like a Python event."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal

import msgpack

from core.errors import InvalidRequest
from ingest import reference
from ingest.compiled.msgpack_values import INSTANT_EXT, NUMBER_EXT
from ingest.dict_events import plain_event
from ingest.shredded import Shredded, ShredSettings, reject
from ingest.values import Instant, Number

# First byte → bytes of the length that follows, and bytes behind that which it does not count.
_COUNTED = {0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1), 0xD9: (1, 0)} | {
    0xDA: (2, 0),
    0xDB: (4, 0),
}
_FIXED = dict(zip(range(0xCA, 0xD9), (4, 8, 1, 2, 4, 8, 1, 2, 4, 8, 2, 3, 5, 9, 17), strict=True))
_CONTAINERS = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}  # values per element


def packed_reference(data: bytes, settings: ShredSettings, ingest_time_us: int) -> tuple[Shredded, list[object]]:
    """(what the reference says of a msgpack stream, the events in it as dicts), one value after the other."""
    rows = reference.Rows(settings, ingest_time_us)
    events: list[object] = []
    begin = number = 0
    while begin < len(data):
        number += 1
        end = value_end(data, begin)
        try:
            rows.add(plain_event(unpacked(data[begin:end], of_malamute))[0])
            events.append(unpacked(data[begin:end], of_python))
        except InvalidRequest as error:
            if not reject(rows.rejected, number, begin, str(error)):
                break
        begin = end
    return rows.finish(), events


def value_end(data: bytes, begin: int) -> int:
    """End of the value that begins there, of the data when it is cut off or of no known type."""
    pos, left = begin, 1
    while left:
        left -= 1
        if pos >= len(data):
            return len(data)
        head = data[pos]
        pos += 1
        if head in _COUNTED:
            width, more = _COUNTED[head]
            pos += width + more + int.from_bytes(data[pos : pos + width])
        elif head in _CONTAINERS:
            width, values = _CONTAINERS[head]
            left += values * int.from_bytes(data[pos : pos + width])
            pos += width
        elif head == 0xC1:
            return len(data)
        else:
            left += (head & 0xF) * (2 if head < 0x90 else 1) if 0x80 <= head < 0xA0 else 0
            pos += head & 0x1F if 0xA0 <= head < 0xC0 else _FIXED.get(head, 0)
    return min(pos, len(data))


def unpacked(data: bytes, ext_hook: Callable[[int, bytes], object]) -> object:
    try:
        return msgpack.unpackb(data, ext_hook=ext_hook, timestamp=0, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise InvalidRequest("malformed msgpack: what follows it cannot be read") from error


def of_malamute(code: int, data: bytes) -> object:
    """Malamute's own extensions: numbers as JSON writes them, instants."""
    if code == NUMBER_EXT:
        text = data.decode("ascii")
        if not re.fullmatch(r"-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][-+]?[0-9]+)?", text):
            raise ValueError(text)
        return Number(text)
    if code == INSTANT_EXT and len(data) == 8:
        return Instant.from_bytes(data, "big", signed=True)
    return msgpack.ExtType(code, data)


def of_python(code: int, data: bytes) -> object:
    """The same as a Python program would have it in its events."""
    value = of_malamute(code, data)
    if isinstance(value, Number):
        return Decimal(value)
    return int(value) if isinstance(value, Instant) else value
