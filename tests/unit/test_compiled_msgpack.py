"""The compiled shredder of msgpack and Python events beside the reference, and JSON in the layout of documents."""

from random import Random
from typing import Any

import msgpack
import pytest

from ingest import reference
from ingest.compiled.json_scan import DOCUMENTS
from ingest.shred import Shredded, ShredSettings, shred_dicts, shred_json, shred_msgpack
from ingest.unshred import unshred
from tests.fuzz.difference import difference
from tests.fuzz.mutate import events, packed_events
from tests.fuzz.targets import NOW, SETTINGS, TARGETS

NUMBER = msgpack.ExtType(1, b"1e999")
SAMPLES = [
    {"timestamp": msgpack.Timestamp(1_700_000_000, 5000), "a": {"b": [1, None], "c": "é"}, "d": -1.5, "e": b"\xff"},
    {"@timestamp": 1_700_000_000.5, "a.b": 2**64 - 1, "l": [["x" * 40], {"k": [True]}], "n": None, "o": {}, "p": []},
    {"i": [-1, -33, 200, 70_000, 2**40, -(2**63)], "f": [0.5, None], "s": ["", "x" * 33], "x": NUMBER},
]
PACKED = [msgpack.packb(sample) for sample in SAMPLES]
UNTIMED = ShredSettings(timestamp="no such path")


def shred_packed(data: bytes) -> Shredded:
    return shred_msgpack(data, UNTIMED, ingest_time_us=NOW)


def as_target(data: bytes, settings: int = 0) -> bytes:
    """An input of a fuzzing target."""
    return bytes([settings]) + data


@pytest.mark.parametrize("target", ["documents", "packed"])
def test_seeded_events(target: str) -> None:
    make = packed_events if target == "packed" else events
    for seed in range(60):
        rng = Random(seed)
        data = make(rng) + make(rng)
        assert TARGETS[target](as_target(data, seed % len(SETTINGS))) is None


@pytest.mark.parametrize("sample", PACKED)
def test_cut_at_every_byte(sample: bytes) -> None:
    for size in range(len(sample) + 1):
        assert TARGETS["packed"](as_target(PACKED[0] + sample[:size])) is None


def test_every_kind_of_byte_at_every_place() -> None:
    for at in range(len(PACKED[0])):
        for head in (0x80, 0x82, 0x91, 0xA0, 0xA9, 0xC0, 0xC1, 0xC6, 0xC9, 0xCB, 0xCF, 0xD4, 0xDB, 0xDD, 0xDF, 0xFF):
            assert TARGETS["packed"](as_target(PACKED[0][:at] + bytes([head]) + PACKED[0][at + 1 :])) is None


@pytest.mark.parametrize("rest", [b"", b"\0\1", b"\xff" * 9, b"\xa1k\1" * 8], ids=repr)
def test_every_first_byte_of_an_event_and_of_a_value(rest: bytes) -> None:
    for head in range(256):
        assert TARGETS["packed"](as_target(bytes([head]) + rest)) is None
        assert TARGETS["packed"](as_target(b"\x82\xa1k\x01\xa1l\x92\x01" + bytes([head]) + rest)) is None


def test_python_events_of_all_kinds() -> None:
    values: list[Any] = [
        1,
        1.5,
        "x",
        True,
        None,
        b"x",
        {},
        [],
        [1],
        [1.5],
        ["x"],
        [b"x"],
        [{}],
        {"b": 1},
        2**64,
        -(2**64),
    ]
    found = [{"a": value, "k" * number: value, "n": number} for number, value in enumerate(values * 3)]
    for how in SETTINGS:
        answer = shred_dicts(found, how, ingest_time_us=NOW)
        assert difference(answer, reference.shred_dicts(found, how, ingest_time_us=NOW)) is None


def test_many_empty_events_wrote_behind_the_tables_of_rows() -> None:
    """An empty map is one byte."""
    assert unshred(shred_packed(b"\x80" * 5000).batch) == [{}] * 5000
    assert unshred(shred_dicts([{}] * 5000, UNTIMED, ingest_time_us=NOW).batch) == [{}] * 5000


@pytest.mark.parametrize(
    "cut", [b"\x81\xa1a\x91\xcf\0\1", b"\x81\xa1a\xcf\0\1", b"\xdf", b"\xde\0", b"\x81\xa1a\xdc\0"]
)
def test_a_number_or_length_cut_off_at_the_end_was_filled_up_with_zeros(cut: bytes) -> None:
    shredded = shred_packed(b"\x80" + cut)
    assert shredded.batch.num_rows == 1
    assert [(bad.line, bad.byte_offset) for bad in shredded.rejected] == [(2, 1)]


@pytest.mark.parametrize("seconds", [2**62, -(2**63), 10**13])
def test_a_timestamp_beyond_microseconds_ended_the_whole_batch(seconds: int) -> None:
    for value in (msgpack.Timestamp(seconds), [msgpack.Timestamp(seconds)]):
        shredded = shred_packed(msgpack.packb({"timestamp": value}) + b"\x80")
        assert shredded.batch.num_rows == 1
        assert "beyond 64-bit microseconds" in shredded.rejected[0].reason


def test_a_timestamp_with_too_many_nanoseconds_is_refused() -> None:
    for packed in (b"\xd7\xff" + b"\xff" * 8, b"\xc7\x0c\xff" + b"\xff" * 4 + b"\0" * 8):
        assert len(shred_packed(b"\x81\xa1a" + packed).rejected) == 1


@pytest.mark.parametrize(
    "text", [b"--1", b"1-", b"1e", b".5", b"5.", b"01", b"+1", b"e5", b"1 ", b"", b"NaN", "１".encode()]
)
def test_text_that_is_no_number_was_taken_for_one(text: bytes) -> None:
    for value in (msgpack.ExtType(1, text), [msgpack.ExtType(1, text)]):
        assert len(shred_packed(msgpack.packb({"a": value})).rejected) == 1


@pytest.mark.parametrize("text", ["0", "-0", "1e400", "-12.50E+999", "123456789012345678901234567890"])
def test_numbers_keep_their_text(text: str) -> None:
    packed = msgpack.packb({"a": msgpack.ExtType(1, text.encode())})
    for data in (packed, packed[:-1] + packed[-1:] + b"\x80", b"\x82\xa1a\x01" + packed[1:]):
        (batch,) = [shred_packed(data).batch]
        assert batch.column("a").to_pylist()[0] == text


@pytest.mark.parametrize("key", [b"\x80", b"\x90", b"\x81\xa1a\x01", b"\x01", b"\xc4\x01a", b"\xd4\x01\x31"])
def test_a_key_that_is_no_text_refuses_one_event(key: bytes) -> None:
    """A map or array as a key ended the whole batch: it has no hash."""
    for event in (b"\x81" + key + b"\x01", b"\x81\xa1a\x91\x81" + key + b"\x01"):
        shredded = shred_packed(event + b"\x80")
        assert (len(shredded.rejected), shredded.batch.num_rows) == (1, 1)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"[" * 5000, 0),
        (b"]" * 5000, 0),
        (b"{" * 5000, 0),
        (b'{"a":' * 5000, 0),
        (b"}" * 300, 0),
        (b'"' * 301, 0),
        (b"{}" * 900, 900),
        (b"[{}," * 300, 300),
        (b'"\\' * 99, 0),
        (b"{}\\", 1),
        (b'{"a":"\\', 0),
        (b"[{},{}", 2),
        (b"{}]{}", 2),
        (b",,{},,", 1),
        (b"x {}", 1),
        (b"x{}", 0),
        (b"\0{}", 0),
        (b"\xef\xbb\xbf[{}]", 1),
        (b"{} \x0c {}", 2),
    ],
)
def test_documents_that_are_hardly_any(data: bytes, rows: int) -> None:
    shredded = shred_json(data, DOCUMENTS, UNTIMED, ingest_time_us=NOW)
    assert (0 if shredded.batch is None else shredded.batch.num_rows) == rows
    assert TARGETS["documents"](as_target(data)) is None
