"""Random merges of segments: flushed ones of differing columns go in, the same rows must come out, in order."""

from __future__ import annotations

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from core.batch import REST
from core.columns import STR, ColumnKey
from core.ids import ShardId
from storage.compaction import Job, carry_out
from storage.compaction_keys import overlap
from storage.compaction_plan import Merge
from storage.objects import ObjectStore
from storage.rest import value_text
from storage.segment_writer import write_segments
from storage.snapshot import Segment
from storage.stream_settings import StreamSettings
from storage.verify_report import Findings
from storage.verify_segment import verify_segment
from tests.support.batches import DAY_US, START_US, memtable_batch, rows_by_meaning
from tests.support.shards import objects_on
from tests.support.simfs import SimFileSystem
from tests.unit.test_segment_merge import EXAMPLES

SHARD = ShardId(0)
KINDS = tuple(EXAMPLES)


@contextmanager
def small_pieces(group_rows: int, slice_bytes: int) -> Iterator[None]:
    """Row groups and slices so small that a few hundred rows make many of them."""
    with ExitStack() as stack:
        for target, value in (
            ("storage.segment_writer.ROW_GROUP_ROWS", group_rows),
            ("storage.compaction_merge.ROW_GROUP_ROWS", group_rows),
            ("storage.compaction_merge._GROUP_ROWS_STEP", 1),
            ("storage.compaction_merge.COMPACTION_SLICE_BYTES_MAX", slice_bytes),
            ("storage.segment_index_writer.INDEX_VALUES_ROWS_MIN", 1),
        ):
            stack.enter_context(mock.patch(target, value))
        yield


class Merges:
    """Writes segments of one shard into memory and merges them."""

    def __init__(self) -> None:
        self.objects: ObjectStore = objects_on(SimFileSystem())
        self._numbers = itertools.count(1)

    def number(self) -> str:
        return f"00000001-{next(self._numbers):08d}"

    def flushed(self, batches: Sequence[pa.RecordBatch], settings: StreamSettings) -> list[Segment]:
        return write_segments(batches, "default", settings, SHARD, new_name=self.number, objects=self.objects)

    def merged(self, inputs: Sequence[Segment], settings: StreamSettings, pieces: int = 1) -> list[Segment]:
        merge = Merge(tuple(inputs), 1, pieces)
        job = Job(SHARD, 1, merge, settings, tuple(self.number() for _ in range(pieces)))
        return list(
            carry_out(job, self.objects, lambda s: pa.py_buffer(self.objects.get(s.name)), lambda: None).outputs
        )

    def table(self, segment: Segment) -> pa.Table:
        return pq.read_table(pa.BufferReader(self.objects.get(segment.name)), use_threads=False)

    def rows(self, segments: Sequence[Segment]) -> Counter[str]:
        """The rows of segments as texts that do not depend on which values are in `_rest`."""
        return Counter(text for segment in segments for text in map(row_text, rows_by_meaning(self.table(segment))))

    def check(self, inputs: Sequence[Segment], outputs: Sequence[Segment]) -> None:
        """The same rows; every output as `malamute verify` wants it; ranges that do not overlap."""
        assert self.rows(outputs) == self.rows(inputs)
        for segment in outputs:
            found = Findings(SHARD)
            verify_segment(self.objects, segment, SHARD, True, found)
            assert not found.items, found.items
        ranges = [(segment.first_key, segment.last_key) for segment in outputs]
        assert not any(overlap(*pair) for pair in itertools.combinations(ranges, 2))


def row_text(row: dict[Any, Any]) -> str:
    """One row, whether its values are in columns or in `_rest`."""
    values: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(key, ColumnKey):
            values[key.path] = _exact(value_text(key.kind, value))
        elif key == REST:
            values.update(_exact(value))
        else:
            values[key] = str(value)
    return json.dumps(values, sort_keys=True)


def _exact(text: str) -> Any:
    return json.loads(text, parse_int=lambda number: f"i{number}", parse_float=lambda number: f"f{number}")


def random_merge(seed: int) -> int:
    """Merge random segments and check what comes out; returns the rows."""
    rng = random.Random(seed)
    settings = StreamSettings(
        "logs",
        sort_key=rng.choice(
            [("service", "timestamp"), ("path.1", "service"), ("timestamp",), (), ("path.0", "path.2")]
        ),
        max_paths=rng.choice([1, 3, 8, 1_000]),
    )
    older = StreamSettings("logs", sort_key=rng.choice([settings.sort_key, ("timestamp",), ("path.1",)]), max_paths=5)
    merges, inputs, offset = Merges(), [], 0
    group_rows = rng.choice([1, 7, 64, 100_000])
    rows_max = 6 if group_rows == 1 else 40  # a row group of each row is slow
    with small_pieces(group_rows, rng.choice([2_000, 20_000, 10**9])):
        for _ in range(rng.randint(1, 6)):
            batches = [_batch(rng, rows_max, offset := offset + 50) for _ in range(rng.randint(1, 3))]
            inputs += merges.flushed(batches, rng.choice([settings, older]))
        pieces = rng.randint(1, 4)
        outputs = merges.merged(inputs, settings, pieces)
        assert len(outputs) <= pieces
        merges.check(inputs, outputs)
        if len(outputs) > 1 and rng.random() < 0.3:
            merges.check(inputs, merges.merged(outputs, settings))
    return sum(segment.rows for segment in inputs)


def _batch(rng: random.Random, rows_max: int, first_offset: int) -> pa.RecordBatch:
    """A batch in which each path has a kind of its own, and is missing in some rows."""
    rows = rng.randint(1, rows_max)
    columns: dict[tuple[str, str], Any] = {}
    for path in range(rng.randint(0, 12)):
        kind = rng.choice(KINDS)
        filled = rng.random() ** 2
        columns[f"path.{path}", kind] = [_value(rng, kind) if rng.random() < filled else None for _ in range(rows)]
    if rng.random() < 0.8:
        services = pa.array([rng.choice("abc") * rng.choice([1, 1, 70]) for _ in range(rows)])
        columns["service", STR] = services.dictionary_encode() if rng.random() < 0.5 else services
    rest = [rng.choice([None, f'{{"rare.{row}":1.5,"x":"é"}}']) for row in range(rows)] if rng.random() < 0.3 else None
    day = START_US // DAY_US * DAY_US
    return memtable_batch(columns, [day + rng.randint(0, 20) for _ in range(rows)], first_offset, rest)


def _value(rng: random.Random, kind: str) -> Any:
    if kind == "int":
        return rng.choice([rng.randint(-3, 3), -(2**63), 2**63 - 1])
    if kind == "float":
        return rng.choice([rng.random(), 0.5, float("inf"), float("nan"), 1e-320])
    if kind == "str":
        return rng.choice(["", "a", "é\U0001f600", "x" * 70, "x" * 64, f"value {rng.randint(0, 9)}"])
    return EXAMPLES[kind]
