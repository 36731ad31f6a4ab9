"""JSON that is not one object a line: arrays of objects, objects one after the other, objects over several lines."""

from __future__ import annotations

import io
import json
import random

import pytest

from core.limits import RECORD_BYTES_MAX
from ingest.compiled.json_scan import DOCUMENTS, LINES
from ingest.json_blocks import json_blocks, layout_of
from ingest.json_lines import BOM
from ingest.shred import ShredSettings, shred_json
from ingest.unshred import unshred

NOW = 1_700_000_000_000_000
SETTINGS = ShredSettings()
EVENTS = [
    {"n": number, "text": f'[{{"\\ "{number}', "inner": {"list": [1, number], "none": {}}} for number in range(40)
]


def shred_all(data: bytes, block_bytes: int = 1 << 20) -> tuple[list[dict[str, object]], list[tuple[int, int, str]]]:
    """The events of every block as they come back, and what was rejected."""
    events: list[dict[str, object]] = []
    rejected: list[tuple[int, int, str]] = []
    covered = len(BOM) if data.startswith(BOM) and layout_of(data) == DOCUMENTS else 0
    overlong = False
    for block in json_blocks(io.BytesIO(data), block_bytes):
        assert block.first_byte == covered or (overlong and block.first_byte > covered)
        overlong = len(block.data) > RECORD_BYTES_MAX
        assert block.first_line == 1 + data[: block.first_byte].count(b"\n")
        covered = block.first_byte + len(block.data)
        shredded = shred_json(
            block.data,
            block.layout,
            SETTINGS,
            ingest_time_us=NOW,
            first_line=block.first_line,
            first_byte=block.first_byte,
        )
        rejected += [(r.line, r.byte_offset, r.reason) for r in shredded.rejected]
        if shredded.batch is not None:
            events += unshred(shredded.batch)
    return events, rejected


def flat_events() -> list[dict[str, object]]:
    events, rejected = shred_all(b"\n".join(json.dumps(event).encode() for event in EVENTS))
    assert len(events) == len(EVENTS)
    assert not rejected
    return events


LAYOUTS = {
    "array": json.dumps(EVENTS),
    "array over lines": json.dumps(EVENTS, indent=2),
    "array of lines": "[\n" + ",\n".join(map(json.dumps, EVENTS)) + "\n]\n",
    "pretty-printed": "\n".join(json.dumps(event, indent=4) for event in EVENTS),
    "concatenated": "".join(map(json.dumps, EVENTS)),
    "with commas": ", ".join(map(json.dumps, EVENTS)),
    "two arrays": json.dumps(EVENTS[:7]) + "\n" + json.dumps(EVENTS[7:]),
    "byte order mark": "\ufeff" + json.dumps(EVENTS),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("block_bytes", [1, 50, 1000, 1 << 20])
def test_every_layout_holds_the_same_events(layout: str, block_bytes: int) -> None:
    assert layout_of(LAYOUTS[layout].encode()) == DOCUMENTS
    assert shred_all(LAYOUTS[layout].encode(), block_bytes) == (flat_events(), [])


def test_lines_stay_lines() -> None:
    lines = [b'{"a":1}', b'{"a":', b"[1,2]", b'{"a":2}']
    for order in ([0, 1, 2, 3], [1, 0, 2, 3], [2, 0, 1, 3]):
        data = b"\n".join(lines[index] for index in order)
        assert layout_of(data) == LINES
        events, rejected = shred_all(data)
        assert events == [{"a": 1}, {"a": 2}]
        assert sorted(line for line, _, _ in rejected) == sorted(order.index(index) + 1 for index in (1, 2))


def test_layout_of_odd_beginnings() -> None:
    assert layout_of(b"") == LINES
    assert layout_of(b"  \n") == LINES
    assert layout_of(b"[]") == DOCUMENTS
    assert layout_of(b"[ {") == DOCUMENTS
    assert layout_of(b'"text"\n{}') == LINES
    assert layout_of(b"[" * 5000) == LINES
    assert layout_of(b'{"a":' * 5000) == LINES


def test_broken_objects_are_named_and_the_others_stored() -> None:
    data = b'[{"a":1},\n {"a":tru}, 17, "x", {"a":2,}, {"a":3}\n, {"a": {"b": 1]}, {"a":4}]'
    events, rejected = shred_all(data)
    assert events == [{"a": 1}, {"a": 3}, {"a": 4}]
    assert [(line, data[byte:][:4]) for line, byte, _ in rejected] == [
        (2, b'{"a"'),
        (2, b"17, "),
        (2, b'"x",'),
        (2, b'{"a"'),
        (3, b'{"a"'),
    ]
    assert [reason for _, _, reason in rejected][1:3] == [
        "expected a JSON object, found a number",
        "expected a JSON object, found a string",
    ]


def test_cut_off_array_keeps_what_is_whole() -> None:
    data = json.dumps(EVENTS).encode()
    whole = flat_events()
    rng = random.Random(7)
    for cut in sorted(rng.sample(range(2, len(data)), 60)):
        events, rejected = shred_all(data[:cut])
        assert events == whole[: len(events)]
        assert len(rejected) == (not data[:cut].rstrip(b", ").endswith(b"}") or not _balanced(data[:cut]))


def _balanced(text: bytes) -> bool:
    """Whether the text ends outside an object."""
    try:
        json.loads(text.rstrip(b", ").rstrip(b"]") + b"]")
    except ValueError:
        return False
    return True


def test_overlong_object_is_rejected_and_the_next_ones_read() -> None:
    big = b'{"a":"' + b"x" * (RECORD_BYTES_MAX + 5_000_000) + b'"}'
    events, rejected = shred_all(b'[{"a":1},' + big + b',\n{"a":2},{"a":3}]')
    assert events == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [(line, reason) for line, _, reason in rejected] == [(1, f"longer than {RECORD_BYTES_MAX} bytes")]
