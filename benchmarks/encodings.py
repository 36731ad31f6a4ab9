"""What each encoding of a column and each effort of compression is worth: bytes, time to write, time to read in DuckDB.

Generated logs and the real data sets, each merged and sorted as one flush has it. Every column is written alone in each
encoding that it can have; the figures are added up by the kind of column. Whole files are written as `choose_encodings`
has it, at several levels of zstd. Times are of the process's CPU, DuckDB with one thread; each is the least of RUNS.
The tables of docs/encodings.md are printed.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.record import store, value
from benchmarks.tokens import GENERATED, generated_batches, merged_table, real_batches
from core.columns import DECIMAL, JSON, STR, key_of
from core.limits import ROW_GROUP_ROWS
from storage.encodings import LEVEL, LEVEL_COLD, choose_encodings, sample_of
from storage.segment_writer import parquet_writer

RUNS = 3
LEVELS = (1, 3, 6, 9, 12)
SAMPLE_ROWS = 2_048

NUMBERS = {"plain": "PLAIN", "dictionary": "", "delta": "DELTA_BINARY_PACKED", "byte-stream split": "BYTE_STREAM_SPLIT"}
FLOATS = {"plain": "PLAIN", "dictionary": "", "byte-stream split": "BYTE_STREAM_SPLIT"}
TEXTS = {
    "plain": "PLAIN",
    "dictionary": "",
    "delta length": "DELTA_LENGTH_BYTE_ARRAY",
    "delta byte array": "DELTA_BYTE_ARRAY",
}


@dataclass(slots=True)
class Cost:
    """Bytes of a file, and seconds to write and to read it."""

    size: int = 0
    write_s: float = 0.0
    read_s: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.size + other.size, self.write_s + other.write_s, self.read_s + other.read_s)


class Bench:
    """Writes one file again and again, and reads it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._engine = duckdb.connect(config={"threads": 1})

    def column(self, array: pa.Array, encoding: str) -> Cost:
        """The column alone; a dictionary for the encoding ""."""
        table = pa.table([array], names=["c"])
        options = {"use_dictionary": True} if not encoding else {"use_dictionary": False, "column_encoding": encoding}
        return self._cost(
            lambda: pq.write_table(
                table,
                self._path,
                row_group_size=ROW_GROUP_ROWS,
                compression="zstd",
                compression_level=LEVEL,
                write_page_checksum=True,
                write_page_index=True,
                **options,
            )
        )

    def whole(self, table: pa.Table, level: int) -> Cost:
        """The table as a segment has it."""
        encodings = choose_encodings(table)
        encodings.level = level

        def write() -> None:
            with parquet_writer(str(self._path), table.schema, (), encodings) as writer:
                writer.write_table(table, row_group_size=ROW_GROUP_ROWS)

        return self._cost(write)

    def _cost(self, write: Callable[[], None]) -> Cost:
        write_s = min(_seconds(write) for _ in range(RUNS))
        sql = f"SELECT max(hash(COLUMNS(*))) FROM read_parquet('{self._path}')"
        read_s = min(_seconds(lambda: self._engine.execute(sql).fetchall()) for _ in range(RUNS))
        return Cost(self._path.stat().st_size, write_s, read_s)


def main() -> None:
    values: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    with TemporaryDirectory(prefix="malamute-encodings-") as directory:
        bench = Bench(Path(directory) / "segment.parquet")
        for name, batches in {GENERATED: generated_batches(), **real_batches()}.items():
            table = merged_table(batches)
            classes = _columns(bench, table)
            levels = {level: bench.whole(table, level) for level in LEVELS}
            choosing_s = min(_seconds(lambda table=table: choose_encodings(table)) for _ in range(RUNS))
            _print_classes(name, table, classes)
            _print_levels(name, levels, choosing_s)
            values += _values(name, levels, choosing_s)
            details[name] = {
                "rows": table.num_rows,
                "columns": {
                    of: {"count": count, **{choice: _numbers(cost) for choice, cost in costs.items()}}
                    for of, (count, costs) in classes.items()
                },
                "levels": {str(level): _numbers(cost) for level, cost in levels.items()},
            }
    store("encodings", values, details)


def _columns(bench: Bench, table: pa.Table) -> dict[str, tuple[int, dict[str, Cost]]]:
    """By the kind of column: how many there are, and what all of them cost in each encoding, and as chosen."""
    chosen = choose_encodings(table)
    counts: dict[str, int] = defaultdict(int)
    costs: dict[str, dict[str, Cost]] = {}
    for field, column in zip(table.schema, table.columns, strict=True):
        array = column.chunk(0)
        if pa.types.is_list(array.type) or pa.types.is_boolean(array.type):
            continue
        few = field.name in chosen.dictionary
        of = _class_of(field, array, few)
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        choices = TEXTS if pa.types.is_string(array.type) else FLOATS if pa.types.is_floating(array.type) else NUMBERS
        measured = {choice: bench.column(array, encoding) for choice, encoding in choices.items()}
        taken = "" if few else chosen.explicit.get(field.name, "PLAIN")
        measured["as chosen"] = next(measured[choice] for choice, encoding in choices.items() if encoding == taken)
        sums = costs.setdefault(of, {choice: Cost() for choice in measured})
        for choice, cost in measured.items():
            sums[choice] += cost
        counts[of] += 1
    return {of: (counts[of], sums) for of, sums in costs.items()}


def _class_of(field: pa.Field, array: pa.Array, few: bool) -> str:
    key = key_of(field)
    kind = key.kind if key else "system"
    if kind in (STR, JSON, DECIMAL):
        if few:
            return f"{kind}, dictionary"
        sample = sample_of(array.drop_null().slice(0, SAMPLE_ROWS), complete=False)
        return f"{kind}, {'words' if sample.spaces else 'one word'}"
    if kind == "system" or pa.types.is_timestamp(array.type):
        return "times and offsets"
    return f"{kind}, {'dictionary' if few else 'many values'}"


def _values(name: str, levels: dict[int, Cost], choosing_s: float) -> list[dict[str, Any]]:
    hot, cold = levels[LEVEL], levels[LEVEL_COLD]
    return [
        value(f"{name}, Parquet at zstd {LEVEL}", hot.size / 1e6, "MB"),
        value(f"{name}, the same at zstd {LEVEL_COLD}", 100 * cold.size / hot.size, "%"),
        value(f"{name}, time to write at zstd {LEVEL_COLD}", cold.write_s / hot.write_s, "x"),
        value(f"{name}, time to choose encodings", 1000 * choosing_s, "ms"),
    ]


def _print_classes(name: str, table: pa.Table, classes: dict[str, tuple[int, dict[str, Cost]]]) -> None:
    print(f"\n{name}, {table.num_rows:,} rows: kB, ms to write, ms to read")
    for of, (count, costs) in classes.items():
        print(f"| {count} {of} | " + " | ".join(f"{choice} {_shown(cost)}" for choice, cost in costs.items()) + " |")


def _print_levels(name: str, levels: dict[int, Cost], choosing_s: float) -> None:
    print(f"| {name} | " + " | ".join(_shown(cost) for cost in levels.values()) + f" | {1000 * choosing_s:.0f} |")


def _shown(cost: Cost) -> str:
    return f"{cost.size / 1e3:,.0f} / {1000 * cost.write_s:.0f} / {1000 * cost.read_s:.0f}"


def _numbers(cost: Cost) -> dict[str, float]:
    return {"bytes": cost.size, "write_s": round(cost.write_s, 5), "read_s": round(cost.read_s, 5)}


def _seconds(call: Callable[[], Any]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


if __name__ == "__main__":
    main()
