"""Columns → NDJSON against ingest.unshred and json, and around: shredding the text again gives the same columns."""

import base64
import ctypes
import datetime
import functools
import itertools
import json
import math
import mmap
import struct
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import SYSTEM_FIELDS, TIMESTAMP, TIMESTAMP_INFERRED, decode_batch, encode_batch
from core.columns import KINDS, ColumnKey, allocate_names, arrow_type, field_of
from core.errors import Corrupt, InvalidRequest
from core.limits import NESTING_DEPTH_MAX
from ingest.event_time import TIME_US_MAX, TIME_US_MIN, instant_us, rfc3339
from ingest.generate import generator
from ingest.shred import ShredSettings, shred_arrow, shred_ndjson
from ingest.unshred import unshred
from ingest.unshred_json import to_ndjson
from tests.support.json_events import flat, typed

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FILES = sorted(DATA.glob("*.ndjson.zst"))
EVENTS = 1000
NOW = 1_700_000_000_000_000
UNTIMED = ShredSettings(timestamp="never used path")


def shred(*lines: str, settings: ShredSettings = UNTIMED) -> pa.RecordBatch:
    shredded = shred_ndjson("\n".join(lines).encode(), settings, ingest_time_us=NOW)
    assert (len(shredded.rejected), shredded.batch.num_rows) == (0, len(lines))
    return shredded.batch


def batch_of(columns: dict[tuple[str, str], Iterable[Any]], times: Iterable[int | None] = (None,)) -> pa.RecordBatch:
    """A batch of (path, kind) → values; a time of None is an inferred one."""
    times = list(times)
    arrays = [pa.array([time or 0 for time in times], pa.timestamp("us", "UTC")), pa.array([t is None for t in times])]
    fields = [SYSTEM_FIELDS[TIMESTAMP], SYSTEM_FIELDS[TIMESTAMP_INFERRED]]
    keys = [ColumnKey(*key) for key in columns]
    names = allocate_names([(key, 1) for key in keys], [TIMESTAMP])
    for key, values in zip(keys, columns.values(), strict=True):
        arrays.append(values if isinstance(values, pa.Array) else pa.array(values, arrow_type(key.kind)))
        fields.append(field_of(names[key], key, arrays[-1].type))
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def lines_of(batch: pa.RecordBatch | pa.Table, **options: Any) -> list[str]:
    text = to_ndjson(batch, **options).to_pybytes().decode()
    assert text == "" or text.endswith("\n")
    lines = text.split("\n")[:-1]
    assert len(lines) == batch.num_rows
    return lines


def read(line: str) -> Any:
    """The event of a line; numbers that neither (u)int64 nor float64 holds as Decimal, as in the columns."""

    def whole(text: str) -> int | Decimal:
        return int(text) if -(2**63) <= Decimal(text) < 2**64 else Decimal(text)

    def broken(text: str) -> float | Decimal:
        return float(text) if math.isfinite(float(text)) else Decimal(text)

    def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(members)) == len(members)
        return dict(members)

    return json.loads(line, parse_int=whole, parse_float=broken, object_pairs_hook=unique)


def plain(value: Any) -> Any:
    """A value of ingest.unshred as JSON has it."""
    if isinstance(value, datetime.datetime):
        return rfc3339(instant_us(value))
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()} if isinstance(value, dict) else value


def assert_like_reference(batch: pa.RecordBatch, timestamp: str = TIMESTAMP) -> None:
    for nested in (True, False):
        found = [read(line) for line in lines_of(batch, nested=nested, timestamp=timestamp)]
        expected = unshred(batch, nested=nested, timestamp=timestamp)
        assert [typed(event) for event in found] == [typed(plain(event)) for event in expected]
        if not nested:
            assert [list(event) for event in found] == [sorted(event) for event in found]


KEYS = ["a", "b", "a.b", "a.b.c", "a.c", "a-b", "b.a", ".", "", "é", 'q"\\\n\x01', TIMESTAMP]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
KEY = st.sampled_from(KEYS) | st.text(st.sampled_from('ab.\\"\x7fé\u2028😀'), max_size=6)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
NUMBERS = st.integers() | st.integers(-(2**65), 2**65) | FLOATS
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEY, inner, max_size=4),
    max_leaves=12,
)
DOCUMENTS = st.lists(st.dictionaries(KEY, VALUES, max_size=6), min_size=1, max_size=8)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(DOCUMENTS, st.integers(0, 6) | st.just(1000), st.data())
def test_any_json_comes_back(documents: list[dict[str, Any]], max_paths: int, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([None, "a", "a.b"]))
    again = ShredSettings(timestamp=path, max_paths=max_paths)
    batch = decode_batch(encode_batch(shred(*map(json.dumps, documents), settings=again)))
    start = data.draw(st.integers(0, len(documents) - 1))
    part = batch.slice(start, data.draw(st.integers(0, len(documents) - start)))
    assert_like_reference(part, path or TIMESTAMP)
    lines = lines_of(batch, nested=False, timestamp=path or TIMESTAMP)
    assert lines_of(part, nested=False, timestamp=path or TIMESTAMP) == lines[start : start + part.num_rows]
    assert shred(*lines, settings=again).equals(batch, check_metadata=True)
    if not any(has_filled_empty_object(event) for event in unshred(batch)):
        lines = lines_of(batch, timestamp=path or TIMESTAMP)
        assert shred(*lines, settings=again).equals(batch, check_metadata=True)


def has_filled_empty_object(event: dict[str, Any]) -> bool:
    """Whether nested objects cannot tell an empty object of a flat event from the one around other attributes."""
    return any(value == {} and any(other.startswith(f"{path}.") for other in event) for path, value in event.items())


ITEMS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(2**63), 2**63 - 1) | st.integers(-1000, 1000),
    "uint": st.integers(0, 2**64 - 1),
    "float": st.floats() | st.integers(-(10**17), 10**17).map(float),
    "str": TEXT,
}
BY_KIND: dict[str, st.SearchStrategy[Any]] = {
    **ITEMS,
    **{f"{kind}[]": st.lists(st.none() | item, max_size=5) for kind, item in ITEMS.items()},
    "decimal": st.sampled_from(["1e400", "18446744073709551616", "-1.50E+999", "1" * 100]),
    "json": st.sampled_from(["{}", "[]", '[1,{"a":null}]', '["\\u0000",1.5]', '[1,\n"é"]']),
    "time": st.integers(TIME_US_MIN, TIME_US_MAX) | st.integers(-(10**15), 10**15),
    "bin": st.binary(max_size=50),
}
ENCODINGS = {
    "str": (pa.dictionary(pa.int32(), pa.string()), pa.dictionary(pa.int8(), pa.large_string()), pa.string_view()),
    "bin": (pa.large_binary(), pa.binary_view()),
    "json": (pa.large_string(), pa.dictionary(pa.int32(), pa.string())),
    "int[]": (pa.large_list(pa.int64()),),
    "str[]": (pa.large_list(pa.string_view()), pa.list_view(pa.string())),
}


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_any_columns_are_written_as_the_reference_has_them(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 10) | st.sampled_from([64, 65, 130]))
    keys = data.draw(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(KINDS)), max_size=8, unique=True))
    columns = {}
    for key in keys:
        few = data.draw(st.lists(st.none() | BY_KIND[key[1]], min_size=1, max_size=10))
        array = pa.array(itertools.islice(itertools.cycle([*few, None]), rows), arrow_type(key[1]))
        type_ = data.draw(st.sampled_from([array.type, *ENCODINGS.get(key[1], ())]))
        columns[key] = pa.array(array.to_pylist(), type_)
    times = data.draw(st.lists(st.none() | BY_KIND["time"], min_size=rows, max_size=rows))
    batch = batch_of(columns, times)
    start = data.draw(st.integers(0, rows - 1))
    assert_like_reference(batch.slice(start), data.draw(KEY))


@functools.cache
def thinned(path: Path) -> list[str]:
    """EVENTS lines of a file, spread evenly over it."""
    with pa.input_stream(str(path), compression="zstd") as stream:
        lines = stream.read().splitlines()
    return [line.decode() for line in lines[:: -(-len(lines) // EVENTS)]]


@pytest.mark.skipif(not FILES, reason="the real data sets are not there")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.partition(".")[0])
@pytest.mark.parametrize("max_paths", [1000, 20])
def test_real_events_come_back(path: Path, max_paths: int) -> None:
    again = ShredSettings(timestamp="@timestamp", max_paths=max_paths)
    given_lines = thinned(path)
    batch = shred(*given_lines, settings=again)
    written = lines_of(batch, timestamp="@timestamp")
    for line, source in zip(written, given_lines, strict=True):
        found, expected = flat(json.loads(line)), flat(json.loads(source))
        expected["@timestamp"] = rfc3339(instant_us(datetime.datetime.fromisoformat(expected["@timestamp"])))
        assert typed(found) == typed(expected)
    for options in ({"nested": True}, {"nested": False}):
        lines = lines_of(batch, timestamp="@timestamp", **options)
        assert shred(*lines, settings=again).equals(batch, check_metadata=True)
        assert lines_of(batch.slice(333, 100), timestamp="@timestamp", **options) == lines[333:433]


def test_generated_events_come_back() -> None:
    batch = generator("logs", 3).batch(2000, NOW)
    back = shred(*lines_of(batch), settings=ShredSettings())
    for field in batch.schema:
        assert back.column(field.name).to_pylist() == batch.column(field.name).to_pylist()


@pytest.mark.parametrize(
    ("event", "nested", "dotted"),
    [
        ('{"a.b":1,"c":2}', '{"a":{"b":1},"c":2}', '{"a.b":1,"c":2}'),
        ('{"a":{"b":{"c":1,"d":2},"e":3}}', '{"a":{"b":{"c":1,"d":2},"e":3}}', '{"a.b.c":1,"a.b.d":2,"a.e":3}'),
        ('{"a":1,"a.b":2,"a.b.c":3,"d":4}', '{"a":1,"a.b":2,"a.b.c":3,"d":4}', '{"a":1,"a.b":2,"a.b.c":3,"d":4}'),
        ('{"a.b":2,"a.b.c":3}', '{"a":{"b":2,"b.c":3}}', '{"a.b":2,"a.b.c":3}'),
        ('{"a":{},"a-":0,"a.b":2}', '{"a-":0,"a":{"b":2}}', '{"a":{},"a-":0,"a.b":2}'),
        ('{"a":{"b":{}},"a.b.c":{}}', '{"a":{"b":{"c":{}}}}', '{"a.b":{},"a.b.c":{}}'),
        ('{"a":1,"a.b":{},"a.b.c":2}', '{"a":1,"a.b":{},"a.b.c":2}', '{"a":1,"a.b":{},"a.b.c":2}'),
        ('{"a":{"b":1,"b.c":{}},"a.b.c.d":2}', '{"a":{"b":1,"b.c":{},"b.c.d":2}}', '{"a.b":1,"a.b.c":{},"a.b.c.d":2}'),
        ('{"a":{}}', '{"a":{}}', '{"a":{}}'),
        ('{"":{"":1}}', '{"":{"":1}}', '{".":1}'),
        ('{"é\\n\\u0000.\\"":"\\u007f/\\t\\b\\f\\u001f"}', None, '{"é\\n\\u0000.\\"":"\x7f/\\t\\b\\f\\u001f"}'),
        ("{}", "{}", "{}"),
    ],
)
@pytest.mark.parametrize("max_paths", [1000, 1, 0])
def test_objects(event: str, nested: str | None, dotted: str, max_paths: int) -> None:
    batch = shred(event, '{"other":1}', settings=ShredSettings(timestamp="never used path", max_paths=max_paths))
    assert lines_of(batch, nested=False) == [dotted, '{"other":1}']
    assert lines_of(batch)[0] == (nested or '{"é\\n\\u0000":{"\\"":"\x7f/\\t\\b\\f\\u001f"}}')


def test_paths_stay_dotted_where_they_could_not_be_shredded_again() -> None:
    path = ".".join(map(str, range(100)))
    (line,) = lines_of(shred(f'{{"{path}":1}}'))
    assert line.count("{") == NESTING_DEPTH_MAX
    assert lines_of(shred(line), nested=False) == [f'{{"{path}":1}}']


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("bool", True, "true"),
        ("int", -(2**63), "-9223372036854775808"),
        ("uint", 2**64 - 1, "18446744073709551615"),
        ("uint", 10**16, "10000000000000000"),
        ("decimal", "-1.50E+999", "-1.50E+999"),
        ("float", 1.0, "1.0"),
        ("float", -0.0, "-0.0"),
        ("float", 1e16, "1e+16"),
        ("float", 1e15, "1000000000000000.0"),
        ("float", 0.0001, "0.0001"),
        ("float", 1.25e-05, "1.25e-05"),
        ("float", 5e-324, "5e-324"),
        ("float", math.inf, '"Infinity"'),
        ("float", -math.inf, '"-Infinity"'),
        ("float", math.nan, '"NaN"'),
        ("str", "", '""'),
        ("str", "é😀\u2028\x7f/", '"é😀\u2028\x7f/"'),
        ("json", '[1,\n{"a":2}]', '[1, {"a":2}]'),
        ("time", 0, '"1970-01-01T00:00:00Z"'),
        ("time", 951_782_399_123_000, '"2000-02-28T23:59:59.123Z"'),
        ("time", 951_868_799_000_001, '"2000-02-29T23:59:59.000001Z"'),
        ("time", TIME_US_MAX, '"9999-12-31T23:59:59.999999Z"'),
        ("time", TIME_US_MIN, '"0001-01-01T00:00:00Z"'),
        ("time", TIME_US_MIN - 1, f'"{TIME_US_MIN - 1}"'),
        ("time", -(2**63), '"-9223372036854775808"'),
        ("bin", b"\xff\x00a", '"/wBh"'),
        ("bin", b"ab", '"YWI="'),
        ("bin", b"", '""'),
        ("bool[]", [True, None, False], "[true,null,false]"),
        ("float[]", [None, math.nan, 2.0], '[null,"NaN",2.0]'),
        ("str[]", ["", None, '"'], '["",null,"\\""]'),
        ("int[]", [], "[]"),
    ],
)
def test_text_of_values(kind: str, value: Any, text: str) -> None:
    assert lines_of(batch_of({("a", kind): [value]})) == [f'{{"a":{text}}}']


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 2**64 - 1), min_size=200, max_size=200))
def test_floats_of_any_bits_are_written_as_repr_does(patterns: list[int]) -> None:
    values = [value for bits in patterns if math.isfinite(value := struct.unpack("<d", struct.pack("<Q", bits))[0])]
    assert lines_of(batch_of({("a", "float[]"): [values]})) == [f'{{"a":[{",".join(map(repr, values))}]}}']


def test_every_day_has_its_date() -> None:
    first = datetime.datetime(1896, 1, 1, tzinfo=datetime.UTC)
    days = [first + datetime.timedelta(days=day) for day in range(150_000)]
    lines = lines_of(batch_of({("a", "time"): days}, [None] * len(days)))
    assert lines == [f'{{"a":"{day.isoformat()[:10]}T00:00:00Z"}}' for day in days]


def test_event_time() -> None:
    batch = batch_of({("t", "str"): [None, None, "x"], ("a.b", "int"): [1, 2, 3]}, [1, None, 2])
    assert lines_of(batch, timestamp="t") == [
        '{"a":{"b":1},"t":"1970-01-01T00:00:00.000001Z"}',
        '{"a":{"b":2}}',
        '{"a":{"b":3},"t":"x"}',
    ]
    assert lines_of(batch, timestamp="a.t")[0] == '{"a":{"b":1,"t":"1970-01-01T00:00:00.000001Z"}}'


def test_system_columns_are_hidden_in_events_and_shown_in_results() -> None:
    batch = batch_of({("a", "int"): [1], ("_offset", "int"): [2]}, [0])
    for name, value in (("_ingested_at", NOW), ("_shard", 3), ("_rest", None)):
        batch = batch.append_column(name, pa.array([value], SYSTEM_FIELDS[name].type if value != 3 else None))
    assert lines_of(batch) == ['{"_offset":2,"a":1,"timestamp":"1970-01-01T00:00:00Z"}']
    system = batch.select([TIMESTAMP, TIMESTAMP_INFERRED, "_ingested_at"])
    assert lines_of(system) == ['{"timestamp":"1970-01-01T00:00:00Z"}']
    assert lines_of(pa.table({"_shard": [4], "_rest": ["x"], "count": [2]})) == ['{"_rest":"x","_shard":4,"count":2}']


def test_nothing_to_write() -> None:
    batch = shred('{"a":1}')
    for empty in (batch.slice(0, 0), pa.table({}), pa.Table.from_batches([], batch.schema), pa.table({"a": []})):
        assert to_ndjson(empty).size == 0
    assert lines_of(batch_of({("a", "int"): [None, None]}, [None, None])) == ["{}", "{}"]


def test_chunks_with_dictionaries_of_their_own() -> None:
    one, two = (pa.array(values).dictionary_encode() for values in (["x", "y", "x"], ["z", "y"]))
    table = pa.table({"a": pa.chunked_array([one, two.slice(1), two])})
    assert lines_of(table) == [f'{{"a":"{value}"}}' for value in "xyxyzy"]


def test_strings_without_null_but_a_null_in_the_dictionary() -> None:
    values = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["x", None]))
    assert lines_of(batch_of({("a", "str"): values}, [None, None])) == ['{"a":"x"}', "{}"]


def test_foreign_columns_are_written_as_they_would_be_stored() -> None:
    table = pa.table(
        {
            "n": pa.array([1, None, 300], pa.int16()),
            "u": pa.array([2**63, 1, None], pa.uint64()),
            "f": pa.array([0.5, math.nan, None], pa.float32()),
            "s": pa.array(["x", None, "y"], pa.string_view()),
            "t": pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5, 678_000), None, None], pa.timestamp("ns")),
            "d": pa.array([datetime.date(2024, 1, 2), None, None]),
            "x": pa.array([Decimal("1.50"), None, Decimal("-7.00")], pa.decimal128(9, 2)),
            "b": pa.array([b"ab", b"", None], pa.large_binary()),
            "l": pa.array([[1, None], [], None], pa.list_(pa.int8())),
            "o": pa.array([{"p": 1, "q": {"r": "z"}}, {"p": None, "q": None}, None]),
            "m": pa.array([[{"k": 1}, {"k": None}], [], None]),
            "none": pa.nulls(3),
        }
    )
    assert lines_of(table)[0] == (
        '{"b":"YWI=","d":"2024-01-02T00:00:00Z","f":0.5,"l":[1,null],"m":[{"k":1},{"k":null}],"n":1,'
        '"o":{"p":1,"q":{"r":"z"}},"s":"x","t":"2024-01-02T03:04:05.678Z","u":9223372036854775808,"x":1.50}'
    )
    stored = shred_arrow(table, UNTIMED, ingest_time_us=NOW).batch
    assert lines_of(table) == lines_of(stored)
    assert_like_reference(stored.drop_columns(["x"]))


def test_a_query_result() -> None:
    result = duckdb.sql(
        "SELECT i, i::DOUBLE / 4 AS q, 'x' || i AS s, TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_seconds(i) AS timestamp, "
        "sum(i) OVER () AS total, [i, NULL] AS l, {'a': i} AS o FROM range(3000) r(i) ORDER BY i"
    ).to_arrow_table()
    lines = lines_of(result)
    assert lines[2] == (
        '{"i":2,"l":[2,null],"o":{"a":2},"q":0.5,"s":"x2","timestamp":"2024-01-01T00:00:02Z","total":4498500}'
    )
    assert [json.loads(line)["i"] for line in lines] == list(range(3000))


def test_more_text_than_expected() -> None:
    texts = ["\x01" * 100_000, "a", "\x02" * 300_000, *(["\x03" * 500] * 1000)]
    lines = lines_of(batch_of({("a", "str"): texts, ("b", "str[]"): [[text] for text in texts]}, [None] * len(texts)))
    assert [json.loads(line) for line in lines] == [{"a": text, "b": [text]} for text in texts]


def test_many_columns() -> None:
    event = {f"p{number % 7}.q{number}": number for number in range(300)}
    batch = shred(*(json.dumps({key: value for key, value in event.items() if value % 9 != row}) for row in range(9)))
    assert_like_reference(batch)


def test_texts_are_not_read_beyond_the_page_they_end_in() -> None:
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    memory[:page] = b"\xc3\xa9" * (page // 2)
    assert libc.mprotect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), 0) == 0
    data = pa.foreign_buffer(address, page, memory)
    offsets = pa.array([0, page - 50, page - 2, page, page], pa.int32()).buffers()[1]
    texts = pa.Array.from_buffers(pa.string(), 4, [None, offsets, data])
    lines = lines_of(batch_of({("a", "str"): texts}, [None] * 4))
    assert [json.loads(line)["a"] for line in lines] == ["é" * (page // 2 - 25), "é" * 24, "é", ""]
    libc.mprotect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"a"}', '{"a":}', '{"a":1', '{"a":1,}', '{"a":1}x', '{"a:1}', '{"a":[1}', '{"\\ud800":1}', "1"],
)
def test_what_is_no_object_in_rest_is_corrupt(text: str) -> None:
    batch = batch_of({}, [None, None]).append_column("_rest", pa.array([None, text]))
    with pytest.raises(Corrupt, match="_rest"):
        to_ndjson(batch)


def test_rest_wins_and_white_space_in_it_is_passed_over() -> None:
    rest = pa.array([' { "a" : {} , "\\u0061.b" : [ 1, {"}":"]"} ] ,"c":"\\"}", "n": null}', "{}"])
    batch = batch_of({("a", "int"): [1, 2], ("c", "str"): ["x", "y"]}, [None, None]).append_column("_rest", rest)
    assert lines_of(batch) == ['{"a":{"b":[ 1, {"}":"]"} ]},"c":"\\"}","n":null}', '{"a":2,"c":"y"}']


def test_what_cannot_be_written() -> None:
    with pytest.raises(InvalidRequest, match="twice"):
        to_ndjson(pa.Table.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]))
    with pytest.raises(InvalidRequest, match="kind 'int' has the arrow type string"):
        to_ndjson(batch_of({("a", "int"): pa.array(["x"])}))
    with pytest.raises(InvalidRequest, match="unknown kind 'point'"):
        to_ndjson(pa.table([pa.array([1])], schema=pa.schema([field_of("a", ColumnKey("a", "point"), pa.int64())])))
