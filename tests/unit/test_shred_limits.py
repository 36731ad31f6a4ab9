"""What hostile events may take: long paths that are kept as JSON, how many are named as rejected, memory."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import numpy as np
import orjson
import pytest

from core.limits import BATCH_LONG_PATH_BYTES_MAX, PATH_BYTES_USUAL
from ingest import reference, shredded
from ingest.compiled.paths import FULL, ROOT, SCANNED_BYTES_MAX, find_node, grown, new_paths
from ingest.compiled.vectors import PADDING
from ingest.flatten import flatten, folded, long_path_bytes
from ingest.shred import Shredded, ShredSettings, shred_dicts, shred_msgpack, shred_ndjson
from tests.fuzz.difference import difference
from tests.fuzz.targets import NOW, ndjson_difference
from tests.unit.test_compiled_memory import resident_bytes

SETTINGS = ShredSettings(timestamp="time.at")


def lines_of(events: list[Any]) -> bytes:
    return b"\n".join(map(orjson.dumps, events))


def long_events(key: str) -> list[dict[str, Any]]:
    """Events of which BATCH_LONG_PATH_BYTES_MAX has room for all but a few, then one of usual size."""
    inner = {f"{number}": number for number in range(250_000 // (len(key) + 4))}
    size = long_path_bytes(flatten({key: inner}))
    event = {key: inner, "n": 1, "none": None, "time": {"at": 1_700_000_000, "zone": "x"}, "list": [1, 2]}
    return [event] * (BATCH_LONG_PATH_BYTES_MAX // size + 3) + [{"a": {"b": 1}}]


@pytest.mark.parametrize("key_bytes", [500, 3000])
def test_beyond_the_limit_of_long_paths_objects_stay_json(key_bytes: int) -> None:
    events = long_events("k" * key_bytes)
    data = lines_of(events)
    expected = reference.shred_ndjson(data, SETTINGS, ingest_time_us=NOW)
    found = shred_ndjson(data, SETTINGS, ingest_time_us=NOW)
    assert difference(found, expected) is None
    packed = b"".join(map(msgpack.packb, events))
    assert difference(shred_msgpack(packed, SETTINGS, ingest_time_us=NOW), expected) is None
    assert difference(shred_dicts(events, SETTINGS, ingest_time_us=NOW), expected) is None
    last_long, last = found.batch.to_pylist()[-2:]
    assert json.loads(last_long["k" * key_bytes]) == events[0]["k" * key_bytes]
    assert (last_long["n"], last_long["list"], json.loads(last_long["time"])["zone"]) == (1, [1, 2], "x")
    assert last_long["timestamp"].timestamp() == 1_700_000_000
    assert last["a.b"] == 1


def test_folded_events() -> None:
    event = {"a": {"b": {"c": 1.5}}, "a.b": None, "d": {}, "e": "x", "f": None, "g": [], "t": 7}
    flat = flatten(event)
    del flat["t"]
    assert folded(event, flat) == {"a": '{"b":{"c":1.5}}', "d": "{}", "e": "x", "g": ()}


def test_usual_paths_count_for_nothing() -> None:
    assert long_path_bytes({"x" * PATH_BYTES_USUAL: 1, "é" * (PATH_BYTES_USUAL // 2): 2}) == 0
    assert long_path_bytes({"x" * PATH_BYTES_USUAL: 1, "é" * (PATH_BYTES_USUAL // 2 + 1): 2}) == 2


def test_a_scan_makes_no_paths_without_end() -> None:
    """Events that are broken at their end leave theirs in the tables."""
    members = b",".join(b'"%d":1' % number for number in range(400))
    broken = b"\n".join(b'{"%s%06d":{%s}' % (b"k" * 500, number, members) for number in range(900))
    before = resident_bytes()
    found = shred_ndjson(broken, SETTINGS, ingest_time_us=NOW)
    assert (found.batch, len(found.rejected)) == (None, 900)
    assert resident_bytes() - before < 2 * SCANNED_BYTES_MAX


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize(
    "data",
    [
        b"bad\nbad\n{}\nbad\n{}\n",
        b'{"a":1}\n\n bad \n{"a":}\n{"a":2}\nbad\nbad\n{"a":3}\n',
        b'{"a":\n{"a":1,"a":2}\n{"a":\n{"a":\n',
    ],
)
def test_so_many_events_are_named_as_rejected(monkeypatch: pytest.MonkeyPatch, data: bytes, limit: int) -> None:
    monkeypatch.setattr(shredded, "BATCH_REJECTED_MAX", limit)
    assert ndjson_difference(data, SETTINGS) is None
    found = shred_ndjson(data, SETTINGS, ingest_time_us=NOW)
    assert len(found.rejected) == limit
    assert found.rejected[-1].reason == f"{limit} events are rejected: this one and all behind it are not read"


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_so_many_dicts_and_packed_events_are_named_as_rejected(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(shredded, "BATCH_REJECTED_MAX", limit)
    events: list[Any] = [{"a": 1}, 5, {"b": object()}, {"a": 2}, 6, {"a": 3}]
    found = shred_dicts(events, SETTINGS, ingest_time_us=NOW)
    assert difference(found, reference.shred_dicts(events, SETTINGS, ingest_time_us=NOW)) is None
    assert rows_and_rejected(found) == {1: (1, 1), 2: (1, 2), 5: (3, 3)}[limit]
    assert rows_and_rejected(shred_msgpack(b"\x01" * 100, SETTINGS, ingest_time_us=NOW)) == (0, limit)


def rows_and_rejected(found: Shredded) -> tuple[int, int]:
    return 0 if found.batch is None else found.batch.num_rows, len(found.rejected)


def test_broken_lines_between_good_ones() -> None:
    """Runs of broken lines are not scanned; blank ones and line ends in them are what they are elsewhere."""
    events = [b'{"a":1}', b'{"a":1,"a":2}', b"{}"]
    broken = [b"bad", b"[1]", b'{"a":"\xff"}', b'{"a":%s}' % (b"[" * 70), b"{} x"]
    parts = [*events, *broken, b"", b" \t"]
    rng = np.random.default_rng(1)
    for size in [*range(8), 50, 400]:
        for end in (b"", b"\n", b"\r\n"):
            lines = [parts[number] for number in rng.integers(0, len(parts), size)]
            for line_end in (b"\n", b"\r\n"):
                assert ndjson_difference(line_end.join(lines) + end, SETTINGS) is None


def test_tables_grow_by_what_is_used() -> None:
    paths = new_paths()
    text = b"k" * 700 + bytes(PADDING)
    src = np.frombuffer(text, np.uint8).copy()
    while find_node(paths, ROOT, src.ctypes.data, 0, 700) == FULL:
        paths = grown(paths, 700)
    before = len(paths.node_parent)
    paths = grown(paths, 50_000)
    assert len(paths.node_parent) == before
    assert len(paths.path_bytes) > 50_000
    assert find_node(paths, ROOT, src.ctypes.data, 0, 700) == 1


@pytest.mark.parametrize("key_bytes", [511, 513, 4095, 4097, 5000])
def test_objects_below_long_keys_are_the_references(key_bytes: int) -> None:
    events = [{"k" * key_bytes: {"a": number, "b": {"c": [number]}, "d": None}} for number in range(30)]
    wide = {"k" * key_bytes: {f"{number}": number for number in range(600)}}
    assert ndjson_difference(lines_of([*events, wide, events[0]]), SETTINGS) is None
