"""Names, readings, pruning and the plan as data, over small hand-made streams."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.columns import ColumnKey
from core.errors import InvalidQuery
from query.executor import Executor
from query.fragment import Predicate, TimeRange
from query.holdings import Holding
from query.merge import run_merge
from query.plan import plan
from query.pruning import refuted_by
from query.readings import natural_type
from query.shape import StreamShape, merge_shapes, shape_of_segments
from query.tasks import prune
from storage.snapshot import ColumnStats, StreamSnapshot
from tests.support.batches import START_US
from tests.unit.test_query_shards import NOW_US, Event, Shards, build_shards, oracle, to_batch, to_segment

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

Make = Callable[..., Shards]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def build(*events: Event, **others: list[Event]) -> Shards:
        shards = Shards(tmp_path, Executor(threads=1, memory_bytes=2**28, data_directories=[str(tmp_path)]))
        for stream, held in {"logs": list(events), **others}.items():
            shards.add(stream, held, parts=1)
        return shards

    return build


def text(value: str) -> tuple[str, Any]:
    return ("str", value)


def test_an_alias_wins_over_a_path_of_the_same_name(make: Make) -> None:
    shards = make({"l.service": text("path"), "service": text("alias")})
    assert shards.query("SELECT l.service FROM logs l").to_pylist() == [{"service": "alias"}]
    assert shards.query("SELECT l.service FROM logs").to_pylist() == [{"l.service": "path"}]
    assert shards.query('SELECT l."l.service" FROM logs l').to_pylist() == [{"l.service": "path"}]


def test_an_unknown_path_is_null_with_the_nearest_known_one(make: Make) -> None:
    shards = make({"http.status_code": ("int", 200)})
    planned = shards.plan("SELECT http.status_cod, http FROM logs")
    assert [warning.rsplit(": ", 1)[1] for warning in planned.warnings] == [
        "did you mean 'http.status_code'?",
        "did you mean 'http.status_code'?",
    ]
    assert shards.query("SELECT nothing, sum(none) OVER () AS s FROM logs").to_pylist() == [
        {"nothing": None, "s": None}
    ]


def test_names_ignore_case_unless_paths_differ_by_it(make: Make) -> None:
    shards = make({"Level": text("upper"), "level": text("lower"), "Host": text("h")})
    assert shards.query('SELECT "Level", level, HOST FROM logs').to_pylist() == [
        {"Level": "upper", "level": "lower", "Host": "h"}
    ]
    assert shards.plan("SELECT LEVEL FROM logs").warnings
    assert shards.query("SELECT * FROM logs").num_columns == 4


def test_hostile_paths_and_literals_stay_what_they_are(make: Make) -> None:
    names = ['a"b', "it's", '"__malamute_0"', "{input}", "k0", "c0", "a; DROP", "x as DOUBLE", "merged", "größe"]
    shards = make({name: text(name) for name in names} | {"x": text("1")}, {"x": ("int", 2)})
    (row, _) = shards.query("SELECT * FROM logs ORDER BY timestamp").to_pylist()
    assert {name: row[name] for name in names} == {name: name for name in names}
    assert shards.query("SELECT '{input}' AS a, count(*) AS n FROM logs").to_pylist() == [{"a": "{input}", "n": 2}]
    token = '"__malamute_0"'
    assert shards.query("SELECT ? AS a, count(*) AS n FROM logs", [token]).to_pylist() == [{"a": token, "n": 2}]
    assert shards.query("SELECT sum(x) AS s, min(k0) AS m FROM logs GROUP BY c0 ORDER BY s").column(
        "m"
    ).to_pylist() == [
        "k0",
        None,
    ]


def test_a_typed_column_is_addressed_by_its_kind(make: Make) -> None:
    shards = make({"d": ("int", 1)}, {"d": text("x")}, {"d": ("float", 2.5)})
    found = shards.query('SELECT "d::int", "d::str", "d::float", d FROM logs ORDER BY timestamp').to_pylist()
    assert [row["d"] for row in found] == ["1", "x", "2.5"]
    assert [row["d::int"] for row in found] == [1, None, None]
    assert [row["d::float"] for row in found] == [None, None, 2.5]


def test_lists_of_different_kinds(make: Make) -> None:
    shards = make({"n": ("int[]", [1, 2]), "m": ("int[]", [1])}, {"n": ("float[]", [0.5]), "m": text("x")})
    assert shards.query("SELECT n, m FROM logs ORDER BY timestamp").to_pylist() == [
        {"n": [1.0, 2.0], "m": "[1]"},
        {"n": [0.5], "m": "x"},
    ]


def test_rare_paths_are_read_from_rest_by_their_exact_name(make: Make) -> None:
    shards = make(
        {"rest:a.b/c~d": ("int", 7), "x": ("int", 1)}, {"rest:n": ("int", 40), "n": ("int", 2)}, {"n": ("int", 1)}
    )
    assert shards.query('SELECT "a.b/c~d" AS v FROM logs ORDER BY v').column("v").to_pylist() == ["7", None, None]
    assert shards.query('SELECT sum("a.b/c~d") AS v FROM logs').to_pylist() == [{"v": 7.0}]
    assert shards.query("SELECT count(*) AS n FROM logs WHERE n > 30 AND _rest IS NOT NULL").to_pylist() == [{"n": 0}]
    assert shards.query("SELECT _rest FROM logs WHERE x = 1").column(0).to_pylist() == ['{"a.b/c~d": 7}']


def test_text_in_rest_under_a_numeric_path_is_seen_where_text_is_asked_for(make: Make) -> None:
    shards = make(
        {"n": ("int", 5)}, {"rest:n": text("many")}, {"rest:n": ("int", 7)}, {"n": ("float", 2.5)}, {"x": ("int", 1)}
    )

    def column(sql: str) -> list[Any]:
        return shards.query(sql).column(0).to_pylist()

    assert column("SELECT n FROM logs ORDER BY timestamp") == [5.0, None, 7.0, 2.5, None]
    for as_text in ("n::VARCHAR", "CAST(n AS TEXT)", "n || ''", "lower(n)", "n.lower()"):
        assert column(f"SELECT {as_text} FROM logs ORDER BY timestamp") == ["5.0", "many", "7.0", "2.5", None], as_text
    for condition in ("n = 'many'", "n LIKE 'm%'", "n IN ('many', 'few')", "n ~ '^m'", "n ^@ 'm'", "upper(n) = 'MANY'"):
        assert column(f"SELECT count(*) FROM logs WHERE {condition}") == [1], condition
    for condition in ("n = '7'", "n > 5", "n IN ('7', '8')", "n BETWEEN 6 AND 8"):
        assert column(f"SELECT count(*) FROM logs WHERE {condition}") == [1], condition
    assert column("SELECT sum(n) FROM logs") == [14.5]
    assert column("WITH t AS (SELECT * FROM logs) SELECT sum(n) FROM t") == [14.5]
    assert column("SELECT count(DISTINCT n::VARCHAR) FROM logs") == [4]


def test_without_rest_a_numeric_path_stays_a_number_everywhere(make: Make) -> None:
    shards = make({"n": ("int", 5)}, {"n": ("int", 6)})
    (scan,) = shards.plan("SELECT n::VARCHAR FROM logs").leaf.scans
    assert [column.type for column in scan.columns] == ["BIGINT"]
    with pytest.raises(InvalidQuery, match="could not convert string 'many'"):
        shards.query("SELECT n FROM logs WHERE n = 'many'")


def test_a_query_over_nothing_answers_like_sql(make: Make) -> None:
    shards = make()
    shards.snapshots = [{}]
    assert shards.query("SELECT count(*) AS n, sum(x) AS s FROM logs").to_pylist() == [{"n": 0, "s": None}]
    planned = shards.plan("SELECT count(*) AS n, count(DISTINCT x) AS d FROM logs")
    assert run_merge(planned, [], shards.executor).to_pylist() == [{"n": 0, "d": 0}]
    assert shards.query("SELECT service, x FROM logs ORDER BY x LIMIT 3").num_rows == 0


def test_a_plan_is_plain_data(make: Make) -> None:
    shards = make({"a": ("int", 1)}, traces=[{"a": ("int", 1)}])
    for sql in ("SELECT a, count(*) FROM logs GROUP BY a", "SELECT * FROM logs JOIN traces USING (a)", "SHOW STREAMS"):
        planned = shards.plan(sql)
        assert pickle.loads(pickle.dumps(planned)).merge_sql == planned.merge_sql  # noqa: S301


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT nope(a) FROM logs", "nope does not exist"),
        ("SELECT a FROM logs GROUP BY b", "must appear in the GROUP BY"),
        ("SELECT a FROM logs l JOIN traces t ON l.a = t.a", "'a' is ambiguous"),
        ("SELECT * EXCLUDE (zzz) FROM logs", "'zzz' in EXCLUDE"),
        ("SELECT CAST('x' AS INT) FROM logs", "could not convert"),
    ],
)
def test_errors_are_the_engines_words_without_its_frame(make: Make, sql: str, said: str) -> None:
    shards = make({"a": ("int", 1), "b": ("int", 2)}, traces=[{"a": ("int", 1)}])
    with pytest.raises(InvalidQuery) as caught:
        shards.query(sql)
    assert said in str(caught.value)
    assert "__malamute" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_now_is_one_instant_for_all(make: Make) -> None:
    shards = make({"a": ("int", 1)}, {"a": ("int", 2)}, {"a": ("int", 3)})
    times = shards.query("SELECT DISTINCT now() AS t, epoch_us(now()) AS us FROM logs")
    assert times.column("us").to_pylist() == [NOW_US]
    words = "current_date, current_timestamp, current_time, localtime, localtimestamp, get_current_time(), today()"
    assert shards.query(f"SELECT DISTINCT {words} FROM logs").num_rows == 1
    (row,) = shards.query("SELECT DISTINCT current_time::VARCHAR AS t, localtime::VARCHAR AS l FROM logs").to_pylist()
    assert row == {"t": "01:00:00+00", "l": "01:00:00"}


def test_time_bounds_prune_segments_and_batches(tmp_path: Path) -> None:
    shards = build_shards(tmp_path)
    sql = "SELECT count(*) AS n FROM logs WHERE timestamp < TIMESTAMPTZ '2026-01-01 00:05:00+00'"
    (row,) = shards.query(sql).to_pylist()
    assert row["n"] == oracle(shards.events).execute(sql).fetchone()[0]
    assert shards.last_stats.segments_pruned > 0
    assert shards.last_stats.batches_pruned == shards.last_stats.batches
    assert (
        shards.plan("SELECT count(*) FROM logs WHERE timestamp > '2026-01-01' OR id = 1").leaf.scans[0].time_range
        is None
    )


def holding_of(snapshot: StreamSnapshot) -> Holding:
    """What a coordinator knows of a snapshot without a memtable."""
    shape = shape_of_segments(snapshot.segments)
    return Holding(0, 1, snapshot.visible_offset, snapshot.segments, shape, StreamShape(), 0)


def test_pruned_segments_are_not_even_located(make: Make, tmp_path: Path) -> None:
    shards = make({"a": ("int", 1)})
    segment = to_segment(to_batch([(0, {"a": ("int", 1)})], 0), "logs", tmp_path / "s.parquet")
    held = replace(shards.snapshots[0]["logs"], segments=(segment,), memtable=())
    planned = shards.plan("SELECT count(*) FROM logs WHERE a > 5")

    pruned = prune(planned.leaf, {"logs": [holding_of(held)]})
    assert [(part.segments, part.reasons) for part in pruned] == [((), {"zone map of a": 1})]


@pytest.mark.parametrize("operator", ["=", ">=", "<=", "BETWEEN t AND"])
def test_an_event_on_the_bound_is_found(make: Make, tmp_path: Path, operator: str) -> None:
    shards = make({"a": ("int", 1)})
    segment = to_segment(to_batch([(9, {"a": ("int", 1)})], 0), "logs", tmp_path / "bound.parquet")
    shards.snapshots = [{"logs": replace(shards.snapshots[0]["logs"], segments=(segment,), memtable=())}]
    bound = f"make_timestamptz({segment.timestamp_min_us})"
    found = shards.query(f"SELECT count(*) AS n FROM logs WHERE timestamp {operator.replace('t', bound)} {bound}")
    assert found.to_pylist() == [{"n": 1}]
    assert shards.last_stats.segments_pruned == 0


def test_a_limit_reaches_rows_that_stand_on_one_shard(make: Make) -> None:
    shards = make(*({"a": ("int", row if row % 3 == 0 else 1000 + row)} for row in range(30)))
    found = shards.query("SELECT a FROM logs ORDER BY a LIMIT 4 OFFSET 5").column("a").to_pylist()
    assert found == [15, 18, 21, 24]


def _zone(kind: str, low: Any, high: Any) -> Any:
    segment = to_segment.__globals__["Segment"]
    stats = ColumnStats("a", ColumnKey("a", kind), 5, low, high)
    return segment("n", "t", "s", 0, 9, 5, 1, 0, 0, 9, 0, 4, False, (), (stats,))


@pytest.mark.parametrize(
    ("kind", "zone", "predicate", "may"),
    [
        ("int", (1, 5), Predicate("a", None, "BIGINT", "=", (6,)), False),
        ("int", (1, 5), Predicate("a", None, "BIGINT", "=", (5,)), True),
        ("int", (1, 5), Predicate("a", None, "BIGINT", "=", (9, 3)), True),
        ("int", (1, 5), Predicate("a", None, "BIGINT", ">", (5.5,)), False),
        ("int", (2**53, 2**53 + 1), Predicate("a", None, "DOUBLE", "=", (2.0**53,)), True),
        ("float", (1.0, 5.0), Predicate("a", None, "DOUBLE", ">", (6,)), True),  # a NaN is above 6
        ("float", (1.0, 5.0), Predicate("a", None, "DOUBLE", "<", (1,)), True),
        ("float", (1.0, 5.0), Predicate("a", None, "DOUBLE", "<", (0.5,)), False),
        ("str", ("b", "d"), Predicate("a", None, "VARCHAR", "=", ("e",)), False),
        ("str", ("b", "d"), Predicate("a", None, "VARCHAR", "=", ("c",)), True),
        ("str", ("b", "d"), Predicate("a", None, "DOUBLE", ">", (9,)), True),  # text may be any number
        ("str", (None, None), Predicate("a", None, "VARCHAR", "=", ("c",)), True),
        ("int", (1, 5), Predicate("other", None, "BIGINT", "=", (1,)), False),
        ("int", (1, 5), Predicate("a", "str", "VARCHAR", "=", ("x",)), False),
        ("int", (1, 5), Predicate("a", None, "BIGINT", "known"), True),
    ],
)
def test_zone_maps_never_hide_a_row(kind: str, zone: tuple[Any, Any], predicate: Predicate, may: bool) -> None:
    assert (refuted_by(_zone(kind, *zone), None, [predicate]) == "") is may
    with_rest = replace(_zone(kind, *zone), has_rest=True)
    assert refuted_by(with_rest, None, [predicate]) == ""


def test_time_ranges_are_inclusive() -> None:
    assert TimeRange(10, 20).overlaps(20, 30)
    assert TimeRange(10, 20).overlaps(0, 10)
    assert not TimeRange(10, 20).overlaps(21, 30)
    assert TimeRange(None, START_US).overlaps(START_US, START_US)


def test_kinds_resolve_to_one_type() -> None:
    assert natural_type(["int"]) == "BIGINT"
    assert natural_type(["int", "uint"]) == "HUGEINT"
    assert natural_type(["int", "float", "decimal"]) == "DOUBLE"
    assert natural_type(["int", "bool"]) == natural_type([]) == natural_type(["str[]", "str"]) == "VARCHAR"


def test_shapes_of_shards_add_up() -> None:
    one = StreamShape(2, {"a": {"int": 2}}, False, 5, 9)
    other = StreamShape(3, {"a": {"int": 1, "str": 1}, "b": {"str": 3}}, True, 1, 7)
    assert merge_shapes([one, other, StreamShape()]) == StreamShape(
        5, {"a": {"int": 3, "str": 1}, "b": {"str": 3}}, True, 1, 9
    )
    assert one.find("A") == "a"


def test_threads_share_one_engine(tmp_path: Path) -> None:
    shards = build_shards(tmp_path, rows=60)
    queries = [f"SELECT service, count(*) AS n FROM logs WHERE id >= {low} GROUP BY service" for low in range(0, 60, 4)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(shards.query, queries))
    counts = [sum(answer.column("n").to_pylist()) for answer in answers]
    assert counts == [60 - low for low in range(0, 60, 4)]


def test_plan_takes_the_clock_when_no_instant_is_given(make: Make) -> None:
    from query.parse import parse

    shards = make({"a": ("int", 1)})
    planned = plan(parse("SELECT epoch_us(now()) AS t"), {}, shards.executor)
    assert run_merge(planned, [], shards.executor).column("t").to_pylist()[0] > START_US - 10**15


def test_a_group_key_that_is_text_of_a_path_has_what_stands_in_rest(make: Make) -> None:
    shards = make({"n": ("int", 1)}, {"n": ("int", 1)}, {"rest:n": ("str", "two")}, {"other": ("int", 1)})
    expected = [{"k": "1", "c": 2}, {"k": "two", "c": 1}, {"k": None, "c": 1}]
    for key in ("1", "k", "n::VARCHAR", "ALL"):
        found = shards.query(f"SELECT n::VARCHAR AS k, count(*) AS c FROM logs GROUP BY {key} ORDER BY k")
        assert found.to_pylist() == expected
    found = shards.query("SELECT n, n::VARCHAR AS k, count(*) AS c FROM logs GROUP BY n ORDER BY n")
    assert found.to_pylist() == [{"n": 1, "k": "1", "c": 2}, {"n": None, "k": None, "c": 2}]
