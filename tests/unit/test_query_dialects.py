"""Queries in other dialects: they answer as the same question in DuckDB's SQL, and say what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidQuery
from query.dialect import render
from query.dialects import DIALECTS, to_engine
from query.parse import EXPLAIN, parse
from tests.unit.test_query_shards import Shards, build_shards

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

SAME = [
    (
        "postgres",
        "SELECT service, date_trunc('hour', timestamp) AS h, count(*) FILTER (WHERE http.status_code >= 500) AS n "
        "FROM logs WHERE service ~* 'WEB|api' AND timestamp > now() - interval '50 minutes' GROUP BY 1, "
        "2 ORDER BY 1, 2",
        "SELECT service, date_trunc('hour', timestamp) AS h, count(*) FILTER (WHERE http.status_code >= 500) AS n "
        "FROM logs WHERE service IN ('web', 'api') AND timestamp > now() - INTERVAL 50 MINUTE GROUP BY "
        "1, 2 ORDER BY 1, 2",
    ),
    (
        "postgres",
        "SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY id) AS p, string_agg(DISTINCT service, '') AS s FROM logs "
        "WHERE service = 'web'",
        "SELECT quantile_cont(id, 0.9) AS p, 'web' AS s FROM logs WHERE service = 'web'",
    ),
    (
        "postgres",
        "SELECT level FROM logs GROUP BY level ORDER BY level DESC",
        "SELECT level FROM logs GROUP BY level ORDER BY level DESC NULLS FIRST",
    ),
    (
        "clickhouse",
        "SELECT toStartOfInterval(timestamp, INTERVAL 5 MINUTE) AS t, count() AS n, "
        "countIf(http.status_code >= 500) AS e, "
        "sumIf(id, ok) AS s, uniqExact(service) AS u, quantiles(0.5, 0.9)(id) AS q FROM logs GROUP BY t ORDER BY t",
        "SELECT time_bucket(INTERVAL 5 MINUTE, timestamp) AS t, count(*) AS n, count_if(http.status_code >= 500) AS e, "
        "sum(id) FILTER (WHERE ok) AS s, count(DISTINCT service) AS u, quantile_cont(id, [0.5, 0.9]) AS q "
        "FROM logs GROUP BY t ORDER BY t",
    ),
    (
        "clickhouse",
        "SELECT multiIf(id < 9, 'a', id < 20, 'b', 'c') AS c, max(toDate(timestamp)) AS d, "
        "quantileIf(0.5)(id, id > 5) AS q "
        "FROM logs PREWHERE service = 'web' GROUP BY c ORDER BY c",
        "SELECT CASE WHEN id < 9 THEN 'a' WHEN id < 20 THEN 'b' ELSE 'c' END AS c, max(timestamp::DATE) AS d, "
        "quantile_cont(id, 0.5) FILTER (WHERE id > 5) AS q FROM logs WHERE service = 'web' GROUP BY c ORDER BY c",
    ),
    (
        "snowflake",
        "SELECT service, id FROM logs WHERE timestamp > DATEADD(minute, -50, CURRENT_TIMESTAMP()) AND "
        "IFF(ok, 1, 0) = 1 "
        "QUALIFY ROW_NUMBER() OVER (PARTITION BY service ORDER BY id DESC) = 1 ORDER BY service",
        "SELECT service, id FROM logs WHERE timestamp > now() - INTERVAL 50 MINUTE AND ok "
        "QUALIFY row_number() OVER (PARTITION BY service ORDER BY id DESC) = 1 ORDER BY service",
    ),
    (
        "bigquery",
        "SELECT TIMESTAMP_TRUNC(timestamp, HOUR) AS h, COUNTIF(http.status_code >= 500) AS n FROM `logs` "
        "WHERE REGEXP_CONTAINS(service, r'^w') AND SAFE_CAST(level AS INT64) IS NULL GROUP BY h ORDER BY h",
        "SELECT date_trunc('hour', timestamp) AS h, count_if(http.status_code >= 500) AS n FROM logs "
        "WHERE service = 'web' GROUP BY h ORDER BY h",
    ),
    (
        "mysql",
        'SELECT IF(ok, "yes", "no") AS o, COUNT(*) AS n FROM logs WHERE `http.status_code` = 200 AND '
        'service REGEXP "^w" '
        "GROUP BY o ORDER BY o LIMIT 0, 5",
        "SELECT CASE WHEN ok THEN 'yes' ELSE 'no' END AS o, count(*) AS n FROM logs WHERE http.status_code = 200 "
        "AND service = 'web' GROUP BY o ORDER BY o LIMIT 5",
    ),
    (
        "spark",
        "SELECT service, t AS tag, count_if(id > 5) AS n FROM logs LATERAL VIEW explode(tags) x AS t "
        "WHERE service RLIKE 'web' "
        "GROUP BY service, t ORDER BY t",
        "SELECT service, t AS tag, count_if(id > 5) AS n FROM logs CROSS JOIN unnest(tags) AS x(t) "
        "WHERE service = 'web' "
        "GROUP BY service, t ORDER BY t",
    ),
    (
        "trino",
        "SELECT date_trunc('hour', timestamp) AS h, count_if(ok) AS n, approx_distinct(service) AS u FROM logs "
        "WHERE regexp_like(service, '^w') AND timestamp > now() - INTERVAL '50' MINUTE GROUP BY 1 ORDER BY 1",
        "SELECT date_trunc('hour', timestamp) AS h, count_if(ok) AS n, approx_count_distinct(service) AS u FROM logs "
        "WHERE service = 'web' AND timestamp > now() - INTERVAL '50 minutes' GROUP BY 1 ORDER BY 1",
    ),
    (
        "redshift",
        "SELECT NVL(level, 'none') AS l, COUNT(*) AS n FROM logs GROUP BY 1 ORDER BY 1",
        "SELECT coalesce(level, 'none') AS l, count(*) AS n FROM logs GROUP BY 1 ORDER BY 1",
    ),
    (
        "tsql",
        "SELECT TOP 3 id, [http.status_code] AS c FROM logs WHERE timestamp > DATEADD(minute, -50, "
        "GETDATE()) ORDER BY id",
        "SELECT id, http.status_code AS c FROM logs WHERE timestamp > now() - INTERVAL 50 MINUTE ORDER BY id LIMIT 3",
    ),
    (
        "postgres",
        "SELECT count(*) AS n FROM logs WHERE matches('service:web -level:info') AND last('50m')",
        "SELECT count(*) AS n FROM logs WHERE matches('service:web -level:info') AND last('50m')",
    ),
]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Shards:
    return build_shards(Path(tmp_path_factory.mktemp("dialects")))


@pytest.mark.parametrize(("dialect", "sql", "same"), SAME)
def test_answers_like_the_same_question_in_the_engines_words(shards: Shards, dialect: str, sql: str, same: str) -> None:
    found = shards.query(to_engine(sql, dialect))
    assert found.num_rows > 0
    assert found.to_pylist() == shards.query(same).to_pylist()
    assert parse(sql, dialect=dialect).streams == {"logs"}
    explained = parse(f"EXPLAIN {sql}", dialect=dialect)
    assert (explained.kind, explained.streams) == (EXPLAIN, {"logs"})


@pytest.mark.parametrize(
    ("dialect", "sql", "params", "condition"),
    [
        ("postgres", "SELECT 1 FROM logs WHERE a.b = $2 AND c = $1", [1, 2], "a.b = 2 AND c = 1"),
        ("mysql", "SELECT 1 FROM logs WHERE a.b = ? AND c = '?' AND d = ?", [1, 2], "a.b = 1 AND c = '?' AND d = 2"),
        ("snowflake", "SELECT 1 FROM logs WHERE a = :name", {"name": "x"}, "a = 'x'"),
        ("bigquery", "SELECT 1 FROM logs WHERE a = @name", {"name": "x"}, "a = 'x'"),
        ("clickhouse", "SELECT 1 FROM logs WHERE a = {name:String}", {"name": "x"}, "a = 'x'"),
        ("trino", "SELECT 1 FROM logs WHERE a.b.c.d.e = ?", ["x"], "a.b.c.d.e = 'x'"),
    ],
)
def test_paths_and_parameters(dialect: str, sql: str, params: Any, condition: str) -> None:
    tree = parse(sql, params, dialect).tree
    assert tree is not None
    assert render(tree.args["where"].this) == condition


def test_parameters_keep_the_order_of_the_text() -> None:
    tree = parse("SELECT a FROM logs WHERE b = ? LIMIT ?, ?", ["x", 5, 10], "mysql").tree
    assert tree is not None
    assert render(tree) == "SELECT a FROM logs WHERE b = 'x' LIMIT 10 OFFSET 5"


def test_the_engines_own_dialect_and_statements_without_one() -> None:
    assert parse("SELECT a FROM logs", dialect="DuckDB").streams == {"logs"}
    assert parse("SHOW STREAMS", dialect="postgres").kind == "show"
    assert parse("DESCRIBE logs", dialect="postgres").streams == {"logs"}


@pytest.mark.parametrize(
    ("dialect", "sql", "message", "line", "column"),
    [
        ("klickhouse", "SELECT 1", "did you mean 'clickhouse'?: take one of athena, bigquery", 0, 0),
        ("postgres", "SELECT a\nFROM logs WHERE (a = 1", "cannot parse the query as postgres near '1'", 2, 22),
        ("mysql", "SELECT 'a", "a quote or comment is not closed", 0, 0),
        ("postgres", "DELETE FROM logs", "delete statements are not allowed", 0, 0),
        ("postgres", "SELECT pg_sleep(1)", "function 'pg_sleep' is not allowed", 0, 0),
        ("postgres", "SELECT current_user", "function 'current_user' is not allowed", 0, 0),
        ("clickhouse", "SELECT * FROM url('x')", "table function 'url' is not allowed", 0, 0),
        ("clickhouse", "SELECT * FROM system.tables", "'system.tables' is not allowed", 0, 0),
        ("clickhouse", "SELECT a FROM logs LIMIT 2 BY a", "cannot be put into DuckDB's SQL, it has no limit by", 0, 0),
        ("postgres", "SELECT a FROM logs FETCH FIRST 5 ROWS WITH TIES", "no fetch with ties", 0, 0),
        ("hive", "SELECT a FROM logs SORT BY a", "it has no sort clause", 0, 0),
        ("spark", "SELECT 1; SELECT 2", "2 statements are not allowed", 0, 0),
        ("mysql", "SELECT ?", "parameter '1' has no value", 0, 0),
        ("postgres", "", "the query is empty", 0, 0),
        ("postgres", "SELECT 1 FROM logs WHERE matches('a:[1')", "character 5: expected TO", 0, 0),
    ],
)
def test_mistakes_say_what_they_are(dialect: str, sql: str, message: str, line: int, column: int) -> None:
    with pytest.raises(InvalidQuery) as caught:
        parse(sql, dialect=dialect)
    assert message in str(caught.value)
    assert (caught.value.line, caught.value.column) == (line, column)


def test_hints_are_left_out() -> None:
    tree = parse("SELECT /*+ BROADCAST(logs) */ a FROM logs", None, "spark").tree
    assert tree is not None
    assert render(tree) == "SELECT a FROM logs"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_reads_a_simple_query(dialect: str) -> None:
    statement = parse("SELECT service, COUNT(*) AS n FROM logs WHERE status = 'error' GROUP BY service", None, dialect)
    assert statement.streams == {"logs"}
