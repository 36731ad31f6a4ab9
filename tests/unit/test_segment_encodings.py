"""How columns are written: what the data shows is chosen, and every choice gives back the values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.columns import ColumnKey, field_of
from storage.encodings import LEVEL, LEVEL_COLD, Encodings, choose_encodings, encodings_of
from storage.segment_writer import parquet_writer

ROWS = 20_000
RNG = random.Random(5)

IDS = [f"{RNG.getrandbits(128):032x}" for _ in range(ROWS)]
TIMES = [f"2026-01-31T08:{row // 600 % 60:02}:{row // 10 % 60:02}.{row * 7919 % 10**6:06}" for row in range(ROWS)]
NOISE = np.random.default_rng(5).normal(1_000, 0.001, ROWS).tolist()
FEW = [RNG.choice([0.25, 0.5, 1.5]) for _ in range(ROWS)]
# A metric that mostly rests: a sample sees zeros, and not how many values there are besides.
METRIC = [RNG.random() if RNG.random() < 0.4 else 0.0 for _ in range(ROWS)]


def encoding_of(values: Any, kind: str) -> str:
    field = field_of("c", ColumnKey("c", kind))
    chosen = choose_encodings(pa.table([pa.array(values, field.type)], pa.schema([field])))
    return "dictionary" if "c" in chosen.dictionary else chosen.explicit.get("c", "plain")


@pytest.mark.parametrize(
    ("values", "kind", "encoding"),
    [
        (IDS, "str", "DELTA_LENGTH_BYTE_ARRAY"),
        (TIMES, "str", "DELTA_BYTE_ARRAY"),
        (["info", "warn"] * (ROWS // 2), "str", "dictionary"),
        (NOISE, "float", "BYTE_STREAM_SPLIT"),
        (FEW, "float", "dictionary"),
        (list(range(ROWS)), "int", "DELTA_BINARY_PACKED"),
        ([200, 404] * (ROWS // 2), "int", "dictionary"),
        (list(range(ROWS)), "time", "DELTA_BINARY_PACKED"),
        (IDS[:5_000], "str", "plain"),  # too few to be worth a trial
        ([None, *IDS[:5_000], None], "str", "plain"),
        ([], "str", "plain"),
    ],
)
def test_what_the_data_shows_is_chosen(values: Any, kind: str, encoding: str) -> None:
    assert encoding_of(values, kind) == encoding


def test_floats_that_a_dictionary_makes_larger_are_written_as_they_are() -> None:
    assert encoding_of(METRIC, "float") == "plain"
    assert encoding_of(np.repeat(METRIC, 40).tolist()[:ROWS], "float") == "dictionary"  # repeats take no room
    sizes = []
    for encodings in (Encodings(), Encodings(dictionary=["c"])):
        sink = pa.BufferOutputStream()
        table = pa.table([pa.array(METRIC)], names=["c"])
        with parquet_writer(sink, table.schema, (), encodings) as writer:
            writer.write_table(table)
        sizes.append(sink.getvalue().size)
    assert sizes[0] < sizes[1]


def test_very_long_texts_are_not_tried_in_whole() -> None:
    texts = [f"{number:06}" + "x" * 500 for number in range(9_000)]
    texts[4_000:4_100] = ["y" * 200_000] * 100
    assert encoding_of(texts, "str") in ("plain", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY")


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("gaps", [0, 3])
def test_every_choice_gives_back_the_values(cold: bool, gaps: int) -> None:
    columns: dict[str, tuple[str, list[Any]]] = {
        "ids": ("str", IDS),
        "times": ("str", TIMES),
        "noise": ("float", NOISE),
        "few": ("float", FEW),
        "metric": ("float", METRIC),
    }
    if gaps:
        columns = {
            name: (kind, [None if row % gaps == 0 else value for row, value in enumerate(values)])
            for name, (kind, values) in columns.items()
        }
    fields = [field_of(name, ColumnKey(name, kind)) for name, (kind, _) in columns.items()]
    arrays = [pa.array(values, field.type) for (_, values), field in zip(columns.values(), fields, strict=True)]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    encodings = choose_encodings(table, cold=cold)
    assert encodings.level == (LEVEL_COLD if cold else LEVEL)
    assert set(encodings.explicit.values()) == {"DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY", "BYTE_STREAM_SPLIT"}
    sink = pa.BufferOutputStream()
    with parquet_writer(sink, table.schema, (), encodings) as writer:
        writer.write_table(table, row_group_size=7_000)
    assert pq.read_table(pa.BufferReader(sink.getvalue())).equals(table)


def test_what_is_cold_is_smaller() -> None:
    texts = [f"GET /a/{RNG.randrange(9)}/b?c={RNG.randrange(10**6)} took {RNG.randrange(99)} ms" for _ in range(ROWS)]
    table = pa.table([pa.array(texts)], names=["c"])
    sizes = []
    for cold in (False, True):
        sink = pa.BufferOutputStream()
        with parquet_writer(sink, table.schema, (), choose_encodings(table, cold=cold)) as writer:
            writer.write_table(table)
        sizes.append(sink.getvalue().size)
    assert sizes[1] < sizes[0]


def test_columns_of_those_with_a_value_choose_as_columns_with_gaps_do() -> None:
    sparse = pa.array([None if row % 2 else text for row, text in enumerate(IDS)])
    assert choose_encodings(pa.table([sparse], names=["c"])) == encodings_of([("c", sparse.drop_null())], ROWS)


def test_large_values_are_written_a_few_at_a_time() -> None:
    """A page ends behind what was written at once: none is much larger than 1 MiB because of that."""
    long = pa.table([pa.array(["x" * 512] * 8_192), pa.array(range(8_192))], names=["a", "b"])
    assert choose_encodings(long.select(["b"])).batch_rows == 8_192
    assert 1_900 < choose_encodings(long).batch_rows < 2_048
    assert encodings_of([("a", pa.array(["x" * 2**20] * 4))], 4).batch_rows == 1_024
