"""Arrow tables → batch: every type, nested columns, colliding paths, event times; and agreement with dicts."""

import datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batch import check_batch
from core.columns import key_of
from core.errors import InvalidRequest
from core.limits import BATCH_ROWS_MAX
from ingest.shred import Shredded, ShredSettings, shred_arrow, shred_dicts
from ingest.unshred import unshred

NOW = 1_700_000_000_000_000
UNTIMED = ShredSettings(timestamp="no such attribute")
UTC = datetime.UTC
DICTIONARY = pa.dictionary(pa.int32(), pa.string())


def shred(table: pa.Table | pa.RecordBatch, settings: ShredSettings = UNTIMED) -> Shredded:
    shredded = shred_arrow(table, settings, ingest_time_us=NOW)
    if shredded.batch is not None:
        check_batch(shredded.batch).validate(full=True)
    return shredded


def columns(shredded: Shredded) -> dict[str, Any]:
    """ "path kind" → values, attribute columns only."""
    keys = [key_of(field) for field in shredded.batch.schema]
    return {f"{key.path} {key.kind}": shredded.batch.column(i).to_pylist() for i, key in enumerate(keys) if key}


def moment(*parts: int) -> datetime.datetime:
    return datetime.datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([True, None]), {"a bool": [True, None]}),
        *((pa.array([1, None], type_), {"a int": [1, None]}) for type_ in (pa.int8(), pa.int32(), pa.int64())),
        *((pa.array([1, None], type_), {"a int": [1, None]}) for type_ in (pa.uint8(), pa.uint32(), pa.uint64())),
        (pa.array([2**63, None], pa.uint64()), {"a uint": [2**63, None]}),
        (
            pa.array([1, 2**63, None], pa.uint64()),
            {"a int": [1, None, None], "a uint": [None, 2**63, None]},
        ),
        (pa.array([np.float16(1.5), None], pa.float16()), {"a float": [1.5, None]}),
        (pa.array([1.5, None], pa.float32()), {"a float": [1.5, None]}),
        *(
            (pa.array(["x", None], type_), {"a str": ["x", None]})
            for type_ in (pa.string(), pa.large_string(), pa.string_view(), DICTIONARY)
        ),
        *(
            (pa.array([b"\xff", None], type_), {"a bin": [b"\xff", None]})
            for type_ in (pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(1))
        ),
        (pa.array([Decimal("1.50"), None], pa.decimal128(5, 2)), {"a decimal": ["1.50", None]}),
        (pa.array([Decimal("-1.5"), None], pa.decimal256(50, 1)), {"a decimal": ["-1.5", None]}),
        (pa.array([0, None], pa.date32()), {"a time": [moment(1970, 1, 1), None]}),
        (pa.array([86_400_000, None], pa.date64()), {"a time": [moment(1970, 1, 2), None]}),
        (pa.array([1, None], pa.timestamp("s")), {"a time": [moment(1970, 1, 1, 0, 0, 1), None]}),
        (
            pa.array([1, None], pa.timestamp("ms", "Europe/Berlin")),
            {"a time": [moment(1970, 1, 1, 0, 0, 0, 1000), None]},
        ),
        (
            pa.array([1999, -1, None], pa.timestamp("ns")),
            {"a time": [moment(1970, 1, 1, 0, 0, 0, 1), moment(1969, 12, 31, 23, 59, 59, 999_999), None]},
        ),
        (pa.array([2, None], pa.duration("s")), {"a int": [2_000_000, None]}),
        (pa.array([-1, 1999, None], pa.duration("ns")), {"a int": [-1, 1, None]}),
        (pa.array([1, None], pa.time32("s")), {"a str": ["00:00:01", None]}),
        (pa.array([1, None], pa.time64("us")), {"a str": ["00:00:00.000001", None]}),
        (pa.nulls(2), {}),
        (pa.nulls(2, pa.int64()), {}),
        (pa.array([1, 1, None]).dictionary_encode(), {"a int": [1, 1, None]}),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), pa.array(["x", None])), {"a str": ["x", None]}),
        (pa.RunEndEncodedArray.from_arrays([2, 3], ["x", None]), {"a str": ["x", "x", None]}),
        (pa.array([[1, None], [], None], pa.list_(pa.int16())), {"a int[]": [[1, None], [], None]}),
        (pa.array([[1.5], None], pa.large_list(pa.float32())), {"a float[]": [[1.5], None]}),
        (pa.array([["x", "y"], None], pa.list_(pa.large_string(), 2)), {"a str[]": [["x", "y"], None]}),
        (pa.array([[True], None], pa.list_view(pa.bool_())), {"a bool[]": [[True], None]}),
        (pa.ListViewArray.from_arrays([2, 0], [2, 1], pa.array([1, 2, 3, 4])), {"a int[]": [[3, 4], [1]]}),
        (pa.array([["x"], None], pa.list_(DICTIONARY)), {"a str[]": [["x"], None]}),
        (
            pa.array([[1], [2**63], [1, 2**63]], pa.list_(pa.uint64())),
            {
                "a int[]": [[1], None, None],
                "a json": [None, None, "[1,9223372036854775808]"],
                "a uint[]": [None, [2**63], None],
            },
        ),
        (pa.array([[{"b": 1}], [], None]), {"a json": ['[{"b":1}]', "[]", None]}),
        (pa.array([[[1], None]]), {"a json": ["[[1],null]"]}),
        (pa.array([[0]], pa.list_(pa.timestamp("ns"))), {"a json": ['["1970-01-01T00:00:00Z"]']}),
        (pa.array([[b"x"]]), {"a json": ['["eA=="]']}),
        (pa.array([[Decimal("1.50")]]), {"a json": ["[1.50]"]}),
        (
            pa.array([[("x", 1), ("y", None)], [], None], pa.map_(pa.string(), pa.int64())),
            {"a json": [None, "{}", None], "a.x int": [1, None, None]},
        ),
        (pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string())), {"a json": ['[[1,"x"]]']}),
        (
            pa.UnionArray.from_sparse(pa.array([0, 1], pa.int8()), [pa.array([1, 2]), pa.array(["x", "y"])]),
            {"a int": [1, None], "a str": [None, "y"]},
        ),
        (
            pa.UnionArray.from_dense(
                pa.array([1, 0, 1], pa.int8()), pa.array([0, 0, 1], pa.int32()), [pa.array([1]), pa.array(["x", "y"])]
            ),
            {"a int": [None, 1, None], "a str": ["x", None, "y"]},
        ),
        (pa.array([{}, None], pa.struct([])), {"a json": ["{}", None]}),
        (pa.array([b"0" * 16, None], pa.uuid()), {"a bin": [b"0" * 16, None]}),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_types(array: pa.Array, expected: dict[str, Any]) -> None:
    assert columns(shred(pa.record_batch({"a": array}))) == expected
    padded = pa.concat_arrays([array, array, array]).slice(len(array), len(array)) if _joins(array) else array
    assert columns(shred(pa.record_batch({"a": padded}))) == expected


def _joins(array: pa.Array) -> bool:
    return not isinstance(array, pa.RunEndEncodedArray | pa.UnionArray)


def test_structs_become_dotted_paths() -> None:
    rows = [{"b": 1, "c": {"d": "x"}}, None, {"b": None, "c": None}, {"b": 4, "c": {"d": None}}]
    assert columns(shred(pa.table({"a": rows}))) == {
        "a.b int": [1, None, None, 4],
        "a.c.d str": ["x", None, None, None],
    }


def test_colliding_paths_the_last_value_of_a_row_wins() -> None:
    table = pa.table(
        {
            "a.b": pa.array([1, 2, None, 4]),
            "a": pa.array([{"b": "x"}, {"b": None}, {"b": "y"}, None]),
            "c.d": pa.array(["p", "q", "p", "p"]).dictionary_encode(),
            "c": pa.array([{"d": "r"}, None, None, {"d": None}]),
        }
    )
    assert columns(shred(table)) == {
        "a.b int": [None, 2, None, 4],
        "a.b str": ["x", None, "y", None],
        "c.d str": ["r", "q", "p", "p"],
    }


def test_canonical_columns_are_not_copied() -> None:
    table = pa.table(
        {
            "timestamp": pa.array([1, 2], pa.timestamp("us", "UTC")),
            "i": pa.array([1, 2]),
            "s": pa.array(["x", "y"]),
            "d": pa.array(["x", "x"]).dictionary_encode(),
        }
    )
    batch = shred(table, ShredSettings()).batch
    for name in table.column_names:
        before = table.column(name).chunk(0).buffers()[-1]
        assert batch.column(name).buffers()[-1].address == before.address
    assert batch.schema.field("d").type == DICTIONARY


def test_chunks_and_their_dictionaries_are_joined() -> None:
    chunks = pa.chunked_array([pa.array(["x", "y"]).dictionary_encode(), pa.array(["z", "x"]).dictionary_encode()])
    assert columns(shred(pa.table({"a": chunks}))) == {"a str": ["x", "y", "z", "x"]}


@pytest.mark.parametrize(
    ("array", "inferred"),
    [
        (pa.array([1_704_164_645, None], pa.timestamp("s")), 1),
        (pa.array([1_704_164_645_000_000_999, None], pa.timestamp("ns", "Asia/Tokyo")), 1),
        (pa.array([1_704_164_645, 1_704_164_645_000, 1_704_164_645_000_000, 1_704_164_645_000_000_999]), 0),
        (pa.array([1_704_164_645.0, None]), 1),
        (pa.array(["2024-01-02T03:04:05Z", None, "1704164645"]), 1),
        (pa.array(["2024-01-02T03:04:05Z", None]).dictionary_encode(), 1),
        (pa.array([Decimal("1704164645.0")]), 0),
        (pa.array([1_704_164_645], pa.uint32()), 0),
    ],
)
def test_event_times(array: pa.Array, inferred: int) -> None:
    shredded = shred(pa.table({"@timestamp": array}), ShredSettings())
    times = shredded.batch.column("timestamp").cast(pa.int64()).to_pylist()
    assert set(times) <= {1_704_164_645_000_000, NOW}
    assert times.count(NOW) == inferred == shredded.timestamps_missing
    assert shredded.timestamps_unreadable == 0
    assert columns(shredded) == {}


def test_unreadable_event_times_stay_as_attributes() -> None:
    beyond = 300_000_000_000_000_000  # microseconds, year 11476
    table = pa.table(
        {
            "timestamp": pa.array(["2024-01-02", "soon", None, None]),
            "@timestamp": pa.array([1, 2, beyond, 4], pa.timestamp("us")),
        }
    )
    shredded = shred(table, ShredSettings())
    assert shredded.batch.column("_timestamp_inferred").to_pylist() == [False, True, True, False]
    assert (shredded.timestamps_missing, shredded.timestamps_unreadable) == (0, 2)
    assert shredded.batch.schema.names[2:] == ["@timestamp", "timestamp::str"]
    assert unshred(shredded.batch)[2] == {"@timestamp": beyond}
    assert unshred(shredded.batch)[1] == {"@timestamp": moment(1970, 1, 1, 0, 0, 0, 2), "timestamp": "soon"}


def test_rest() -> None:
    table = pa.table(
        {
            "a": [1, 2],
            "t": pa.array([0, None], pa.timestamp("us")),
            "d": pa.array([None, Decimal("1.50")]),
            "l": [[1.5], None],
            "b": [None, b"x"],
        }
    )
    shredded = shred(table, ShredSettings(timestamp="no such", max_paths=1))
    assert columns(shredded) == {"a int": [1, 2]}
    assert shredded.batch.column("_rest").to_pylist() == [
        '{"l":[1.5],"t":"1970-01-01T00:00:00Z"}',
        '{"b":"eA==","d":1.50}',
    ]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table([[1], [2]], names=["a", "a"]), "column 'a' twice"),
        (
            pa.table({"a": pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], names=["b", "b"])}),
            "field 'b' twice",
        ),
        (pa.table({"a": pa.array([2**60], pa.timestamp("s"))}), "column 'a' of type timestamp"),
        (pa.table({"a": pa.array([2**31 - 1], pa.int32()).cast(pa.date32())}), "column 'a' of type date32"),
        (pa.table({"a": pa.array([(1, 2, 3)], pa.month_day_nano_interval())}), "cannot be stored"),
        (pa.table({"a": pa.nulls(BATCH_ROWS_MAX + 1)}), "send at most 1000000"),
    ],
)
def test_tables_that_cannot_be_stored(table: pa.Table, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        shred(table)


def test_structs_nested_too_deeply() -> None:
    type_: pa.DataType = pa.int64()
    value: Any = 1
    for _ in range(64):
        type_, value = pa.struct([("a", type_)]), {"a": value}
    with pytest.raises(InvalidRequest, match="nested deeper"):
        shred(pa.table({"a": pa.array([value], type_)}))
    assert list(columns(shred(pa.table({"a": pa.array([value["a"]], type_.field(0).type)})))) == [
        ".".join("a" * 64) + " int"
    ]


def test_no_rows_and_no_columns() -> None:
    assert shred(pa.table({"a": pa.array([], pa.int64())})).batch is None
    assert shred(pa.table({"a": pa.nulls(3)})).batch.num_rows == 3


ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "i": st.integers(-(2**63), 2**63 - 1),
            "f": st.floats(allow_nan=False),
            "s": st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
            "l": st.lists(st.integers(0, 9), min_size=1, max_size=3),
            "n": st.fixed_dictionaries(
                {},
                optional={
                    "b": st.booleans(),
                    "o": st.lists(st.fixed_dictionaries({"x": st.integers(0, 9)}), min_size=1, max_size=2),
                },
            ),
            "timestamp": st.datetimes(timezones=st.just(UTC)),
        },
    ),
    min_size=1,
    max_size=5,
)
SCHEMA = pa.schema(
    {
        "i": pa.int64(),
        "f": pa.float64(),
        "s": pa.string(),
        "l": pa.list_(pa.int64()),
        "n": pa.struct({"b": pa.bool_(), "o": pa.list_(pa.struct({"x": pa.int64()}))}),
        "timestamp": pa.timestamp("us", "UTC"),
    }
)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(ROWS, st.integers(0, 7))
def test_tables_and_dicts_make_the_same_events(rows: list[dict[str, Any]], max_paths: int) -> None:
    keep = ShredSettings(max_paths=max_paths)
    dicts = [{key: value for key, value in row.items() if value != {}} for row in rows]
    from_dicts = shred_dicts(dicts, keep, ingest_time_us=NOW)
    from_table = shred(pa.Table.from_pylist(rows, SCHEMA), keep)
    assert unshred(from_table.batch) == unshred(from_dicts.batch)
    assert from_table.batch.schema.names == from_dicts.batch.schema.names
    assert from_table.timestamps_missing == from_dicts.timestamps_missing
