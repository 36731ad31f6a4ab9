"""Owns what is fuzzed: bytes → settings and input → the compiled shredder beside the reference.

A target answers with how the two differ, in words, or None. Everything an input says beyond that (a crash, a hang, an
error that is no InvalidRequest) is for whoever runs it to notice.
"""

from __future__ import annotations

from collections.abc import Callable

from ingest import reference
from ingest.compiled.json_scan import DOCUMENTS
from ingest.shred import ShredSettings, shred_dicts, shred_json, shred_msgpack, shred_ndjson
from tests.fuzz.difference import difference
from tests.fuzz.packed_reference import packed_reference

NOW = 1_700_000_000_000_000

# The first byte of an input chooses one; the others are the events.
SETTINGS = (
    ShredSettings(),
    ShredSettings(max_paths=0),
    ShredSettings(max_paths=1),
    ShredSettings(timestamp="a.b", max_paths=3),
    ShredSettings(timestamp="no such path"),
)


def ndjson(data: bytes) -> str | None:
    """Lines of anything."""
    return ndjson_difference(data[1:], settings_of(data))


def documents(data: bytes) -> str | None:
    """Anything in the layout of documents; and its good lines as an array, beside the reference's reading of them."""
    settings = settings_of(data)
    loose = shred_json(data[1:], DOCUMENTS, settings, ingest_time_us=NOW)
    if loose.batch is not None:
        loose.batch.validate(full=True)
    good = [line for line in data[1:].split(b"\n") if is_event(line)]
    array = b"[" + b" ,\n".join(good) + b"\n]"
    found = shred_json(array, DOCUMENTS, settings, ingest_time_us=NOW)
    return difference(found, reference.shred_ndjson(b"\n".join(good), settings, ingest_time_us=NOW, first_byte=1))


def packed(data: bytes) -> str | None:
    """A msgpack stream; and its good events once more as dicts."""
    settings = settings_of(data)
    found = shred_msgpack(data[1:], settings, ingest_time_us=NOW)
    expected, events = packed_reference(data[1:], settings, NOW)
    differs = difference(found, expected)
    if differs is not None:
        return differs
    again = shred_dicts(events, settings, ingest_time_us=NOW)
    differs = difference(again, reference.shred_dicts(events, settings, ingest_time_us=NOW))
    return differs and f"as dicts: {differs}"


def settings_of(data: bytes) -> ShredSettings:
    return SETTINGS[data[0] % len(SETTINGS)] if data else SETTINGS[0]


def is_event(line: bytes) -> bool:
    found = reference.shred_ndjson(line, SETTINGS[0], ingest_time_us=NOW, first_byte=1)
    return found.batch is not None


def ndjson_difference(data: bytes, settings: ShredSettings, first_byte: int = 0) -> str | None:
    """How the two answers to these lines differ."""
    found = shred_ndjson(data, settings, ingest_time_us=NOW, first_byte=first_byte)
    expected = reference.shred_ndjson(data, settings, ingest_time_us=NOW, first_byte=first_byte)
    return difference(found, expected)


TARGETS: dict[str, Callable[[bytes], str | None]] = {"ndjson": ndjson, "documents": documents, "packed": packed}
