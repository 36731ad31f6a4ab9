"""Searches inside of SQL, over shards: matches() and last() where they may stand, and what pruning has of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.errors import InvalidQuery
from query.columns import target_of
from query.fragment import GATHER, PARTIAL_AGGREGATE, PROJECT, TOP_N, TimeRange
from query.parse import parse
from query.paths import resolve
from query.shape import describe, merge_shapes
from query.words import token_clauses
from tests.unit.test_query_shards import NOW_US, Shards, build_shards

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

WEB = "service = 'web'"
SAME = [
    (
        PARTIAL_AGGREGATE,
        "SELECT count(*) AS n FROM logs WHERE matches('service:web -level:info')",
        f"SELECT count(*) AS n FROM logs WHERE {WEB} AND level IS DISTINCT FROM 'info'",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT level, count(*) AS n FROM logs WHERE NOT matches('service:web OR level:info') GROUP BY level",
        "SELECT level, count(*) AS n FROM logs WHERE NOT (service = 'web' OR coalesce(level = 'info', "
        "FALSE)) GROUP BY level",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT service, count(*) AS n FROM logs WHERE matches('tags:a @duration:>20') GROUP BY service",
        "SELECT service, count(*) AS n FROM logs WHERE list_contains(tags, 'a') AND duration > 20 GROUP BY service",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT matches('service:web level:info') AS m, count(*) AS n FROM logs GROUP BY m",
        f"SELECT coalesce({WEB} AND level = 'info', FALSE) AS m, count(*) AS n FROM logs GROUP BY m",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT count(*) FILTER (WHERE matches('service:web')) AS n, count_if(matches('ok:true')) AS o FROM logs",
        f"SELECT count(*) FILTER (WHERE {WEB}) AS n, count_if(ok) AS o FROM logs",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT CASE WHEN matches('service:web') THEN 1 ELSE 0 END AS c, count(*) AS n FROM logs GROUP BY c",
        f"SELECT CASE WHEN {WEB} THEN 1 ELSE 0 END AS c, count(*) AS n FROM logs GROUP BY c",
    ),
    (
        TOP_N,
        "SELECT id FROM logs WHERE matches('service:web rare.x/y~z:rare') ORDER BY id LIMIT 5",
        f"""SELECT id FROM logs WHERE {WEB} AND "rare.x/y~z" = 'rare' ORDER BY id LIMIT 5""",
    ),
    (
        PROJECT,
        "SELECT id FROM logs WHERE matches('*:rare')",
        """SELECT id FROM logs WHERE "rare.x/y~z" = 'rare'""",
    ),
    (
        PROJECT,
        "SELECT id FROM logs WHERE matches('mixed:(x OR 7)')",
        "SELECT id FROM logs WHERE mixed = 'x' OR mixed = 7",
    ),
    (
        GATHER,
        "SELECT count(*) AS n FROM logs l JOIN traces t ON l.id = t.id AND matches('service:db', t) "
        "WHERE matches('ok:*', l)",
        "SELECT count(*) AS n FROM logs l JOIN traces t ON l.id = t.id AND t.service = 'db' WHERE l.ok IS NOT NULL",
    ),
    (
        GATHER,
        "SELECT count(*) AS n FROM logs l LEFT JOIN traces t ON l.id = t.id AND matches('service:db', t)",
        "SELECT count(*) AS n FROM logs",
    ),
    (
        GATHER,
        "SELECT id FROM logs l WHERE EXISTS (SELECT 1 FROM traces t WHERE t.id = l.id AND matches('service:web', l))",
        f"SELECT id FROM logs WHERE {WEB} AND id IN (SELECT id FROM traces)",
    ),
    (
        GATHER,
        "SELECT id FROM logs WHERE id IN (SELECT id FROM traces WHERE matches('service:db'))",
        "SELECT id FROM logs WHERE id IN (SELECT id FROM traces WHERE service = 'db')",
    ),
    (
        GATHER,
        "WITH c AS (SELECT service AS s, id FROM logs) SELECT id FROM c WHERE matches('s:web id:>100 -s:w?')",
        f"SELECT id FROM logs WHERE {WEB} AND id > 100",
    ),
    (
        GATHER,
        "SELECT id FROM (SELECT id, service, level FROM logs) AS c WHERE matches('*:web')",
        f"SELECT id FROM logs WHERE {WEB}",
    ),
    (
        GATHER,
        "SELECT count(*) AS n FROM traces WHERE matches('span:[10 TO 20}') UNION ALL SELECT count(*) FROM logs",
        "SELECT count(*) AS n FROM traces WHERE span >= 10 AND span < 20 UNION ALL SELECT count(*) FROM logs",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT count(*) AS n FROM logs WHERE last('30m')",
        "SELECT count(*) AS n FROM logs WHERE timestamp >= now() - INTERVAL '30 minutes'",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT count(*) AS n FROM logs WHERE NOT (last('1800s')) OR last('10m')",
        "SELECT count(*) AS n FROM logs WHERE timestamp < now() - INTERVAL 30 MINUTE OR timestamp >= "
        "now() - INTERVAL 10 MINUTE",
    ),
    (
        PARTIAL_AGGREGATE,
        "SELECT time_bucket(INTERVAL '10m', timestamp) AS b, count(*) AS n FROM logs WHERE last('1h') GROUP BY b",
        "SELECT time_bucket(INTERVAL 10 MINUTE, timestamp) AS b, count(*) AS n FROM logs "
        "WHERE timestamp >= now() - INTERVAL 1 HOUR GROUP BY b",
    ),
    (
        GATHER,
        "SELECT count(*) AS n FROM logs l JOIN traces t ON l.id = t.id WHERE last('30m', l)",
        "SELECT count(*) AS n FROM logs l JOIN traces t ON l.id = t.id WHERE l.timestamp >= now() - "
        "INTERVAL '30 minutes'",
    ),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return build_shards(Path(tmp_path_factory.mktemp("search")))


@pytest.mark.parametrize(("kind", "sql", "same"), SAME)
def test_answers_like_the_condition_it_stands_for(shards: Shards, kind: str, sql: str, same: str) -> None:
    found, expected = shards.query(sql), shards.query(same)
    assert expected.num_rows > 0
    assert sorted(map(str, found.to_pylist())) == sorted(map(str, expected.to_pylist()))
    assert shards.plan(sql).kind == kind


def test_parameters(shards: Shards) -> None:
    expected = shards.query(f"SELECT count(*) AS n FROM logs WHERE {WEB} AND id > 7")
    assert shards.query("SELECT count(*) AS n FROM logs WHERE matches(?) AND id > ?", ["service:web", 7]) == expected
    assert (
        shards.query("SELECT count(*) AS n FROM logs l WHERE matches($s, l) AND id > 7", {"s": WEB_SEARCH}) == expected
    )


WEB_SEARCH = "service:web"


def test_conditions_reach_pruning(shards: Shards) -> None:
    sql = "SELECT count(*) FROM logs WHERE last('30m') AND matches('service:web id:>100 \"connection reset\"')"
    (scan,) = shards.plan(sql).leaf.scans
    assert scan.time_range == TimeRange(NOW_US - 30 * 60 * 1_000_000 - 1, None)
    assert {(predicate.path, predicate.operator) for predicate in scan.predicates} == {("service", "="), ("id", ">")}
    assert {(words.path, words.tokens) for (words,) in scan.words} == {
        ("service", ("web",)),
        ("message", ("connection", "reset")),
    }
    (scan,) = shards.plan("SELECT count(*) FROM logs WHERE matches('timestamp:[2026-01-01 TO 2026-01-02]')").leaf.scans
    assert scan.time_range is not None
    assert scan.time_range.start_us is not None
    assert scan.time_range.end_us is not None


def test_a_word_anywhere_needs_one_of_all_attributes(shards: Shards) -> None:
    statement = parse("SELECT 1 FROM logs WHERE matches('*:rare-word')")
    shapes = {"logs": merge_shapes(describe(held["logs"]) for held in shards.snapshots)}
    assert statement.tree is not None
    tree = resolve(statement.tree, shapes, {}).tree
    (clause,) = token_clauses(tree.args["where"].this)
    texts = [path for path, kinds in shapes["logs"].paths.items() if {"str", "str[]", "json"} & kinds.keys()]
    assert {target_of(column).path for column, _ in clause} == {*texts, ""}
    assert {tokens for column, tokens in clause if target_of(column).path} == {("rare", "word")}
    assert [tokens for column, tokens in clause if target_of(column).system == "_rest"] == [()]


def test_a_column_is_named_like_its_call(shards: Shards) -> None:
    assert shards.query("SELECT matches('service:web') FROM logs LIMIT 1").column_names == ["matches('service:web')"]


@pytest.mark.parametrize(
    ("sql", "message", "column"),
    [
        (
            "SELECT 1 FROM logs l JOIN traces t ON l.id = t.id WHERE matches('service:web')",
            "does not say which of l, t it means: write matches('…', alias)",
            74,
        ),
        ("SELECT 1 FROM logs l WHERE matches('service:web', t)", "has the alias 't'", 45),
        ("SELECT matches('service:web')", "a search needs a stream", 25),
        ("SELECT 1 FROM logs WHERE id = 1 AND matches('x timestamp:abc')", "'abc' is no time", 58),
        ("SELECT 1 FROM logs l JOIN traces t ON l.id = t.id WHERE last('1h')", "'timestamp' is ambiguous", 57),
        ("SELECT 1 FROM query_table('x') WHERE matches('*:a')", "is not allowed", 15),
        ("SELECT 1 FROM range(5) WHERE matches('*:a')", "the columns of this query are not known here", 41),
    ],
)
def test_mistakes_point_into_the_statement(shards: Shards, sql: str, message: str, column: int) -> None:
    with pytest.raises(InvalidQuery) as caught:
        shards.plan(sql)
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (1, column)
