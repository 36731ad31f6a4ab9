"""What may be asked: one SELECT over streams; everything else is refused with its position, twice."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from core.errors import BudgetExceeded, InvalidQuery
from query.dialect import render
from query.executor import Executor
from query.parse import DESCRIBE, EXPLAIN, EXPLAIN_ANALYZE, SHOW, parse

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

REFUSED = """
SELECT getenv('HOME')
SELECT "getenv"('HOME')
SELECT main.getenv('HOME')
SELECT (SELECT current_setting('threads'))
SELECT current_user
SELECT version()
SELECT pg_sleep(1)
SELECT to_aggregate_state(x, 'sum', ['BIGINT']) FROM logs
SELECT * FROM read_parquet('x')
SELECT * FROM "read_text"('/etc/passwd')
SELECT * FROM read_csv('x')
SELECT * FROM glob('*')
SELECT * FROM query('SELECT 1')
SELECT * FROM duckdb_settings()
SELECT * FROM pragma_table_info('logs')
SELECT * FROM 'a.parquet'
SELECT * FROM main.logs
SELECT * FROM information_schema.tables
SELECT * INTO x FROM logs
SELECT * FROM logs FOR UPDATE
SELECT l.x.getenv() FROM logs l
SELECT 'HOME'.getenv()
SELECT x.pg_sleep(1) FROM logs
SELECT 1; SELECT 2
WITH t AS (INSERT INTO x SELECT 1 RETURNING *) SELECT * FROM t
INSERT INTO logs SELECT 1
CREATE TABLE x AS SELECT 1
DROP TABLE logs
DELETE FROM logs
COPY logs TO 'x'
ATTACH 'x'
INSTALL httpfs
LOAD httpfs
SET threads = 1
PRAGMA version
CALL foo()
EXPLAIN DELETE FROM logs
EXPLAIN ANALYZE SELECT * FROM read_csv('x')
EXPLAIN DESCRIBE logs
EXPLAIN EXPLAIN SELECT 1
EXPLAIN
CHECKPOINT
USE x
BEGIN
EXPORT DATABASE 'x'
PIVOT 'a.parquet' ON a USING sum(b)
PIVOT logs ON getenv('HOME') USING sum(b)
SELECT * FROM read_csv('x') PIVOT (sum(a) FOR b IN (1, 2))
UNPIVOT main.logs ON a, b
DESCRIBE SELECT * FROM read_csv('x')
DESCRIBE SELECT getenv('HOME')
SUMMARIZE 'a.parquet'
SUMMARIZE SELECT * FROM glob('*')
SELECT * FROM (SUMMARIZE main.logs)
SELECT * FROM (DESCRIBE 'a.parquet')
SELECT CAST(a AS ENUM (SELECT getenv('HOME'))) FROM logs
SELECT "__malamute_0" FROM logs
SELECT $missing
SELECT ?
SELECT 'open
"""


@pytest.mark.parametrize("sql", [line for line in REFUSED.splitlines() if line])
def test_anything_but_one_select_over_streams_is_refused(sql: str) -> None:
    with pytest.raises(InvalidQuery):
        parse(sql)


def test_an_error_says_where_it_is() -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse("SELECT a\n  FROM\n WHERE")
    assert (caught.value.line, caught.value.column) == (3, 2)
    with pytest.raises(InvalidQuery) as caught:
        parse("SELECT 1,\n getenv('x')")
    assert caught.value.line == 2


def test_streams_are_the_tables_that_no_cte_defines() -> None:
    assert parse("WITH t AS (SELECT * FROM logs) SELECT * FROM t, T2 WHERE x IN (SELECT y FROM traces)").streams == {
        "logs",
        "t2",
        "traces",
    }
    assert parse("WITH logs AS (SELECT * FROM logs) SELECT * FROM logs").streams == {"logs"}
    assert parse("WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT * FROM r").streams == frozenset()
    assert parse("DESCRIBE logs").kind == DESCRIBE
    assert parse("show tables;").kind == SHOW


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("EXPLAIN SELECT service FROM logs WHERE x = $1", EXPLAIN),
        ("explain analyze\nSELECT service FROM logs WHERE x = $1", EXPLAIN_ANALYZE),
        ("EXPLAIN (ANALYZE) SELECT service FROM logs WHERE x = $1", EXPLAIN_ANALYZE),
        ("EXPLAIN (SELECT service FROM logs WHERE x = $1)", EXPLAIN),
        ("EXPLAIN WITH t AS (SELECT * FROM logs) SELECT * FROM t WHERE x = $1", EXPLAIN),
    ],
)
def test_explain_is_about_the_query_behind_it(sql: str, kind: str) -> None:
    statement = parse(sql, [1])
    assert (statement.kind, statement.streams) == (kind, {"logs"})
    assert statement.tree is not None
    assert "x = 1" in render(statement.tree)
    assert "explain" not in statement.text.lower()
    assert statement.text.index("$1") == sql.index("$1")


def test_parameters_are_values_and_never_text() -> None:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    sql = render(parse("SELECT ?::INT, ?, '?', ? WHERE x = ?", ["1'; DROP", 2.5, when, None]).tree)
    assert sql == (
        "SELECT CAST('1''; DROP' AS INT), CAST('2.5' AS DOUBLE), '?', "
        "CAST('2026-01-01 00:00:00+00:00' AS TIMESTAMPTZ) WHERE x = NULL"
    )
    assert render(parse("SELECT $a, $b", {"a": 1, "b": ["x"]}).tree) == "SELECT 1, ['x']"


def test_parameters_leave_places_as_they_are() -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse("SELECT ?, ?, getenv('x') FROM logs", [1, 2])
    assert caught.value.column == 14
    sql = "SELECT CASE WHEN ? THEN ? END, ?::INT, x[?], -? FROM logs WHERE a = ? AND b IN (?, ?) LIMIT ? OFFSET ?"
    assert render(parse(sql, [True, *range(2, 11)]).tree) == (
        "SELECT CASE WHEN TRUE THEN 2 END, CAST(3 AS INT), x[4], -5 FROM logs WHERE a = 6 AND b IN (7, "
        "8) LIMIT 9 OFFSET 10"
    )


def test_calls_and_json_paths_keep_their_spelling() -> None:
    sql = "SELECT date_trunc('hour', t), x ->> 'a.b', first(y ORDER BY z), [v FOR v IN l IF v > 1] FROM logs"
    assert render(parse(sql).tree) == sql


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return Executor(threads=1, memory_bytes=2**27, data_directories=[str(tmp_path)])


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('/etc/passwd')",
        "SELECT * FROM glob('/etc/*')",
        "COPY (SELECT 1) TO '/tmp/x.csv'",
        "SET threads = 4",
        "SET enable_external_access = true",
        "ATTACH '/tmp/x.db'",
        "INSTALL httpfs",
        "SELECT * FROM secret_table",
    ],
)
def test_the_engine_refuses_on_its_own(executor: Executor, sql: str) -> None:
    secret_table = [1]  # a Python variable must not be a table
    with executor.session() as session, pytest.raises(InvalidQuery):
        session.table(sql)
    assert secret_table


def test_a_session_ends_in_time_and_when_cancelled(executor: Executor) -> None:
    endless = "SELECT sum(hash(range)) FROM range(1000000000000)"
    with executor.session(seconds=0.2) as session, pytest.raises(BudgetExceeded) as caught:
        session.table(endless)
    assert caught.value.budget == "seconds"
    with executor.session(query_id="q") as session:
        assert executor.cancel("q")
        with pytest.raises(BudgetExceeded) as caught:
            session.table("SELECT 1")
    assert caught.value.budget == "cancelled"
    assert not executor.cancel("q")
    with executor.session() as session:
        assert session.table("SELECT 1 AS x").to_pylist() == [{"x": 1}]


def test_memory_is_a_budget(executor: Executor) -> None:
    with executor.session() as session, pytest.raises(BudgetExceeded) as caught:
        session.table("SELECT list(range) FROM range(100000000)")
    assert caught.value.budget == "memory"


def test_tables_of_a_session_are_its_own(executor: Executor) -> None:
    with executor.session() as one, executor.session() as other:
        one.register("mine", one.table("SELECT 1 AS x"))
        with pytest.raises(InvalidQuery):
            other.table("SELECT * FROM mine")
