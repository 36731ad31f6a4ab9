"""The compiled shredder beside the reference and Python's own json: any JSON events, however they are written."""

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.limits import EVENT_PATHS_MAX
from ingest.shred import ShredSettings, shred_ndjson
from ingest.unshred import unshred
from tests.fuzz.targets import NOW, SETTINGS, ndjson_difference
from tests.support.json_events import flat, typed

REAL = sorted((Path(__file__).resolve().parents[2].parent / "shared" / "data").glob("*.ndjson.zst"))
REAL_BYTES = 600_000  # of each
UNTIMED = ShredSettings(timestamp="never used path")

SPACE = st.sampled_from(["", "", "", "", " ", "\t", " \r"])
# Characters that end a run of plain text, or that take a different number of bytes.
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from('"\\/\0\n\x1f\x7f\x80é€\u2028\uffff😀')
ESCAPES = st.sampled_from(["never", "unicode", "short"])
WHOLE = (
    st.sampled_from([0, 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**18, 10**19, 2 * 10**19])
    | st.integers(0, 10**18)
    | st.integers(10**17, 10**30)
)
FRACTIONS = st.sampled_from(["", "", ".0", ".5", ".10", ".000001", ".1234567890123456789"]) | st.integers(0).map(
    lambda digits: f".{digits}"
)
EXPONENTS = st.sampled_from(["", "", "", "e0", "E5", "e+22", "e-7", "e22", "e-324", "e308", "e309", "e400", "e-400"])


def spelled(char: str, how: str) -> str:
    """One character of a JSON string."""
    short = {'"': '\\"', "\\": "\\\\", "/": "\\/", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    if how == "short" and char in short:
        return short[char]
    if how == "unicode" or char in '"\\' or char < " ":
        units = char.encode("utf-16-be")
        return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
    return char


STRINGS = st.builds(
    lambda text, how: '"' + "".join(spelled(char, how) for char in text) + '"',
    st.text(CHARACTERS, max_size=12) | st.text("xé", min_size=28, max_size=70),
    ESCAPES,
)
NUMBERS = st.builds(
    lambda sign, whole, fraction, exponent: f"{sign}{whole}{fraction}{exponent}",
    st.sampled_from(["", "-"]),
    WHOLE,
    FRACTIONS,
    EXPONENTS,
)
TIMES = st.sampled_from(
    ['"2024-02-29T12:00:60.5+01:30"', '"2024-02-30"', "1700000000", "1700000000.25", '"1700000000123"', '"soon"', "1e9"]
)
KEYS = st.builds(
    lambda key, how: '"' + "".join(spelled(char, how) for char in key) + '"',
    st.sampled_from(["a", "b", "a.b", "b.a", "", ".", "timestamp", "@timestamp", "é\n", "k" * 32])
    | st.text(max_size=3),
    st.sampled_from(["never", "never", "never", "unicode"]),
)


def members(values: Any) -> Any:
    member = st.builds("{}{}{}:{}{}{}".format, SPACE, KEYS, SPACE, SPACE, values, SPACE)
    return st.lists(member, max_size=5).map(lambda found: "{" + ",".join(found) + "}")


def arrays(values: Any) -> Any:
    item = st.builds("{}{}{}".format, SPACE, values, SPACE)
    return st.lists(item, max_size=5).map(lambda found: "[" + ",".join(found) + "]")


SCALARS = NUMBERS | STRINGS | TIMES | st.sampled_from(["true", "false", "null", "{}", "[]", "{ }"])
ONE_KIND = st.lists(SCALARS, min_size=1, max_size=1).flatmap(
    lambda kind: arrays(st.sampled_from([kind[0], kind[0], "null"]))
)
VALUES = st.recursive(SCALARS | ONE_KIND, lambda inner: members(inner) | arrays(inner), max_leaves=10)
EVENTS = st.lists(members(VALUES), min_size=1, max_size=5)


def python_reads(event: str) -> dict[str, Any]:
    """The attributes of an event by Python's json, numbers beyond 64 bits and float64 as Decimal."""

    def whole(digits: str) -> int | Decimal:
        value = int(digits)
        return value if -(2**63) <= value < 2**64 else Decimal(value)

    def real(literal: str) -> float | Decimal:
        value = float(literal)
        return Decimal(literal) if math.isinf(value) else value

    found = flat(json.loads(event, parse_int=whole, parse_float=real))
    return {path: typed(value) for path, value in found.items()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(EVENTS, st.sampled_from(SETTINGS), st.sampled_from(["\n", "\r\n", "\n\n \t\n"]))
def test_any_events_become_the_same_batch(events: list[str], how: ShredSettings, line_end: str) -> None:
    for data in (line_end.join(events), line_end.join(events) + line_end, "\ufeff" + line_end.join(events * 5)):
        assert ndjson_difference(data.encode(), how) is None


@settings(max_examples=50, deadline=None, derandomize=True)
@given(EVENTS, st.sampled_from([0, 1, 3, 1000]))
def test_any_events_hold_what_python_reads(events: list[str], max_paths: int) -> None:
    shredded = shred_ndjson(
        "\n".join(events).encode(), ShredSettings(timestamp="never used path", max_paths=max_paths), ingest_time_us=NOW
    )
    assert shredded.rejected == ()
    found = [{path: typed(value) for path, value in event.items()} for event in unshred(shredded.batch)]
    assert found == list(map(python_reads, events))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(EVENTS, st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=3)), max_size=4), st.sampled_from(SETTINGS))
def test_any_damage_is_refused_in_the_same_words(
    events: list[str], damage: list[tuple[float, bytes]], how: ShredSettings
) -> None:
    data = "\n".join(events).encode()
    for place, new in damage:
        at = int(place * len(data))
        data = data[:at] + new + data[at + len(new) :]
    assert ndjson_difference(data, how) is None


@pytest.mark.parametrize(
    "event",
    [
        '{"a":{"b":1},"a.b":2}',
        '{"a.b":1,"a":{"b":null}}',
        '{"a":1,"a":null,"a":{"b":{}}}',
        '{"a":{"b":{"c":1}},"a.b":{"c":2}}',
        '{"\\u0061":1,"a":2}',
        '{"":{"":{"":1}},"..":2}',
        '{"a":{"":1},"a.":2}',
        '{"' + "k" * 512 + '":{"a":1},"' + "k" * 513 + '":{"a":{"b":2}}}',
        '{"' + "é" * 256 + '":{"a":1},"' + "é" * 257 + '":{"a":2}}',
        '{"' + "k" * 4096 + '":1,"' + "k" * 4097 + '":2,"k":{"' + "k" * 4094 + '":3,"' + "k" * 4095 + '":4}}',
        '{"timestamp":{"a":1},"@timestamp":5}',
        '{"timestamp":{},"@timestamp":5}',
    ],
)
@pytest.mark.parametrize("how", SETTINGS)
def test_paths_that_meet_or_are_long(event: str, how: ShredSettings) -> None:
    assert ndjson_difference(f'{event}\n{{"a":1}}\n{event}\n'.encode(), how) is None


@pytest.mark.parametrize("depth", range(60, 68))
def test_nesting_around_the_limit(depth: int) -> None:
    """Objects in objects, arrays in an object, arrays in arrays below objects, objects in arrays."""
    rest = depth // 2
    events = [
        '{"a":' * depth + "1" + "}" * depth,
        '{"a":' * depth + "{}" + "}" * depth,
        '{"a":' * depth + "[1]" + "}" * depth,
        '{"a":' * depth + "[]" + "}" * depth,
        '{"a":' + "[" * depth + "1" + "]" * depth + "}",
        '{"a":' + "[" * depth + "]" * depth + "}",
        '{"a":' * rest + "[" * (depth - rest) + "1.50" + "]" * (depth - rest) + "}" * rest,
        '{"a":' + '[{"b":' * rest + "1" + "}]" * rest + "}",
    ]
    assert ndjson_difference("\n".join(events).encode(), UNTIMED) is None


@pytest.mark.parametrize("count", [EVENT_PATHS_MAX - 1, EVENT_PATHS_MAX, EVENT_PATHS_MAX + 1])
def test_paths_around_the_limit(count: int) -> None:
    values = dict.fromkeys(map(str, range(count)), 1)
    nulls = {**values, **{f"null {i}": None for i in range(3)}}
    events = [json.dumps(values), json.dumps({"a": values}), json.dumps(nulls), json.dumps({"a": values, "b": 1})]
    for event in events:
        assert ndjson_difference(event.encode(), ShredSettings(max_paths=5)) is None


def test_a_repeated_key_inside_an_array_of_many_keys() -> None:
    keys = [f'"key {i}":{i}' for i in range(300)]
    for repeated in (None, 0, 254, 255, 256, 299):
        inner = ",".join(keys if repeated is None else [*keys, keys[repeated] + "0"])
        assert ndjson_difference(f'{{"a":[[{{{inner}}}],{{{keys[0]}}}]}}'.encode(), UNTIMED) is None


def test_kinds_of_one_path_in_many_orders() -> None:
    values = ["1", "18446744073709551615", "1.5", "true", '"x"', "{}", "[]", "[1]", '["x"]', "[1.5]", "[[]]", "1e999"]
    orders = [values, values[::-1], values[6:] + values[:6], [value for value in values for _ in range(3)]]
    for order in orders:
        data = "\n".join(
            f'{{"a":{value},"n":{i},"{value[0]}":1}}'.replace('"""', '"q"') for i, value in enumerate(order)
        )
        for how in SETTINGS:
            assert ndjson_difference(data.encode(), how) is None


@pytest.mark.skipif(not REAL, reason="the real data sets are not there")
@pytest.mark.parametrize("path", REAL, ids=lambda path: path.name.partition(".")[0])
def test_real_events(path: Path) -> None:
    with pa.CompressedInputStream(path.open("rb"), "zstd") as stream:
        lines = stream.read(REAL_BYTES).split(b"\n")[:-1]
    for how in (ShredSettings(), ShredSettings(max_paths=15), ShredSettings(timestamp="no such path")):
        assert ndjson_difference(b"\n".join(lines), how) is None
    assert len(lines) > 10
