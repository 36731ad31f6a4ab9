"""Owns how each column of a segment is written: encoding, bloom filter, effort of compression. Never writes a segment.

docs/encodings.md has what each choice was measured to be worth. What the values alone do not tell is tried on a few
thousand of them.

The number of distinct values is estimated from the repetitions in a sample of evenly spaced rows: among s values
drawn from D equally frequent ones about s²/2D repeat (the birthday problem). Skew only adds repetitions, so the
estimate errs towards the dictionary, and Parquet leaves a dictionary that outgrows a page by itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from core.limits import ROW_GROUP_ROWS

_SAMPLE_ROWS: Final = 2_048
# A dictionary pays while each entry is used about four times in a row group.
_REPEATS_MIN: Final = 4
# Parquet's dictionary page holds 1 MiB; a dictionary that will not fit is wasted work.
_DICTIONARY_BYTES_MAX: Final = 1 << 20

# Other encodings are tried where the column is worth it, on a run of rows, and taken where they are so much smaller.
_TRIAL_VALUES_MIN: Final = 8_192
_TRIAL_ROWS: Final = 2_048
_TRIAL_BYTES_MAX: Final = 1 << 20
_TEXT_ENCODINGS: Final = ("DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY")
_FLOAT_ENCODINGS: Final = ("BYTE_STREAM_SPLIT",)
_GAIN: Final = 0.03
_FLOAT_GAIN: Final = 0.1  # measured: a run is no better a judge, and split floats are read more slowly

# Parquet takes so many rows at a time, with a dictionary's bounds found anew for each: measured, 12 % of all writing
# with 1,024. A page ends behind such a batch only, and should not become much larger than what it aims at, 1 MiB.
_BATCH_ROWS_MIN: Final = 1_024
_BATCH_ROWS_MAX: Final = 8_192
_BATCH_BYTES: Final = 1 << 20

# zstd. What is written once and kept is worth three times the time; between the two little is won.
LEVEL: Final = 1
LEVEL_COLD: Final = 9

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
    level: int = LEVEL
    batch_rows: int = _BATCH_ROWS_MAX


@dataclass(frozen=True, slots=True)
class Sample:
    """What a sample says of a column: estimated distinct values, mean length of text in bytes, has whitespace."""

    distinct: float
    length: float
    spaces: bool


def choose_encodings(table: pa.Table, *, cold: bool = False) -> Encodings:
    """How to write each column of `table`, whose columns have one chunk each; `cold` as encodings_of() has it."""
    arrays = (column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns)
    return encodings_of(zip(table.column_names, arrays, strict=True), table.num_rows, cold=cold)


def encodings_of(columns: Iterable[tuple[str, pa.Array]], rows: int, *, cold: bool = False) -> Encodings:
    """How to write columns of `rows` rows, each an array of all of them or of those with a value.

    `cold` says that the file is likely to stay: compressing it may take longer.
    """
    chosen = Encodings(level=LEVEL_COLD if cold else LEVEL)
    widest = 1.0
    for name, array in columns:
        _choose(name, array, rows, chosen)
        widest = max(widest, array.nbytes / max(1, len(array)))
    chosen.batch_rows = int(min(max(_BATCH_BYTES / widest, _BATCH_ROWS_MIN), _BATCH_ROWS_MAX))
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
        pays = _dictionary_pays(distinct, values, rows, sample.length)
        if pays and not (pa.types.is_floating(type_) and _is_smaller_plain(array)):
            chosen.dictionary.append(name)
        elif pa.types.is_integer(type_):
            chosen.explicit[name] = "DELTA_BINARY_PACKED"
        elif values >= _TRIAL_VALUES_MIN and (smaller := _smallest(array)) is not None:
            chosen.explicit[name] = smaller
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


def _is_smaller_plain(array: pa.Array) -> bool:
    """Whether floats take less room as they are: zstd finds in them what indexes into a dictionary hide."""
    values = len(array) - array.null_count
    if values < _TRIAL_VALUES_MIN:
        return False
    run = _run(array)
    numbers = np.asarray(run)
    # Indexes are packed in as few bits as they need; where a value repeats the last one they take next to none.
    changes = np.count_nonzero(numbers[1:] != numbers[:-1]) / len(numbers)
    in_group = min(values, ROW_GROUP_ROWS)
    distinct = _distinct_among(array, in_group)
    dictionary_bytes = distinct * numbers.itemsize + in_group * changes * math.log2(max(distinct, 2)) / 8
    return bool(in_group * _compressed(run) / len(run) < dictionary_bytes * (1 - _GAIN))


def _distinct_among(array: pa.Array, values: int) -> float:
    """Estimated distinct values among so many of them: they grow by a power of the number of values (Heaps' law)."""
    few, more = (_run(array, rows) for rows in (4 * _TRIAL_ROWS, 16 * _TRIAL_ROWS))
    found, found_more = (max(1, pc.count_distinct(run).as_py()) for run in (few, more))
    if len(more) <= len(few) or found_more <= found:
        return float(found_more)
    power = min(1.0, math.log(found_more / found) / math.log(len(more) / len(few)))
    return float(found_more * max(1.0, values / len(more)) ** power)


def _smallest(array: pa.Array) -> str | None:
    """The encoding that takes clearly less room than plain values, None when none does."""
    if not (pa.types.is_string(array.type) or pa.types.is_floating(array.type)):
        return None
    run = _run(array)
    plain = _compressed(run)
    text = pa.types.is_string(array.type)
    others, gain = (_TEXT_ENCODINGS, _GAIN) if text else (_FLOAT_ENCODINGS, _FLOAT_GAIN)
    size, encoding = min((_compressed(run, other), other) for other in others)
    return encoding if size < plain * (1 - gain) else None


def _run(array: pa.Array, values: int = _TRIAL_ROWS) -> pa.Array:
    """About so many values that stand together: encodings and compression live from what is near."""
    rows = values * len(array) // max(1, len(array) - array.null_count)
    run = array.slice(max(0, (len(array) - rows) // 2), rows).drop_null()
    while run.nbytes > _TRIAL_BYTES_MAX and len(run) > 1:
        run = run.slice(0, len(run) // 2)
    return run


def _compressed(run: pa.Array, encoding: str = "PLAIN") -> int:
    """Bytes of the values in a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table([run], names=["c"]),
        sink,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=False,
        column_encoding={"c": encoding},
        write_statistics=False,
        store_schema=False,
    )
    return int(pq.read_metadata(pa.BufferReader(sink.getvalue())).row_group(0).column(0).total_compressed_size)


def _add_bloom(name: str, array: Any, sample: Sample, distinct: float, chosen: Encodings) -> None:
    values = len(array) - array.null_count
    if values < _BLOOM_ROWS_MIN or distinct * _BLOOM_REPEATS_MAX < values:
        return
    if sample.spaces or sample.length > _BLOOM_LENGTH_MAX:
        return
    in_group = max(1, min(int(distinct), ROW_GROUP_ROWS, values))
    chosen.blooms[name] = {"ndv": in_group, "fpp": _BLOOM_FALSE_POSITIVES}
