"""Owns shredding Python events with compiled code: packed with msgpack, which needs no Python per value, and scanned.

An event that msgpack cannot pack, or that the scan does not decide, is looked at by the reference.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgpack
import numpy as np

from core.errors import InvalidRequest
from ingest.compiled.events import Events
from ingest.compiled.msgpack_scan import scan_msgpack
from ingest.compiled.msgpack_values import INSTANT_EXT, NUMBER_EXT, skip_value
from ingest.compiled.tape import ROWS
from ingest.dict_events import instant_of, plain_event
from ingest.shredded import Shredded, ShredSettings, check_bytes
from ingest.values import INT64_MAX, INT64_MIN, Instant, Number, canonical

_ENTRY_BYTES_MIN: Final = 2  # an empty key and a small number
_UNPACKABLE: Final = msgpack.packb(None)  # in place of an event that the reference has to look at
_JSON_NUMBER: Final = re.compile(rb"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_PACK_ERRORS: Final = (TypeError, ValueError, OverflowError, RecursionError, BufferError, InvalidRequest)


def shred_dicts(events: Sequence[Mapping[str, Any]], settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred Python events; those with a value that cannot be stored exactly are rejected, naming path and type.

    InvalidRequest when all events together are beyond BATCH_BYTES_MAX: see shredded.slices.
    """
    data = _pack(events)
    check_bytes(len(data))
    return _Dicts(data, events, settings, ingest_time_us).shred()


def _pack(events: Sequence[Any]) -> bytes:
    """The events one after the other."""
    packer = msgpack.Packer(default=_packable, strict_types=True, autoreset=False)
    try:
        for event in events:
            packer.pack(event)
    except _PACK_ERRORS:
        return b"".join(map(_pack_one, events))
    packed: bytes = packer.bytes()
    return packed


def _pack_one(event: Any) -> bytes:
    try:
        packed: bytes = msgpack.packb(event, default=_packable, strict_types=True)
    except _PACK_ERRORS:
        return _UNPACKABLE
    return packed


def _packable(value: Any) -> Any:
    """What msgpack has no type for, in other words; TypeError for what only the reference may judge."""
    if isinstance(value, enum.Enum):
        raise TypeError
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else _instant(int(value.astype("datetime64[us]").astype(np.int64)))
    if isinstance(value, np.generic):
        value = value.item()
        if isinstance(value, np.generic | str | bytes | datetime.date):
            raise TypeError
        return value if isinstance(value, bool | float) else _integer(value)
    if isinstance(value, int):
        return _integer(int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | list):
        return list(value)
    if isinstance(value, Decimal):
        return msgpack.ExtType(NUMBER_EXT, str(value).encode()) if value.is_finite() else float(value)
    if isinstance(value, datetime.date):
        time_us = instant_of(value)
        return None if time_us is None else _instant(time_us)
    raise TypeError


def _integer(value: int) -> Any:
    return value if INT64_MIN <= value <= 2 * INT64_MAX + 1 else msgpack.ExtType(NUMBER_EXT, str(value).encode())


def _instant(time_us: int) -> msgpack.ExtType:
    return msgpack.ExtType(INSTANT_EXT, time_us.to_bytes(8, "big", signed=True))


def shred_msgpack(data: bytes | memoryview, settings: ShredSettings, *, ingest_time_us: int) -> Shredded:
    """Shred a msgpack stream of maps, one after the other; what is no map with text keys is rejected.

    `line` of a rejected event is its number from 1. Behind bytes that are no msgpack nothing can be read: they are
    rejected as one. InvalidRequest when `data` is beyond BATCH_BYTES_MAX.
    """
    data = bytes(data)
    check_bytes(len(data))
    return _Stream(data, settings, ingest_time_us, _ENTRY_BYTES_MIN).shred()


class _Stream(Events):
    """Packed maps from anywhere."""

    def scan(self) -> int:
        return scan_msgpack(self.tape, self.paths, len(self.data), self.time_paths, self.ingest_time_us)

    def event_end(self, start: int) -> int:
        end = int(skip_value(self.tape.src, start, len(self.data)))
        return len(self.data) if end < 0 else end

    def decode(self, start: int, end: int) -> dict[str, Any]:
        return plain_event(_unpacked(self.data[start:end]))[0]

    def place(self, start: int) -> tuple[int, int]:
        return int(self.tape.state[ROWS]) + len(self.rejected) + 1, start

    def finished_text(self, raw: bytes) -> str:
        return canonical(_plain(_unpacked(raw)))


class _Dicts(_Stream):
    """Events packed here."""

    def __init__(self, data: bytes, events: Sequence[Any], settings: ShredSettings, ingest_time_us: int) -> None:
        super().__init__(data, settings, ingest_time_us, _ENTRY_BYTES_MIN)
        self._events = events

    def decode(self, start: int, end: int) -> dict[str, Any]:
        return plain_event(self._events[self.place(start)[0] - 1])[0]

    def place(self, start: int) -> tuple[int, int]:
        return super().place(start)[0], 0


def _unpacked(raw: bytes) -> Any:
    try:
        return msgpack.unpackb(raw, ext_hook=_from_ext, timestamp=0, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:  # TypeError: a map as a key
        raise InvalidRequest("malformed msgpack: what follows it cannot be read") from error


def _from_ext(code: int, data: bytes) -> Any:
    if code == NUMBER_EXT:
        if not _JSON_NUMBER.fullmatch(data):
            raise ValueError("a number extension holds no number")
        return Number(data.decode())
    if code == INSTANT_EXT and len(data) == 8:
        return Instant.from_bytes(data, "big", signed=True)
    return msgpack.ExtType(code, data)


def _plain(value: Any) -> Any:
    """What was unpacked as plain values of ingest.values."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return Instant(value.to_unix_nano() // 1000) if isinstance(value, msgpack.Timestamp) else value
