"""Merging batches of different schemas: one column per (path, kind), `_rest` beyond max_paths, nothing lost."""

from __future__ import annotations

import json
import math
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from core.batch import OFFSET, REST, SYSTEM_COLUMNS, TIMESTAMP
from core.columns import ColumnKey, arrow_type, key_of
from core.errors import InvariantViolation
from storage.columns_merge import merge_batches, trim_dictionary
from tests.support.batches import START_US, memtable_batch, rows_by_meaning

EXAMPLES: dict[str, Any] = {
    "bool": True,
    "int": -(2**63),
    "uint": 2**64 - 1,
    "decimal": "123456789012345678901234567890.5",
    "float": 1e-320,
    "str": 'quote " slash \\ é \u2028 \x00',
    "json": '{"a":[1,"x"]}',
    "time": 1_700_000_000_123_456,
    "bin": b"\x00\xff",
    "int[]": [1, None, 3],
    "str[]": ["x", None],
    "float[]": [1.5, None],
    "bool[]": [True, None],
    "uint[]": [2**63, None],
}
IN_REST: dict[str, Any] = {
    **EXAMPLES,
    "decimal": Decimal("123456789012345678901234567890.5"),
    "json": {"a": [1, "x"]},
    "time": "2023-11-14T22:13:20.123456Z",
    "bin": "AP8=",
}


def random_batches(seed: int, paths: int, batches: int) -> list[pa.RecordBatch]:
    """Batches in which each path has a kind of its own per batch, and is missing in some rows and batches."""
    rng = random.Random(seed)
    found, offset = [], 0
    for _ in range(batches):
        rows = rng.randint(1, 20)
        columns: dict[tuple[str, str], list[Any]] = {}
        for number in range(paths):
            if rng.random() < 0.7:
                kind = rng.choice(list(EXAMPLES))
                values = [EXAMPLES[kind] if rng.random() < 0.6 else None for _ in range(rows)]
                columns[(f"path.{number}", kind)] = values
        found.append(memtable_batch(columns, [START_US + rng.randint(0, 9) for _ in range(rows)], offset))
        offset += rows
    return found


def test_300_paths_with_type_conflicts_keep_every_value() -> None:
    batches = random_batches(1, 300, 6)
    table = merge_batches(batches, 10_000)
    assert rows_by_meaning(table) == [row for batch in batches for row in rows_by_meaning(batch)]
    names = [name.casefold() for name in table.column_names]
    assert len(set(names)) == len(names)
    for field in table.schema:
        key = key_of(field)
        assert key is None or field.type == arrow_type(key.kind)
        assert key is None or field.name == key.path or field.name.startswith(f"{key.path}::{key.kind}")


def test_the_most_common_kind_gets_the_bare_name_over_all_batches() -> None:
    first = memtable_batch({("code", "int"): [1, 2], ("code", "str"): [None, None]}, [START_US] * 2)
    second = memtable_batch({("code", "str"): ["a", "b", "c"]}, [START_US] * 3, 2)
    table = merge_batches([first, second], 10)
    assert table.column("code").to_pylist() == [None, None, "a", "b", "c"]
    assert table.column("code::int").to_pylist() == [1, 2, None, None, None]


def test_columns_without_values_vanish() -> None:
    table = merge_batches([memtable_batch({("a", "int"): [None], ("b", "int"): [1]}, [START_US])], 10)
    assert table.column_names == [TIMESTAMP, "_timestamp_inferred", "_ingested_at", OFFSET, "b"]


@pytest.mark.parametrize("kind", EXAMPLES)
def test_overflowing_values_stay_exact_in_rest(kind: str) -> None:
    columns = {("often", "int"): [1, 2, 3], ("rare", kind): [None, EXAMPLES[kind], None]}
    table = merge_batches([memtable_batch(columns, [START_US] * 3)], 1)
    assert [key.path for key in map(key_of, table.schema) if key] == ["often"]
    texts = table.column(REST).to_pylist()
    assert texts[0] is None and texts[2] is None
    parsed = json.loads(texts[1], parse_float=Decimal if kind == "decimal" else float)
    assert parsed == {"rare": IN_REST[kind]}


def test_numbers_that_json_lacks_are_text_in_rest() -> None:
    values = [math.nan, math.inf, -math.inf]
    table = merge_batches([memtable_batch({("a", "int"): [1] * 3, ("x", "float"): values}, [START_US] * 3)], 0, ["a"])
    assert [json.loads(text)["x"] for text in table.column(REST).to_pylist()] == ["NaN", "Infinity", "-Infinity"]


def test_rest_of_batches_and_overflow_are_merged() -> None:
    columns = {("keep", "int"): [1, 1, 1, 1], ("over.flow", "str"): ["x", "y", None, "z"]}
    rest = ['{"old":12345678901234567890123}', None, '{"only":1.0}', "{}"]
    table = merge_batches([memtable_batch(columns, [START_US] * 4, rest=rest)], 1)
    assert table.column(REST).to_pylist() == [
        '{"old":12345678901234567890123,"over.flow":"x"}',
        '{"over.flow":"y"}',
        '{"only":1.0}',
        '{"over.flow":"z"}',
    ]


def test_a_rest_that_is_no_object_is_kept_as_text() -> None:
    columns = {("keep", "int"): [1, 1], ("over", "int"): [2, None]}
    table = merge_batches([memtable_batch(columns, [START_US] * 2, rest=["[1", "[1"])], 1)
    assert table.column(REST).to_pylist() == ['{"_rest":"[1","over":2}', "[1"]


def test_max_paths_keeps_frequent_paths_with_all_kinds_and_the_sort_key() -> None:
    columns = {
        ("service", "str"): ["s", None, None, None],
        ("often", "int"): [1, 2, None, None],
        ("often", "str"): [None, None, "x", None],
        ("middle", "int"): [1, 2, None, None],
        ("rare", "int"): [None, 7, None, None],
    }
    table = merge_batches([memtable_batch(columns, [START_US] * 4)], 3, kept_paths=("service", "timestamp"))
    kept = {key for key in map(key_of, table.schema) if key}
    assert kept == {ColumnKey("service", "str"), ColumnKey("often", "int"), ColumnKey("often", "str")}
    assert table.column(REST).to_pylist() == ['{"middle":1}', '{"middle":2,"rare":7}', None, None]


def test_dictionaries_are_unified_and_trimmed() -> None:
    one = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a", "b", "unused"]))
    two = pa.DictionaryArray.from_arrays(pa.array([1, None], pa.int32()), pa.array(["b", "c"]))
    batches = [memtable_batch({("s", "str"): one}, [0, 0]), memtable_batch({("s", "str"): two}, [0, 0], 2)]
    column = merge_batches(batches, 10).column("s").chunk(0)
    assert column.to_pylist() == ["a", "b", "c", None]
    assert sorted(column.dictionary.to_pylist()) == ["a", "b", "c"]


def test_dictionary_and_plain_text_mix_by_majority() -> None:
    encoded = pa.array(["a", "b", "a"]).dictionary_encode()
    few, many = ["x"], ["x", "y", "z", "a"]
    for plain, dictionary_wins in ((few, True), (many, False)):
        batches = [
            memtable_batch({("s", "str"): encoded}, [0] * 3),
            memtable_batch({("s", "str"): plain}, [0] * len(plain), 3),
        ]
        column = merge_batches(batches, 10).column("s")
        assert column.to_pylist() == ["a", "b", "a", *plain]
        assert pa.types.is_dictionary(column.type) is dictionary_wins


def test_nulls_hidden_in_a_dictionary_become_nulls() -> None:
    hidden = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array([None, "a"], pa.string()))
    column = merge_batches([memtable_batch({("s", "str"): hidden}, [0] * 3)], 10).column("s")
    assert column.to_pylist() == [None, "a", None]
    assert column.null_count == 2


def test_trim_of_empty_and_null_dictionaries() -> None:
    empty = pa.DictionaryArray.from_arrays(pa.array([None, None], pa.int32()), pa.array(["a"]))
    trimmed = trim_dictionary(empty)
    assert trimmed.to_pylist() == [None, None] and len(trimmed.dictionary) == 0
    assert trim_dictionary(trimmed).to_pylist() == [None, None]


def test_a_batch_without_offsets_is_refused() -> None:
    batch = memtable_batch({("a", "int"): [1]}, [START_US])
    index = batch.schema.get_field_index(OFFSET)
    with pytest.raises(InvariantViolation, match="SEG-1"):
        merge_batches([batch.select([i for i in range(batch.num_columns) if i != index])], 10)


def test_system_names_are_never_given_to_attributes() -> None:
    columns = {(name, "int"): [1] for name in SYSTEM_COLUMNS}
    table = merge_batches([memtable_batch(columns, [START_US])], 100)
    for field in table.schema:
        key = key_of(field)
        assert key is None or field.name == f"{key.path}::int"
