"""The choice of row groups: none that holds a wanted row is left out, and what is left out is not read."""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from query.executor import Executor
from query.fragment import KNOWN, LIKE, Predicate, StreamScan, TimeRange, Words
from query.merge import run_merge
from query.parse import parse
from query.plan import plan
from query.pruning import refuted_by
from query.row_groups import engine_skips, refuted_row_groups, row_ranges
from query.search.syntax import Wild
from query.shape import describe
from query.text_forms import like_pattern
from query.worker import Worker
from storage.segment_index import SegmentIndex
from storage.snapshot import Segment
from storage.tokens import tokens
from tests.support.batches import START_US, memtable_batch, rows_by_meaning
from tests.support.segment_store import SegmentStore, snapshot_of

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

ROW_GROUP = 4
VOCABULARY = ("alpha", "Beta", "gamma_1", "été", "x", "42", "K")


# --- ranges of rows ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=12))
def test_row_ranges_hold_the_rows_of_the_chosen_groups_and_no_others(groups: list[tuple[bool, int]]) -> None:
    chosen = np.array([wanted for wanted, _ in groups], bool)
    ranges = row_ranges(chosen, tuple(count for _, count in groups))
    rows = [wanted for wanted, count in groups for _ in range(count)]
    held = [any(first <= row <= last for first, last in ranges) for row in range(len(rows))]
    assert held == rows
    assert all(later[0] > earlier[1] + 1 for earlier, later in itertools.pairwise(ranges))


# --- never hides a wanted row -----------------------------------------------------------------------------------------

TEXT = st.lists(st.sampled_from(VOCABULARY), max_size=4).map(" ".join)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "str": st.one_of(TEXT, st.text(max_size=5), st.just("z" * 300)),
    "int": st.integers(-5, 5),
    "uint": st.integers(2**63, 2**63 + 5),
    "float": st.one_of(st.floats(-5, 5), st.sampled_from([math.nan, math.inf, -math.inf, -0.0])),
    "bool": st.booleans(),
}
TYPES = {"int": "BIGINT", "uint": "UBIGINT", "float": "DOUBLE", "str": "VARCHAR", "bool": "BOOLEAN"}
EVENT = st.fixed_dictionaries(
    {"time": st.integers(0, 30)},
    optional={
        "message": TEXT,
        "mixed": st.sampled_from(sorted(VALUES)).flatmap(lambda kind: VALUES[kind].map(lambda v: (kind, v))),
    },
)
OPERATORS = ("=", "<", "<=", ">", ">=")


@pytest.fixture(scope="module", params=[32, 1])
def store(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> SegmentStore:
    """With lists of all values; and with lists of one value at most, so that texts have string zone maps."""
    return SegmentStore(tmp_path_factory.mktemp("row_groups"), ROW_GROUP, request.param)


def written(store: SegmentStore, events: list[dict[str, Any]], rest: bool = False) -> tuple[Segment, list[Any]]:
    """The events as one segment, and its rows by meaning in the order of the file."""
    columns: dict[tuple[str, str], list[Any]] = {("message", "str"): [event.get("message") for event in events]}
    for kind in VALUES:
        held = [event.get("mixed", ("",)) for event in events]
        if any(value[0] == kind for value in held):
            columns["mixed", kind] = [value[1] if value[0] == kind else None for value in held]
    times = [START_US + event["time"] for event in events]
    texts = ['{"mixed":3}' if rest and number == 0 else None for number in range(len(events))]
    (segment,) = store.write([memtable_batch(columns, times, rest=texts if rest else None)])
    return segment, rows_by_meaning(pq.read_table(store.path(segment)))


def chosen_groups(scan: StreamScan, segment: Segment, index: SegmentIndex) -> Any:
    return np.array([not reason for reason in refuted_row_groups(scan, segment, index)], bool)


def hidden(store: SegmentStore, segment: Segment, scan: StreamScan, wanted: list[bool]) -> list[int]:
    """Rows that are wanted, in row groups that are not chosen."""
    index = store.indexes.get(segment)
    assert index is not None
    chosen = chosen_groups(scan, segment, index)
    assert chosen.shape == (len(index.rows),) and chosen.dtype == bool
    of_row = np.repeat(chosen, index.rows)
    return [row for row, (want, kept) in enumerate(zip(wanted, of_row, strict=True)) if want and not kept]


def scan(**more: Any) -> StreamScan:
    return StreamScan("logs", "a", (), "1", **more)


FEW_FILES = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@given(st.lists(EVENT, min_size=1, max_size=30), st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=2))
@FEW_FILES
def test_words(store: SegmentStore, events: list[dict[str, Any]], words: list[str]) -> None:
    segment, rows = written(store, events)
    asked = tuple(token for word in words for token in tokens(word))
    for path, kind in (("message", None), ("message", "str"), ("mixed", None), ("mixed", "str"), ("mixed", "int")):
        texts = [_texts(row, path, kind) for row in rows]
        wanted = [any(set(asked) <= set(tokens(text)) for text in held) for held in texts]
        assert not hidden(store, segment, scan(words=((Words(path, kind, asked),),)), wanted)


def _texts(row: dict[Any, Any], path: str, kind: str | None) -> list[str]:
    return [str(v).lower() for k, v in row.items() if getattr(k, "path", "") == path and kind in (None, k.kind)]


@given(
    st.lists(EVENT, min_size=1, max_size=30),
    st.sampled_from(OPERATORS),
    st.lists(
        st.one_of(st.integers(-6, 6), st.floats(-6, 6), st.integers(2**63 - 1, 2**63 + 5)), min_size=1, max_size=3
    ),
    st.sampled_from(["BIGINT", "HUGEINT", "UBIGINT", "DOUBLE"]),
)
@FEW_FILES
def test_numbers(store: SegmentStore, events: list[Any], operator: str, values: list[Any], type_: str) -> None:
    segment, rows = written(store, events)
    for kind in (None, "int", "uint", "float"):
        held = [_number(row, kind) for row in rows]
        wanted = [number is not None and any(_meets(number, operator, value) for value in values) for number in held]
        predicate = Predicate("mixed", kind, type_, operator, tuple(values))
        assert not hidden(store, segment, scan(predicates=(predicate,)), wanted)


def _number(row: dict[Any, Any], kind: str | None) -> Any:
    """The value as the engine reads it as a number, also of text."""
    for key, value in row.items():
        if getattr(key, "path", "") != "mixed" or kind not in (None, key.kind):
            continue
        if key.kind != "str":
            return value
        try:
            return float(value)
        except ValueError:
            return None
    return None


def _meets(number: Any, operator: str, value: Any) -> bool:
    if isinstance(number, float) and math.isnan(number):
        return operator in (">", ">=")  # above all numbers for the engine
    order = (number > value) - (number < value)
    return {"=": order == 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[operator]


@given(
    st.lists(EVENT, min_size=1, max_size=30),
    st.sampled_from((*OPERATORS, KNOWN)),
    st.lists(st.one_of(TEXT, st.text(max_size=3), st.just("z" * 299), st.just("z" * 301)), min_size=1, max_size=2),
)
@FEW_FILES
def test_texts_and_values_that_are_there(
    store: SegmentStore, events: list[Any], operator: str, texts: list[str]
) -> None:
    segment, rows = written(store, events)
    for path, kind in (("message", None), ("mixed", "str"), ("mixed", None)):
        held = [
            next((v for k, v in row.items() if getattr(k, "path", "") == path and kind in (None, k.kind)), None)
            for row in rows
        ]
        if operator == KNOWN:
            wanted = [value is not None for value in held]
        else:
            encoded = [str(value).encode() if value is not None else None for value in held]
            wanted = [e is not None and any(_meets(e, operator, text.encode()) for text in texts) for e in encoded]
        values = () if operator == KNOWN else tuple(texts)
        assert not hidden(
            store, segment, scan(predicates=(Predicate(path, kind, "VARCHAR", operator, values),)), wanted
        )


@given(
    st.lists(EVENT, min_size=1, max_size=30),
    st.lists(st.text("ablph%_ z4é", max_size=5), min_size=1, max_size=2),
)
@FEW_FILES
def test_forms_of_texts(store: SegmentStore, events: list[Any], likes: list[str]) -> None:
    segment, rows = written(store, events)
    patterns = tuple(like_pattern(like, "") for like in likes)
    forms = [re.compile("".join(_LIKE.get(c, re.escape(c)) for c in like), re.DOTALL) for like in likes]
    for path, kind in (("message", None), ("mixed", "str"), ("mixed", None), ("mixed", "int")):
        held = [_texts_as_stored(row, path, kind) for row in rows]
        wanted = [any(one.fullmatch(text) for one in forms for text in texts) for texts in held]
        predicate = Predicate(path, kind, "VARCHAR", LIKE, patterns)
        assert not hidden(store, segment, scan(predicates=(predicate,)), wanted)
        kept = not refuted_by(segment, None, [predicate])
        assert kept or not any(wanted)


_LIKE = {"%": ".*", "_": "."}


def _texts_as_stored(row: dict[Any, Any], path: str, kind: str | None) -> list[str]:
    return [str(v) for k, v in row.items() if getattr(k, "path", "") == path and kind in (None, k.kind)]


@given(st.lists(EVENT, min_size=1, max_size=30), st.lists(st.text("ab%_xz4", max_size=3), max_size=2), st.booleans())
@FEW_FILES
def test_conditions_of_several_columns_together(
    store: SegmentStore, events: list[Any], likes: list[str], number: bool
) -> None:
    segment, rows = written(store, events)
    predicates = [Predicate("message", None, "VARCHAR", LIKE, (like_pattern(like, ""),)) for like in likes]
    predicates += [Predicate("mixed", "int", "BIGINT", "=", (1, 3))] if number else []
    wanted = [
        all(
            any(re.fullmatch("".join(_LIKE.get(c, re.escape(c)) for c in like), t, re.DOTALL) for t in texts)
            for like in likes
        )
        and (not number or any(v in (1, 3) for k, v in row.items() if getattr(k, "kind", "") == "int"))
        for row in rows
        for texts in [_texts_as_stored(row, "message", None)]
    ]
    assert not hidden(store, segment, scan(predicates=tuple(predicates)), wanted)


BOUND = st.one_of(st.none(), st.integers(-2, 32))


@given(st.lists(EVENT, min_size=1, max_size=30), BOUND, BOUND)
@FEW_FILES
def test_times(store: SegmentStore, events: list[Any], start: int | None, end: int | None) -> None:
    segment, rows = written(store, events)
    range_ = TimeRange(*(None if bound is None else START_US + bound for bound in (start, end)))
    wanted = [range_.overlaps(row["timestamp"], row["timestamp"]) for row in rows]
    assert not hidden(store, segment, scan(time_range=range_), wanted)


@given(st.lists(EVENT, min_size=1, max_size=20))
@FEW_FILES
def test_where_values_may_stand_in_rest_only_the_time_hides(store: SegmentStore, events: list[Any]) -> None:
    segment, rows = written(store, events, rest=True)
    conditions: dict[str, Any] = {
        "words": ((Words("mixed", None, ("nowhere",)),),),
        "predicates": (Predicate("mixed", None, "BIGINT", "=", (77,)), Predicate("none", None, "BIGINT", KNOWN)),
    }
    assert segment.has_rest and not hidden(store, segment, scan(**conditions), [True] * len(rows))
    index = store.indexes.get(segment)
    assert index is not None
    assert not chosen_groups(scan(time_range=TimeRange(START_US + 31, None), **conditions), segment, index).any()


def test_row_groups_that_lack_a_word_a_value_or_the_time_are_left_out(store: SegmentStore) -> None:
    events = [{"time": row, "message": VOCABULARY[row // ROW_GROUP], "mixed": ("int", row)} for row in range(28)]
    segment, _ = written(store, events)
    index = store.indexes.get(segment)
    assert index is not None and len(index.rows) == 7

    def chosen(**more: Any) -> list[int]:
        return np.flatnonzero(chosen_groups(scan(**more), segment, index)).tolist()

    assert chosen() == list(range(7))
    assert chosen(words=((Words("message", None, ("beta",)),),)) == [1]
    assert chosen(words=((Words("message", None, ("beta", "alpha")),),)) == []
    assert chosen(words=((Words("other", None, ("beta",)),),)) == []
    assert chosen(predicates=(Predicate("mixed", None, "BIGINT", ">", (20.5,)),)) == [5, 6]
    assert chosen(predicates=(Predicate("mixed", None, "BIGINT", "=", (3, 27)),)) == [0, 6]
    assert chosen(time_range=TimeRange(START_US + 8, START_US + 11)) == [2]
    both = {"words": ((Words("message", None, ("beta",)),),), "time_range": TimeRange(START_US + 8, None)}
    assert chosen(**both) == []


def test_what_left_a_row_group_out_is_named(tmp_path: Path) -> None:
    words = ["web-store", "web-cart", "api", "batch"]
    events = [
        {"time": row, "message": f"{words[row // ROW_GROUP % 4]} {'ab'[row % 2]}", "mixed": ("int", row % 2 * 9)}
        for row in range(16)
    ]

    def reasons(store: SegmentStore, *predicates: Predicate) -> list[str]:
        segment, _ = written(store, events)
        index = store.indexes.get(segment)
        assert index is not None
        return refuted_row_groups(scan(predicates=predicates), segment, index)

    lists, strings = SegmentStore(tmp_path / "lists", ROW_GROUP), SegmentStore(tmp_path / "strings", ROW_GROUP, 1)
    web = Predicate("message", None, "VARCHAR", LIKE, (("web-", Wild.ANY, "b"),))
    assert reasons(lists, web) == ["", "", "zone map of message", "zone map of message"]
    store_b = Predicate("message", None, "VARCHAR", LIKE, ((Wild.ANY, "store b"), (Wild.ANY, "cart c")))
    assert reasons(lists, store_b) == ["", *["values of message"] * 3]
    assert reasons(strings, store_b) == ["", *["prefixes of message"] * 3]
    between = Predicate("message", None, "VARCHAR", "=", ("web-store ab",))
    assert reasons(lists, between)[0] == "values of message" and reasons(strings, between)[0] == "prefixes of message"
    five = Predicate("mixed", None, "BIGINT", "=", (5, 7.5))
    assert reasons(lists, five) == ["values of mixed"] * 4
    assert reasons(strings, five) == [""] * 4  # only texts have prefixes


def test_what_the_engine_knows_from_the_file_itself_is_left_to_it() -> None:
    assert engine_skips(["time", "zone map of n", "time"], {"n", "m"})
    assert not engine_skips(["time", "zone map of n"], {"m"})  # of a column that is converted it knows no bounds
    for reason in ("words of n", "values of n", "prefixes of n"):
        assert not engine_skips(["time", reason], {"n"})


# --- what the engine reads of it --------------------------------------------------------------------------------------


class Rig:
    def __init__(self, directory: Path) -> None:
        self.store = SegmentStore(directory, row_group_rows=2_048)
        self.executor = Executor(threads=1, data_directories=[str(directory)])

    def rows(self, segments: list[Segment], sql: str, indexes: bool = True) -> tuple[list[dict[str, Any]], int]:
        """The rows, and how many row groups were left out."""
        snapshot = snapshot_of(segments)
        worker = Worker(self.executor, self.store, self.store.indexes if indexes else None)
        planned = plan(parse(sql), {"logs": describe(snapshot)}, self.executor, now_us=START_US)
        result = worker.run_leaf(planned.leaf, {"logs": snapshot})
        merged = run_merge(planned, [result], self.executor)
        return merged.to_pylist(), result.stats.row_groups_pruned


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.executor.close()


ROWS = 20_000
HIDING = [
    "file_row_number",
    "FILE_ROW_NUMBER",
    "File_Row_Number",
]


@pytest.mark.parametrize("name", ["n", "filename", "file_index", "rowid", *HIDING])
def test_a_path_named_like_the_engines_own_columns_hides_no_rows(rig: Rig, name: str) -> None:
    columns = {
        (name, "int"): [10**6 + row for row in range(ROWS)],
        ("message", "str"): [f"word{row // 2_000} passed" for row in range(ROWS)],
    }
    segments = rig.store.write([memtable_batch(columns, [START_US + row for row in range(ROWS)])])
    sql = f"SELECT count(*) AS c, min(\"{name}\") AS low FROM logs WHERE message = 'word3 passed'"
    rows, pruned = rig.rows(segments, sql)
    assert rows == [{"c": 2_000, "low": 10**6 + 6_000}] == rig.rows(segments, sql, indexes=False)[0]
    assert pruned > 0 or name.lower() == "file_row_number"


def test_parts_of_several_segments_give_the_rows_that_whole_ones_give(rig: Rig) -> None:
    rng = random.Random(4)
    segments: list[Segment] = []
    for number in range(3):
        size = 5_000 + number * 2_048
        columns = {
            ("message", "str"): [f"word{rng.randrange(3)} rare{row // 1_000}" for row in range(size)],
            ("n", "int"): [number * 10**5 + row for row in range(size)],
        }
        segments += rig.store.write([memtable_batch(columns, [START_US + row for row in range(size)])])
    conditions = ("message LIKE '%rare2%'", "n % 1000 = 1 AND n < 3000", "message = 'word1 rare7'", "n = 204999")
    left_out = 0
    for condition in conditions:
        sql = f"SELECT n, message FROM logs WHERE {condition} ORDER BY n"
        rows, pruned = rig.rows(segments, sql)
        assert rows == rig.rows(segments, sql, indexes=False)[0] and rows
        left_out += pruned
    assert left_out > 0


def test_a_segment_without_an_index_is_read_in_whole(rig: Rig) -> None:
    (segment,) = rig.store.write([memtable_batch({("n", "int"): list(range(9_000))}, [START_US] * 9_000)])
    old = replace(segment, index_bytes=0, index_crc32c=0)
    assert rig.rows([old], "SELECT count(*) AS c FROM logs WHERE n = 8999") == ([{"c": 1}], 0)


def test_unordered_and_empty_columns(store: SegmentStore) -> None:
    columns: dict[tuple[str, str], Any] = {("tags", "str[]"): [["a"], None, []], ("none", "str"): [None, None, None]}
    (segment,) = store.write([memtable_batch(columns, [START_US, START_US + 1, START_US + 2])])
    index = store.indexes.get(segment)
    assert index is not None
    found = scan(words=((Words("tags", None, ("a",)),),))
    assert chosen_groups(found, segment, index).all()
    assert not chosen_groups(scan(words=((Words("none", None, ("a",)),),)), segment, index).any()
    assert chosen_groups(scan(predicates=(Predicate("tags", None, "VARCHAR[]", KNOWN),)), segment, index).all()
    assert isinstance(pq.read_table(store.path(segment)), pa.Table)


def test_a_top_n_over_one_segment_of_which_row_groups_are_left_out(rig: Rig) -> None:
    columns = {
        ("message", "str"): [f"word{row // 2_000} passed" for row in range(ROWS)],
        ("n", "int"): [row * 7919 % 100_003 for row in range(ROWS)],
    }
    segments = rig.store.write([memtable_batch(columns, [START_US + row for row in range(ROWS)])])
    sql = "SELECT n, message FROM logs WHERE message LIKE 'word3 %' ORDER BY n LIMIT 3"
    rows, pruned = rig.rows(segments, sql)
    assert [row["n"] for row in rows] == sorted(columns["n", "int"][6_000:8_000])[:3] and pruned > 0
