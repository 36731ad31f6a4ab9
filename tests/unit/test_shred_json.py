"""NDJSON → batch: kinds, paths, hostile lines, and any JSON document against Python's own json."""

import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import check_batch, decode_batch, encode_batch
from core.columns import key_of
from core.errors import InvalidRequest
from core.limits import BATCH_BYTES_MAX, EVENT_PATH_BYTES_MAX, EVENT_PATHS_MAX, NESTING_DEPTH_MAX, RECORD_BYTES_MAX
from ingest.shred import Shredded, ShredSettings, shred_ndjson
from ingest.unshred import unshred
from tests.support.json_events import flat, typed

NOW = 1_700_000_000_000_000
UNTIMED = ShredSettings(timestamp="no such attribute")


def shred(*lines: str | bytes, settings: ShredSettings = UNTIMED) -> Shredded:
    data = b"\n".join(line.encode() if isinstance(line, str) else line for line in lines)
    return shred_ndjson(data, settings, ingest_time_us=NOW)


def columns(shredded: Shredded) -> dict[str, list[Any]]:
    """ "path kind" → values, attribute columns only."""
    batch = check_batch(shredded.batch)
    keys = [key_of(field) for field in batch.schema]
    return {f"{key.path} {key.kind}": batch.column(i).to_pylist() for i, key in enumerate(keys) if key}


@pytest.mark.parametrize(
    ("literal", "kind", "value"),
    [
        ("true", "bool", True),
        ("0", "int", 0),
        ("-0", "int", 0),
        ("9223372036854775807", "int", 2**63 - 1),
        ("-9223372036854775808", "int", -(2**63)),
        ("9223372036854775808", "uint", 2**63),
        ("18446744073709551615", "uint", 2**64 - 1),
        ("18446744073709551616", "decimal", "18446744073709551616"),
        ("-9223372036854775809", "decimal", "-9223372036854775809"),
        ("1" * 5000, "decimal", "1" * 5000),
        ("1.0", "float", 1.0),
        ("1e5", "float", 1e5),
        ("0.1", "float", 0.1),
        ("2.2250738585072011e-308", "float", 2.2250738585072011e-308),
        ("9007199254740993.0", "float", 9007199254740992.0),
        ("1e-400", "float", 0.0),
        ("123456789012345678901234567890.5", "float", 1.2345678901234568e29),
        ("1e400", "decimal", "1e400"),
        ("-1.50E+999", "decimal", "-1.50E+999"),
        ('""', "str", ""),
        (r'"\u0000\ud83d\ude00\n\/"', "str", "\0😀\n/"),
        ('"ünï"', "str", "ünï"),
        ("{}", "json", "{}"),
        ("[]", "json", "[]"),
        ("[null]", "json", "[null]"),
        ("[true,null]", "bool[]", [True, None]),
        ("[1,2]", "int[]", [1, 2]),
        ("[18446744073709551615]", "uint[]", [2**64 - 1]),
        ("[1,18446744073709551615]", "json", "[1,18446744073709551615]"),
        ("[1.5,null]", "float[]", [1.5, None]),
        ("[1, 1.5]", "json", "[1,1.5]"),
        ('["a",""]', "str[]", ["a", ""]),
        ("[1,true]", "json", "[1,true]"),
        ('[{"b" : "ü\\n", "a":1e400, "b":2}]', "json", '[{"b":2,"a":1e400}]'),
        ("[123456789012345678901, -0, -0.0]", "json", "[123456789012345678901,0,-0.0]"),
        ("[[]]", "json", "[[]]"),
    ],
)
def test_kind_and_exact_value(literal: str, kind: str, value: Any) -> None:
    assert columns(shred(f'{{"a":{literal}}}')) == {f"a {kind}": [value]}


def test_negative_zero_keeps_its_sign() -> None:
    assert str(columns(shred('{"a":-0.0}'))["a float"][0]) == "-0.0"


def test_each_kind_of_a_path_is_a_column() -> None:
    shredded = shred('{"a":1}', '{"a":1.5}', '{"a":"x"}', '{"a":"y"}', '{"a":{"b":true}}', '{"a":[1]}', "{}")
    assert columns(shredded) == {
        "a float": [None, 1.5, None, None, None, None, None],
        "a int": [1, None, None, None, None, None, None],
        "a int[]": [None, None, None, None, None, [1], None],
        "a str": [None, None, "x", "y", None, None, None],
        "a.b bool": [None, None, None, None, True, None, None],
    }
    assert shredded.batch.schema.names[2:] == ["a::float", "a::int", "a::int[]", "a", "a.b"]


@pytest.mark.parametrize(
    ("event", "attributes"),
    [
        ('{"a.b":1,"a":{"b":2}}', {"a.b": 2}),
        ('{"a":{"b":2},"a.b":"x"}', {"a.b": "x"}),
        ('{"a.b":1,"a":{"b":null}}', {"a.b": 1}),
        ('{"a":1,"a":2}', {"a": 2}),
        ('{"a":1,"a":null}', {}),
        ('{"a":{"x":1},"a":{"y":2}}', {"a.y": 2}),
        ('{"":1}', {"": 1}),
        ('{"a":{"":1}}', {"a.": 1}),
        ('{"":{"":1}}', {".": 1}),
        ('{"A":1,"a":2}', {"A": 1, "a": 2}),
        ('{"a":{"b":{}},"c":null}', {"a.b": {}}),
        ('{"a\\u0000b":1}', {"a\0b": 1}),
        ('{"timestamp":1,"_offset":2,"_rest":3}', {"timestamp": 1, "_offset": 2, "_rest": 3}),
        ("{}", {}),
    ],
)
def test_paths(event: str, attributes: dict[str, Any]) -> None:
    assert unshred(check_batch(shred(event).batch)) == [attributes]


def test_empty_arrays_join_the_most_frequent_list_kind_of_their_path() -> None:
    found = columns(
        shred('{"a":[]}', '{"a":["x"],"b":[]}', '{"a":["y"],"b":["z"]}', '{"a":[1],"b":[2]}', '{"a":[],"c":[]}')
    )
    assert found["a str[]"] == [[], ["x"], ["y"], None, []]
    assert found["a int[]"] == [None, None, None, [1], None]
    assert found["b int[]"] == [None, [], None, [2], None]
    assert found["b str[]"] == [None, None, ["z"], None, None]
    assert found["c json"] == [None, None, None, None, "[]"]


def test_rarest_paths_go_to_rest() -> None:
    shredded = shred(
        '{"a":1,"b":1,"z":{"y":[1,"ü"]}}',
        '{"a":2,"b":"x","w":1e400}',
        '{"a":3}',
        '{"a":4,"b":2}',
        settings=ShredSettings(timestamp="t", max_paths=2),
    )
    assert columns(shredded) == {"a int": [1, 2, 3, 4], "b int": [1, None, None, 2]}
    assert shredded.batch.column("_rest").to_pylist() == ['{"z.y":[1,"ü"]}', '{"b":"x","w":1e400}', None, None]
    assert unshred(shredded.batch)[1] == {"a": 2, "b": "x", "w": Decimal("1e400")}


def test_long_paths_go_to_rest() -> None:
    shredded = shred(json.dumps({"a": 1, "ü" * 2048: 2, "ü" * 2049: 3}))
    assert sorted(columns(shredded)) == ["a int", "ü" * 2048 + " int"]
    assert json.loads(shredded.batch.column("_rest")[0].as_py()) == {"ü" * 2049: 3}


def test_strings_that_repeat_become_a_dictionary() -> None:
    shredded = shred(*(f'{{"a":"{i % 2}","b":"{i % 3}"}}' for i in range(8)))
    types = {field.name: field.type for field in shredded.batch.schema}
    assert types["a"] == pa.dictionary(pa.int32(), pa.string())
    assert types["b"] == pa.string()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("[1]", "expected a JSON object, found an array"),
        ("7", "expected a JSON object, found a number"),
        ("null", "expected a JSON object, found null"),
        ('"x"', "expected a JSON object, found a string"),
        ('{"a":1 "b":2}', "expected ',' or a closing '}' or ']' at column 8"),
        ('{"a" 1}', "expected ':' at column 6"),
        ('{"a":', "expected a value at column 6"),
        ('{"a":"secret', "unterminated string that begins at column 6"),
        ('{"a":1', "expected ',' or a closing '}' or ']' at column 7"),
        ("{a:1}", "expected a quoted name at column 2"),
        ('{"a":1}}', "more text after the object at column 8"),
        ('{"a":"\\q"}', "unknown escape in a string at column 7"),
        ('{"a":"\x01"}', "unescaped control character in a string at column 7"),
        ('{"a":NaN}', "NaN is not a JSON value"),
        ('{"a":-Infinity}', "-Infinity is not a JSON value"),
        ('{"a":01}', "expected ',' or a closing '}' or ']' at column 7"),
        ('{"a":"\\ud800"}', "a string holds half of a surrogate pair"),
        ('{"a":["\\udc00\\ud800"]}', "a string holds half of a surrogate pair"),
        ('{"\\ud800":1}', "a string holds half of a surrogate pair"),
        (b'{"a":"\xff"}', "invalid utf-8 at byte 7"),
        (b'{"a":"\xed\xa0\x80"}', "invalid utf-8 at byte 7"),
        ('{"a":' + "[" * 64 + "]" * 64 + "}", f"nested deeper than {NESTING_DEPTH_MAX} levels"),
        ('{"a":' * 64 + "{}" + "}" * 64, f"nested deeper than {NESTING_DEPTH_MAX} levels"),
        ("[" * 100_000, f"nested deeper than {NESTING_DEPTH_MAX} levels"),
        ('{"a":' * 100_000, f"nested deeper than {NESTING_DEPTH_MAX} levels"),
        (json.dumps(dict.fromkeys(map(str, range(10_001)), 1)), f"more than {EVENT_PATHS_MAX} paths"),
        (
            json.dumps({"k" * 100_000: {str(i): 1 for i in range(9000)}}),
            f"its paths take more than {EVENT_PATH_BYTES_MAX} bytes",
        ),
        ('{"a":"' + "x" * RECORD_BYTES_MAX + '"}', f"longer than {RECORD_BYTES_MAX} bytes"),
    ],
)
def test_a_bad_line_is_rejected_and_nothing_else(line: str | bytes, reason: str) -> None:
    shredded = shred('{"good":1}', line, '{"good":2}')
    assert [(bad.line, bad.byte_offset, bad.reason) for bad in shredded.rejected] == [(2, 11, reason)]
    assert columns(shredded) == {"good int": [1, 2]}


def test_legal_extremes_are_kept() -> None:
    deep = '{"a":' * 63 + "1" + "}" * 63
    wide = json.dumps(dict.fromkeys(map(str, range(10_000)), 1))
    shredded = shred(deep, '{"a":' + "[" * 63 + "]" * 63 + "}", wide)
    assert shredded.rejected == ()
    assert len(unshred(shredded.batch)[2]) == EVENT_PATHS_MAX


def test_lines_blank_crlf_bom_and_positions() -> None:
    data = b'\xef\xbb\xbf{"a":1}\r\n\r\n  \nbad\n {"a":2} \n\xef\xbb\xbf{}\n{"a":3}'
    shredded = shred_ndjson(data, UNTIMED, ingest_time_us=NOW, first_line=1, first_byte=0)
    assert columns(shredded) == {"a int": [1, 2, 3]}
    assert [(bad.line, bad.byte_offset) for bad in shredded.rejected] == [(4, 17), (6, 31)]
    assert all(data[bad.byte_offset :].startswith((b"bad", b"\xef\xbb\xbf{}")) for bad in shredded.rejected)
    later = shred_ndjson(memoryview(b"{}\nbad"), UNTIMED, ingest_time_us=NOW, first_line=10, first_byte=500)
    assert [(bad.line, bad.byte_offset) for bad in later.rejected] == [(11, 503)]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b"bad"])
def test_no_good_event_is_no_batch(data: bytes) -> None:
    assert shred_ndjson(data, UNTIMED, ingest_time_us=NOW).batch is None


def test_too_much_for_a_batch() -> None:
    with pytest.raises(InvalidRequest, match="too many for one batch"):
        shred_ndjson(bytes(BATCH_BYTES_MAX + 1), UNTIMED, ingest_time_us=NOW)


def test_event_time_is_taken_or_inferred() -> None:
    shredded = shred(
        '{"timestamp":"2024-01-02T03:04:05.1234567Z","@timestamp":1}',
        '{"@timestamp":1704164645}',
        '{"timestamp":null,"@timestamp":"1704164645000"}',
        '{"timestamp":"soon","@timestamp":1}',
        '{"timestamp":[1]}',
        '{"x":1}',
        settings=ShredSettings(),
    )
    batch = check_batch(shredded.batch)
    start = 1_704_164_645_000_000
    assert batch.column("timestamp").cast(pa.int64()).to_pylist() == [start + 123_456, start, start, NOW, NOW, NOW]
    assert batch.column("_timestamp_inferred").to_pylist() == [False, False, False, True, True, True]
    assert (shredded.timestamps_missing, shredded.timestamps_unreadable) == (1, 2)
    assert columns(shredded) == {
        "@timestamp int": [1, None, None, 1, None, None],
        "timestamp int[]": [None, None, None, None, [1], None],
        "timestamp str": [None, None, None, "soon", None, None],
        "x int": [None, None, None, None, None, 1],
    }
    assert batch.schema.names[3:5] == ["timestamp::int[]", "timestamp::str"]


def test_event_time_at_a_nested_path() -> None:
    shredded = shred('{"a":{"t":0},"timestamp":5}', settings=ShredSettings(timestamp="a.t"))
    assert columns(shredded) == {"timestamp int": [5]}
    assert shredded.batch.column("timestamp").cast(pa.int64()).to_pylist() == [0]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
NUMBERS = st.integers() | st.integers(-(2**65), 2**65) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.sampled_from("ab."), inner, max_size=4),
    max_leaves=12,
)
EVENTS = st.lists(
    st.dictionaries(TEXT | st.sampled_from(["a", "b", "a.b"]), VALUES, max_size=5), min_size=1, max_size=6
)


def exact(value: Any) -> Any:
    """json.loads' value with whole numbers beyond 64 bits as Decimal, as unshred gives them."""
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**64:
        return Decimal(value)
    if isinstance(value, list):
        return [exact(item) for item in value]
    return {key: exact(item) for key, item in value.items()} if isinstance(value, dict) else value


@settings(max_examples=150, deadline=None, derandomize=True)
@given(EVENTS, st.booleans(), st.integers(0, 5))
def test_any_json_comes_back_equal(events: list[dict[str, Any]], ascii_only: bool, max_paths: int) -> None:
    lines = [json.dumps(event, ensure_ascii=ascii_only) for event in events]
    expected = [{path: typed(exact(value)) for path, value in flat(json.loads(line)).items()} for line in lines]
    for limit in (max_paths, 1000):
        shredded = shred(*lines, settings=ShredSettings(timestamp="never used path", max_paths=limit))
        assert shredded.rejected == ()
        again = decode_batch(encode_batch(check_batch(shredded.batch)))
        assert [{path: typed(value) for path, value in event.items()} for event in unshred(again)] == expected


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=30) | st.text(alphabet='{}[]",:\\u0019d8.eE-+ntrf al', max_size=40), max_size=5))
def test_any_bytes_are_kept_or_rejected_as_python_does(lines: list[bytes | str]) -> None:
    encoded = [line.encode() if isinstance(line, str) else line.replace(b"\n", b"") for line in lines]
    shredded = shred(*(line.replace(b"\xef\xbb\xbf", b"") for line in encoded))
    good = bad = 0
    for line in encoded:
        line = line.replace(b"\xef\xbb\xbf", b"")
        if not line.strip(b" \t\r"):
            continue
        try:
            event = json.loads(line.decode(), parse_constant=_refuse)
            json.dumps(event, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            event = None
        good += isinstance(event, dict)
        bad += not isinstance(event, dict)
    assert (0 if shredded.batch is None else shredded.batch.num_rows, len(shredded.rejected)) == (good, bad)


def _refuse(name: str) -> None:
    raise ValueError(name)
