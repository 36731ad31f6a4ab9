"""Owns how each column of a segment is written: dictionary, delta, bloom filter. Decides from a sample, never writes.

The number of distinct values is estimated from the repetitions in a sample of evenly spaced rows: among s values
drawn from D equally frequent ones about s²/2D repeat (the birthday problem). Skew only adds repetitions, so the
estimate errs towards the dictionary, and Parquet leaves a dictionary that outgrows a page by itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from core.limits import ROW_GROUP_ROWS

_SAMPLE_ROWS: Final = 2_048
# A dictionary pays while each entry is used about four times in a row group.
_REPEATS_MIN: Final = 4
# Parquet's dictionary page holds 1 MiB; a dictionary that will not fit is wasted work.
_DICTIONARY_BYTES_MAX: Final = 1 << 20

# An id-like column: most values occur in a few rows only, short, one word.
_BLOOM_ROWS_MIN: Final = 1_024
_BLOOM_REPEATS_MAX: Final = 32
_BLOOM_LENGTH_MAX: Final = 64
_BLOOM_FALSE_POSITIVES: Final = 0.01  # 10 bits a value: measured +4 % of the file for a 32-digit trace id


@dataclass(slots=True)
class Encodings:
    """What pyarrow.parquet.write_table takes; columns by their Parquet path."""

    dictionary: list[str] = field(default_factory=list)
    explicit: dict[str, str] = field(default_factory=dict)
    blooms: dict[str, dict[str, float]] = field(default_factory=dict)
    without_statistics: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample says of a column: estimated distinct values, mean length of text in bytes, has whitespace."""

    distinct: float
    length: float
    spaces: bool


def choose_encodings(table: pa.Table) -> Encodings:
    """How to write each column of `table`, whose columns have one chunk each."""
    arrays = (column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns)
    return encodings_of(zip(table.column_names, arrays, strict=True), table.num_rows)


def encodings_of(columns: Iterable[tuple[str, pa.Array]], rows: int) -> Encodings:
    """How to write columns of `rows` rows, each an array of all of them or of those with a value."""
    chosen = Encodings()
    for name, array in columns:
        _choose(name, array, rows, chosen)
    return chosen


def _sample_rows(rows: int) -> pa.Array:
    if rows <= _SAMPLE_ROWS:
        return pa.array(np.arange(rows, dtype=np.uint32))
    return pa.array(np.linspace(0, rows - 1, _SAMPLE_ROWS).astype(np.uint32))


def _choose(name: str, array: pa.Array, rows: int, chosen: Encodings) -> None:
    type_ = array.type
    if pa.types.is_floating(type_) and pc.any(pc.is_nan(array)).as_py():
        # Parquet's bounds leave NaN out, but engines that treat NaN as the largest number would prune it away.
        chosen.without_statistics.add(name)
    if pa.types.is_timestamp(type_) or name == "_offset":
        chosen.explicit[name] = "DELTA_BINARY_PACKED"
    elif pa.types.is_dictionary(type_):
        chosen.dictionary.append(name)
        sample = sample_of(array.dictionary.slice(0, _SAMPLE_ROWS), complete=True)
        _add_bloom(name, array, sample, len(array.dictionary), chosen)
    elif pa.types.is_list(type_):
        chosen.dictionary.append(f"{name}.list.element")
    elif not pa.types.is_boolean(type_):
        sampled = array.take(_sample_rows(len(array))).drop_null()
        sample = sample_of(sampled, complete=len(array) <= _SAMPLE_ROWS)
        # What is distinct in the sample stands for all values, nulls left out.
        values = len(array) - array.null_count
        distinct = min(sample.distinct, float(values))
        if _dictionary_pays(distinct, values, rows, sample.length):
            chosen.dictionary.append(name)
        elif pa.types.is_integer(type_):
            chosen.explicit[name] = "DELTA_BINARY_PACKED"
        if pa.types.is_string(type_):
            _add_bloom(name, array, sample, distinct, chosen)


def sample_of(values: pa.Array, *, complete: bool) -> Sample:
    """Estimates from the non-null `values` of a sample (integers, floats, text or bytes), or of a `complete` column."""
    size = len(values)
    if size == 0:
        return Sample(0.0, 8.0, False)
    found = pc.count_distinct(values).as_py()
    repeated = size - found
    # What is complete is counted, not estimated; so is a sample that shows most of its values twice.
    counted = complete or 2 * repeated > size
    distinct = float(found) if counted else size * size / (2 * max(repeated, 0.5))
    length, spaces = 8.0, False
    if pa.types.is_string(values.type) or pa.types.is_binary(values.type):
        length = float(pc.mean(pc.binary_length(values)).as_py())
    if pa.types.is_string(values.type):
        spaces = bool(pc.any(pc.match_substring_regex(values, r"\s")).as_py())
    return Sample(distinct, length, spaces)


def _dictionary_pays(distinct: float, values: int, rows: int, length: float) -> bool:
    if rows == 0:
        return False
    values_in_group = values * min(1.0, ROW_GROUP_ROWS / rows)
    distinct_in_group = min(distinct, values_in_group)
    return distinct_in_group * _REPEATS_MIN <= values_in_group and distinct_in_group * length <= _DICTIONARY_BYTES_MAX


def _add_bloom(name: str, array: Any, sample: Sample, distinct: float, chosen: Encodings) -> None:
    values = len(array) - array.null_count
    if values < _BLOOM_ROWS_MIN or distinct * _BLOOM_REPEATS_MAX < values:
        return
    if sample.spaces or sample.length > _BLOOM_LENGTH_MAX:
        return
    in_group = max(1, min(int(distinct), ROW_GROUP_ROWS, values))
    chosen.blooms[name] = {"ndv": in_group, "fpp": _BLOOM_FALSE_POSITIVES}
