"""Python events → batch: every accepted type exactly, everything else rejected by path and type."""

import datetime
import decimal
import enum
import json
import uuid
from collections import OrderedDict
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from core.batch import check_batch
from core.columns import key_of
from core.errors import InvalidRequest
from core.limits import NESTING_DEPTH_MAX, RECORD_BYTES_MAX
from ingest.shred import ShredSettings, fitting, shred_dicts, shred_ndjson, slices
from ingest.unshred import unshred
from tests.unit.test_shred_json import EVENTS

NOW = 1_700_000_000_000_000
UNTIMED = ShredSettings(timestamp="no such attribute")
UTC = datetime.UTC
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)


class Color(enum.StrEnum):
    RED = "red"


def one(value: Any) -> tuple[str, Any]:
    """(kind, stored value) of {"a": value}."""
    shredded = shred_dicts([{"a": value}], UNTIMED, ingest_time_us=NOW)
    assert shredded.rejected == ()
    batch = check_batch(shredded.batch)
    assert batch.num_columns == 3
    key = key_of(batch.schema.field(2))
    assert key is not None
    return key.kind, batch.column(2)[0].as_py()


@pytest.mark.parametrize(
    ("value", "kind", "stored"),
    [
        (True, "bool", True),
        (np.bool_(True), "bool", True),
        (7, "int", 7),
        (np.int8(-7), "int", -7),
        (2**63, "uint", 2**63),
        (np.uint64(2**64 - 1), "uint", 2**64 - 1),
        (2**64, "decimal", str(2**64)),
        (-(2**63) - 1, "decimal", str(-(2**63) - 1)),
        (decimal.Decimal("1.500"), "decimal", "1.500"),
        (decimal.Decimal("-1E+5"), "decimal", "-1E+5"),
        (decimal.Decimal("Infinity"), "float", float("inf")),
        (1.5, "float", 1.5),
        (float("-inf"), "float", float("-inf")),
        (np.float32(0.5), "float", 0.5),
        ("x\0ü", "str", "x\0ü"),
        (np.str_("x"), "str", "x"),
        (b"\0\xff", "bin", b"\0\xff"),
        (bytearray(b"x"), "bin", b"x"),
        (MOMENT, "time", MOMENT),
        (MOMENT.replace(tzinfo=None), "time", MOMENT),
        (MOMENT.astimezone(datetime.timezone(datetime.timedelta(hours=5))), "time", MOMENT),
        (pd.Timestamp("2024-01-02T03:04:05.123456789Z"), "time", MOMENT),
        (np.datetime64("2024-01-02T03:04:05.123456789"), "time", MOMENT),
        (datetime.date(1969, 12, 31), "time", datetime.datetime(1969, 12, 31, tzinfo=UTC)),
        ([1, np.int64(2), None], "int[]", [1, 2, None]),
        ((1.5, np.float64(2)), "float[]", [1.5, 2.0]),
        ([2**63, 2**64 - 1], "uint[]", [2**63, 2**64 - 1]),
        ([1, 2**64], "json", "[1,18446744073709551616]"),
        ([decimal.Decimal("1.50"), b"x", MOMENT], "json", '[1.50,"eA==","2024-01-02T03:04:05.123456Z"]'),
        ([1, float("nan"), float("-inf")], "json", '[1,"NaN","-Infinity"]'),
        ([{"b": OrderedDict(c=None)}], "json", '[{"b":{"c":null}}]'),
        ({}, "json", "{}"),
        ([], "json", "[]"),
    ],
)
def test_accepted_types(value: Any, kind: str, stored: Any) -> None:
    assert one(value) == (kind, stored)


def test_nan_is_kept() -> None:
    kind, stored = one(float("nan"))
    assert kind == "float"
    assert stored != stored


@pytest.mark.parametrize("absent", [None, pd.NaT, np.datetime64("NaT")])
def test_absent_values(absent: Any) -> None:
    shredded = shred_dicts([{"a": absent, "b": 1}], UNTIMED, ingest_time_us=NOW)
    assert unshred(shredded.batch) == [{"b": 1}]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"a": {"b": uuid.UUID(int=1)}}, "'a.b' has the type uuid.UUID"),
        ({"a": [1, {"b": {1}}]}, "'a.b' has the type set"),
        ({"a": Color.RED}, "'a' has the type tests.unit.test_shred_dicts.Color"),
        ({"a": datetime.timedelta(1)}, "'a' has the type datetime.timedelta"),
        ({"a": np.zeros(2)}, "'a' has the type numpy.ndarray"),
        ({"a": np.complex64(1)}, "'a' has the type complex"),
        ({"a": {1: 2}}, "a key in 'a' has the type int: keys must be text"),
        ({None: 2}, "a key has the type NoneType: keys must be text"),
        ({Color.RED: 2}, "a key has the type tests.unit.test_shred_dicts.Color: keys must be text"),
        ({"a": "\ud800"}, "'a' holds half of a surrogate pair"),
        ({"a": ["\ud800"]}, "'a' holds half of a surrogate pair"),
        ({"\ud800": 1}, "'?' holds half of a surrogate pair"),
        ({"a": 10**5000}, "an integer has more digits than can be converted: send it as text"),
        ({"k" * 200: set()}, repr("k" * 100 + "…") + " has the type set"),
        ({"a": "ü" * (RECORD_BYTES_MAX // 2)}, f"longer than {RECORD_BYTES_MAX} bytes"),
        ([1], "expected a dict, found list"),
        (None, "expected a dict, found NoneType"),
    ],
)
def test_rejected_by_path_and_type(event: Any, reason: str) -> None:
    shredded = shred_dicts([{"good": 1}, event, {"good": 2}], UNTIMED, ingest_time_us=NOW)
    assert [(bad.line, bad.byte_offset) for bad in shredded.rejected] == [(2, 0)]
    assert shredded.rejected[0].reason.startswith(reason)
    assert unshred(shredded.batch) == [{"good": 1}, {"good": 2}]


def test_events_that_contain_themselves_are_rejected() -> None:
    loop: dict[str, Any] = {}
    loop["a"] = loop
    ring: list[Any] = []
    ring.append(ring)
    shredded = shred_dicts([loop, {"a": ring}], UNTIMED, ingest_time_us=NOW)
    assert {bad.reason for bad in shredded.rejected} == {f"nested deeper than {NESTING_DEPTH_MAX} levels"}
    assert shredded.batch is None


def test_events_are_not_changed() -> None:
    event = {"timestamp": MOMENT, "a": {"b": (1, 2)}}
    copy = {"timestamp": MOMENT, "a": {"b": (1, 2)}}
    shred_dicts([event], ShredSettings(), ingest_time_us=NOW)
    assert event == copy


def test_datetimes_are_event_times() -> None:
    shredded = shred_dicts([{"timestamp": MOMENT}, {"timestamp": b"x"}], ShredSettings(), ingest_time_us=NOW)
    assert shredded.batch.column("timestamp")[0].as_py() == MOMENT
    assert shredded.batch.column("_timestamp_inferred").to_pylist() == [False, True]
    assert unshred(shredded.batch)[1] == {"timestamp": b"x"}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(EVENTS)
def test_dicts_and_their_json_make_the_same_batch(events: list[dict[str, Any]]) -> None:
    parsed = [json.loads(json.dumps(event)) for event in events]
    lines = "\n".join(map(json.dumps, events)).encode()
    shredded = shred_dicts(parsed, ShredSettings(), ingest_time_us=NOW)
    assert shredded.rejected == ()
    assert check_batch(shredded.batch).equals(
        shred_ndjson(lines, ShredSettings(), ingest_time_us=NOW).batch, check_metadata=True
    )


def test_slices_keep_order() -> None:
    events = [{"a": i} for i in range(10)]
    assert [len(part) for part in slices(events, 4)] == [4, 4, 2]
    assert [event for part in slices(events, 4) for event in part] == events


def test_fitting_halves_what_is_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = pa.record_batch({"a": pa.array(range(1000), pa.int64())})
    monkeypatch.setattr("ingest.shredded.BATCH_BYTES_MAX", 1000)
    pieces = list(fitting(batch))
    assert all(piece.nbytes <= 1000 for piece in pieces)
    assert pa.Table.from_batches(pieces).column("a").to_pylist() == list(range(1000))
    monkeypatch.setattr("ingest.shredded.BATCH_BYTES_MAX", 1)
    assert [piece.num_rows for piece in fitting(batch.slice(0, 3))] == [1, 1, 1]


def test_too_many_bytes_for_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.shredded.BATCH_BYTES_MAX", 100)
    with pytest.raises(InvalidRequest, match="too many for one batch"):
        shred_dicts([{"a": "x" * 60}] * 2, UNTIMED, ingest_time_us=NOW)
