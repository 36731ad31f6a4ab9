"""Values that a query puts together of others: any that people ask for, and none that grows without an end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.errors import InvalidQuery
from query.bounded_functions import LOOK
from query.dialect import render
from query.executor import Executor
from query.growth import bound_growth
from query.parse import parse
from query.paths import resolve
from query.shape import StreamShape
from tests.unit.test_query_shards import Shards

MESSAGE = "m" * 400_000  # longer than what may be made of many


def chain(body: str, levels: int, first: str = "'x' AS s") -> str:
    """A query of `levels` common table expressions, each of which makes s of the s before by `body`."""
    ctes = [f"c0 AS (SELECT {first})", *(f"c{n} AS (SELECT {body} AS s FROM c{n - 1})" for n in range(1, levels))]
    return f"WITH {', '.join(ctes)} SELECT strlen(CAST(s AS VARCHAR)) AS n FROM c{levels - 1}"


def aliases(levels: int) -> str:
    """A select list in which each item names the one before twice."""
    items = ["'x' || service AS s0", *(f"s{n - 1} || s{n - 1} AS s{n}" for n in range(1, levels))]
    return f"SELECT {', '.join(items)}, strlen(s{levels - 1}) AS n FROM logs"


ENDLESS = [
    chain("s || s", 40),
    chain("s || s", 40, "message AS s FROM logs"),
    chain("concat(s, '-', s)", 40),
    chain("concat_ws('-', s, s)", 40),
    chain("format('{0}{0}{0}', s)", 30),
    chain("printf('%s%s', s, s)", 40),
    chain("array_to_string([s, s], '')", 40),
    chain("[s, s]", 1).replace("'x' AS s", "'x' AS s, 1 AS t") + " UNION ALL " + f"({chain('s || s', 40)})",
    chain("{'a': s, 'b': s}::VARCHAR", 40),
    chain("json_array(s, s)::VARCHAR", 40),
    chain("hex(s)", 40),
    chain("bin(s)", 20),
    chain("replace(s, 'x', 'xxxxxxxxxx')", 20),
    chain("regexp_replace(s, 'x', 'xx', 'g')", 40),
    chain("list_concat(s, s)", 40, "[1] AS s"),
    "SELECT strlen(list_reduce([n::VARCHAR for n in range(40)], lambda a, b: a || a))",
    "WITH RECURSIVE t AS (SELECT 'x' AS s, 1 AS n UNION ALL SELECT s || s, n + 1 FROM t WHERE n < 40) "
    "SELECT max(strlen(s)) FROM t",
    "SELECT strlen(s || s) FROM (SELECT s || s AS s FROM (SELECT repeat('x', 200000) AS s))",
    "SELECT count(*) FROM logs WHERE strlen(" + " || ".join(["message"] * 40) + ") > 1",
]
SENSIBLE = {
    "SELECT message || service || message AS s FROM logs": 2 * len(MESSAGE) + 3,
    "SELECT replace(message, 'm', 'mm') AS s FROM logs": 2 * len(MESSAGE),
    "WITH a AS (SELECT message || '!' AS s, service AS t FROM logs) SELECT s || t AS s FROM a": len(MESSAGE) + 4,
    "SELECT " + " || '-' || ".join(["service"] * 150) + " AS s FROM logs": 150 * 4 - 1,
    chain("s || s", 10).replace("strlen(CAST(s AS VARCHAR)) AS n", "s"): 2**9,
    "SELECT list_reduce([n::VARCHAR for n in range(50)], lambda a, b: a || ',' || b) AS s": 139,
    "SELECT repeat('#', 10) || repeat(' ', 5) || repeat('-', 3) || service AS s FROM logs": 21,
}
UNSEEN = [
    "SELECT a || '-' || b || '-' || c || d || e || f AS s FROM logs",
    "SELECT concat_ws(' ', a, b, c, d, e, f, g, h, i, j, k, l) FROM logs",
    "WITH k AS (SELECT a || ':' || b AS s, c FROM logs) SELECT s || '/' || c, count(*) FROM k GROUP BY ALL",
    "SELECT x FROM logs WHERE y IN (" + ", ".join(f"'{n}'" for n in range(200)) + ")",
    "SELECT list_contains([" + ", ".join(f"'{n}'" for n in range(200)) + "], x) FROM logs",
    "SELECT regexp_replace(regexp_replace(m, '[0-9]+', 'N'), '[a-f]+', 'H'), count(*) FROM logs GROUP BY 1",
    "SELECT " + " + ".join(["n"] * 100) + " FROM logs",
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    executor = Executor(threads=1, data_directories=[str(directory := tmp_path_factory.mktemp("segments"))])
    shards = Shards(directory, executor)
    shards.add("logs", [{"service": ("str", "web"), "message": ("str", MESSAGE)}])
    yield shards
    executor.close()


@pytest.mark.parametrize("sql", ENDLESS)
def test_what_grows_without_an_end_is_refused(shards: Shards, sql: str) -> None:
    with pytest.raises(InvalidQuery, match="may have at most 262144 bytes of one value: ask for less"):
        shards.query(sql)


def test_aliases_that_stand_for_too_much_are_refused_before_they_are_written_out(shards: Shards) -> None:
    with pytest.raises(InvalidQuery, match="aliases of the select list are used too often"):
        shards.query(aliases(40))
    assert shards.query(aliases(9)).to_pylist()[0]["n"] == 4 * 2**8
    one_by_one = ", ".join(["1 AS s0", *(f"s{n - 1} + 1 AS s{n}" for n in range(1, 60))])
    assert shards.query(f"SELECT {one_by_one} FROM logs").to_pylist()[0]["s59"] == 60


@pytest.mark.parametrize("sql", SENSIBLE)
def test_what_people_put_together_is_as_long_as_it_is(shards: Shards, sql: str) -> None:
    (row,) = shards.query(sql).to_pylist()
    assert len(row["s"]) == SENSIBLE[sql]


@pytest.mark.parametrize("sql", UNSEEN)
def test_nothing_is_looked_at_in_what_people_ask(sql: str) -> None:
    tree = resolve(parse(sql).tree, {"logs": StreamShape()}, {}).tree
    before = render(tree)
    bound_growth(tree)
    assert render(tree) == before and LOOK not in before


def test_keys_and_names_are_the_same_with_a_look(shards: Shards) -> None:
    long = " || ".join(["service"] * 40)
    named = "(" * 39 + "service" + " || service)" * 39
    grouped = shards.query(f"SELECT {long}, count(*) AS c FROM logs GROUP BY {long} ORDER BY {long}")
    assert grouped.to_pylist() == [{named: "web" * 40, "c": 1}]
    window = shards.query(f"SELECT row_number() OVER (PARTITION BY {long}) AS n FROM logs")
    assert window.to_pylist() == [{"n": 1}]
    odd = shards.query("SELECT hex(hex(hex(hex(hex(hex('(''\"' || service)))))) FROM logs")
    assert odd.column_names == ["hex(hex(hex(hex(hex(hex(('(''\"' || service)))))))"]
