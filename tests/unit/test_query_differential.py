"""Every query over shards equals plain DuckDB over one table with the same rows, in values, types and names.

In a query, `#path` reads a path of conflicting kinds where a number is asked for; the oracle says it with TRY_CAST.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from query.fragment import GATHER, PARTIAL_AGGREGATE, PROJECT, TOP_N
from tests.unit.test_query_shards import NOW_US, Shards, build_shards, oracle

# The engine warns of the copy that query.executor chooses for small results.
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

_NOW = f"make_timestamptz({NOW_US})"

AGGREGATES = """
SELECT count(*) FROM logs
SELECT count(*) AS n FROM logs WHERE service = 'web'
SELECT count(*), sum(id), avg(id), min(id), max(id) FROM logs
SELECT count(*), sum(id), avg(id), min(id), max(level), bool_or(ok) FROM logs WHERE service = 'none'
SELECT service, count(*) FROM logs GROUP BY service
SELECT service, count(*) AS n FROM logs GROUP BY ALL ORDER BY n DESC, service
SELECT service, level, count(*) FROM logs GROUP BY 1, 2
SELECT service, count(level) FROM logs GROUP BY service HAVING count(*) > 95 ORDER BY 1
SELECT service, avg(#duration), sum(#duration), max(#duration + 0) FROM logs GROUP BY service
SELECT sum(size), avg(size), min(size), max(size), stddev(size), var_pop(size) FROM logs
SELECT sum(big), avg(big), min(big), max(big) FROM logs
SELECT ok, count(*) FROM logs GROUP BY ok
SELECT http.status_code, count(*) FROM logs GROUP BY http.status_code ORDER BY http.status_code
SELECT http.status_code AS c, count(*) AS n FROM logs GROUP BY c ORDER BY c LIMIT 2
SELECT http.status_code // 100 AS class, count(*) FROM logs GROUP BY class ORDER BY class
SELECT date_trunc('hour', timestamp) AS h, count(*) FROM logs GROUP BY h ORDER BY h
SELECT time_bucket(INTERVAL '5 minutes', timestamp) AS b, avg(size) FROM logs GROUP BY b ORDER BY b
SELECT count(DISTINCT service) FROM logs
SELECT count(DISTINCT level), count(DISTINCT service), count(*) FROM logs
SELECT service, count(DISTINCT http.status_code), sum(id), avg(size) FROM logs GROUP BY service
SELECT count(DISTINCT level) FILTER (WHERE ok), count(DISTINCT service) FROM logs
SELECT sum(DISTINCT http.status_code), avg(DISTINCT id) FROM logs
SELECT count(DISTINCT level) FROM logs WHERE service = 'none'
SELECT count(*) FILTER (WHERE ok), count(*) FILTER (WHERE NOT ok), sum(id) FILTER (WHERE level = 'error') FROM logs
SELECT service, count(*) FILTER (WHERE http.status_code >= 500) * 100.0 / count(*) AS rate FROM logs GROUP BY service
SELECT sum(id) / count(*) AS mean, max(id) - min(id) FROM logs
SELECT service, sum(id) + 1 AS s FROM logs GROUP BY service HAVING s > 100 ORDER BY s
SELECT upper(service) AS u, count(*) FROM logs GROUP BY upper(service) ORDER BY u
SELECT lower(service) || '!' AS u, length(lower(service)), max(id) FROM logs GROUP BY lower(service)
SELECT DISTINCT service FROM logs ORDER BY service
SELECT DISTINCT service, level FROM logs
SELECT DISTINCT level FROM logs WHERE id > 20 ORDER BY level DESC NULLS LAST LIMIT 2
SELECT DISTINCT count(*) % 2 AS odd FROM logs GROUP BY service, level ORDER BY odd
SELECT arg_max(service, id), arg_min(id, timestamp) FROM logs
SELECT service, max_by(id, timestamp), min_by(level, id) FROM logs GROUP BY service
SELECT bool_and(ok), bool_or(ok), bit_and(id), bit_or(id), bit_xor(id) FROM logs
SELECT corr(id, size), covar_pop(id, size), regr_slope(id, size), regr_count(id, size) FROM logs
SELECT skewness(id), kurtosis(id), stddev_pop(id), sem(id) FROM logs
SELECT product(size / 10.0) FROM logs WHERE id < 9
SELECT approx_count_distinct(id), approx_count_distinct(service) FROM logs
SELECT fsum(size), favg(size), count_if(ok) FROM logs
SELECT min(timestamp), max(timestamp), max(seen) FROM logs
SELECT max(timestamp) - min(timestamp) AS span FROM logs
SELECT min(duration), max(mixed) FROM logs
SELECT duration, count(*) FROM logs GROUP BY duration
SELECT mixed, count(*), avg(#mixed) FROM logs GROUP BY mixed ORDER BY mixed
SELECT #duration > 20 AS slow, count(*) FROM logs GROUP BY slow
SELECT service, count(*) FROM logs WHERE timestamp >= now() - INTERVAL '30 minutes' GROUP BY service
SELECT count(*) FROM logs WHERE timestamp BETWEEN '2026-01-01 00:10:00' AND TIMESTAMP '2026-01-01 00:20:00'
SELECT count(*) FROM logs WHERE timestamp > '2027-01-01'
SELECT count(*), sum(amount) FROM logs WHERE amount IS NOT NULL
SELECT unnest(tags) AS tag, count(*) FROM logs GROUP BY tag ORDER BY tag
SELECT len(tags) AS n, count(*) FROM logs GROUP BY n ORDER BY n
SELECT tags, count(*) FROM logs GROUP BY tags
SELECT tags[1] AS first_tag, count(*) FROM logs GROUP BY 1
SELECT _shard, count(*) FROM logs GROUP BY _shard ORDER BY _shard
SELECT service, count(*) FROM logs GROUP BY service ORDER BY count(*) DESC, service LIMIT 2 OFFSET 1
SELECT service FROM logs GROUP BY service ORDER BY sum(id) DESC
SELECT count(*) + 1, 'x', 2 FROM logs
SELECT 1 AS one FROM logs GROUP BY service
SELECT CASE WHEN http.status_code >= 500 THEN 'bad' ELSE 'good' END AS k, count(*), sum(id) FROM logs GROUP BY k
SELECT coalesce(level, 'none') AS l, count(*) FROM logs GROUP BY ALL ORDER BY ALL
SELECT service, count(*) FROM logs WHERE level IN ('error', 'warn') AND id NOT IN (1, 2, 3) GROUP BY service
SELECT l.service, sum(l.id) FROM logs AS l WHERE l.http.status_code = 404 GROUP BY l.service
SELECT service AS id, count(*) FROM logs GROUP BY service
SELECT a.b.c.d.e, count(*) FROM logs GROUP BY a.b.c.d.e
SELECT extract(minute FROM timestamp) AS m, count(*) FROM logs GROUP BY m ORDER BY m
SELECT count(*) FROM logs WHERE id = 17 OR id = 18
SELECT count(*) FROM logs WHERE id > 390
SELECT count(*) FROM logs WHERE 390 <= id AND size > 10 AND big > 0
SELECT count(*) FROM logs WHERE service > 'd' AND service < 'x'
SELECT count(*), sum(id) FROM logs WHERE NOT (service = 'web' OR level = 'info')
SELECT count() FROM logs
SELECT count(DISTINCT (service, level)) FROM logs
SELECT id % 2 AS a, id % 3 AS b, count(*) AS c FROM logs GROUP BY a, b ORDER BY a, b
SELECT round(avg(size), 2) AS r, CAST(sum(id) AS BIGINT) AS s FROM logs
SELECT sum(id * 1.5), avg(id * 0.25) FROM logs
SELECT min(tags), max(ok) FROM logs
SELECT avg(id) FILTER (WHERE service = 'none') FROM logs
SELECT quantile_cont(size, [0.1, 0.5]) AS q FROM logs
SELECT service, median(#duration), quantile_cont(#duration, [0.5, 0.99]), mad(#duration) FROM logs GROUP BY service
SELECT quantile_cont(id, 0.5) FILTER (WHERE ok), quantile(#duration, 0.9) FROM logs WHERE service = 'web'
SELECT median(size), quantile_disc(service, 0.5), mad(id), quantile_cont(timestamp, 0.25) FROM logs WHERE id < 0
"""

ROWS = """
SELECT id FROM logs
SELECT id, service FROM logs WHERE service = 'web' AND http.status_code = 500
SELECT * FROM logs
SELECT * FROM logs WHERE id < 5 ORDER BY id
SELECT * EXCLUDE (tags, mixed) FROM logs WHERE id < 50
SELECT l.* FROM logs l WHERE l.id = 7
SELECT id, duration, mixed, big, amount, size FROM logs ORDER BY id
SELECT id FROM logs ORDER BY timestamp DESC LIMIT 5
SELECT id, service FROM logs ORDER BY service, id DESC LIMIT 7 OFFSET 3
SELECT id FROM logs ORDER BY level NULLS FIRST, id LIMIT 10
SELECT id FROM logs ORDER BY size DESC, id LIMIT 10
SELECT id * 2 AS twice FROM logs WHERE twice > 700 ORDER BY twice
SELECT id AS x, x + 1 AS y FROM logs ORDER BY y LIMIT 3
SELECT id, -id AS id FROM logs ORDER BY 1 LIMIT 4
SELECT id FROM logs ORDER BY ALL LIMIT 4
SELECT id FROM logs WHERE ok ORDER BY id
SELECT id FROM logs WHERE ok IS NULL ORDER BY id
SELECT id FROM logs WHERE #duration > 20 ORDER BY id
SELECT id, #duration * 2 AS d FROM logs WHERE #duration BETWEEN 5 AND 10 ORDER BY id
SELECT id FROM logs WHERE #mixed IN (1, 2, 7) ORDER BY id
SELECT id FROM logs WHERE mixed = 'x' ORDER BY id
SELECT id FROM logs WHERE mixed LIKE '{%' ORDER BY id
SELECT id, unnest(tags) AS t FROM logs WHERE id < 40 ORDER BY id, t
SELECT id FROM logs WHERE list_contains(tags, 'a') ORDER BY id
SELECT id, list_transform(tags, lambda x: x || 'z') AS l FROM logs WHERE id < 30 ORDER BY id
SELECT id FROM logs WHERE timestamp >= now() - INTERVAL 40 MINUTE ORDER BY id
SELECT id, timestamp, seen FROM logs WHERE seen IS NOT NULL ORDER BY id
SELECT id, strftime(timestamp, '%H:%M') AS hm FROM logs WHERE id < 10 ORDER BY id
SELECT id, CASE WHEN ok THEN 'y' WHEN NOT ok THEN 'n' END AS yn FROM logs ORDER BY id
SELECT id, now() AS at, CURRENT_DATE AS d FROM logs WHERE id < 3 ORDER BY id
SELECT id FROM logs WHERE service ~ '^w' AND level ILIKE 'ERR%' ORDER BY id
SELECT id, a.b.c.d.e AS deep FROM logs WHERE a.b.c.d.e = 'deep3' ORDER BY id
SELECT "a.b.c.d.e", id FROM logs WHERE "a.b.c.d.e" IS NOT NULL ORDER BY id
SELECT id FROM logs WHERE id = 3 OR size < 0 ORDER BY id
SELECT id, {'s': service, 'n': id} AS st FROM logs WHERE id < 4 ORDER BY id
SELECT id, mixed -> '$.k' AS k FROM logs WHERE mixed LIKE '{%' AND id < 200 ORDER BY id
FROM logs SELECT id WHERE id < 3 ORDER BY id
SELECT id, big + 1 AS b FROM logs WHERE big IS NOT NULL ORDER BY b LIMIT 5
SELECT id FROM logs LIMIT 0
SELECT Service, ID FROM logs WHERE Id = 9
"""

GATHERED = """
SELECT l.id, t.span FROM logs l JOIN traces t ON l.id = t.id ORDER BY l.id
SELECT l.id, t.span FROM logs l JOIN traces t USING (id) WHERE l.service = 'web' ORDER BY 1
SELECT l.id, t.span FROM logs l LEFT JOIN traces t ON l.id = t.id AND t.span > 10 WHERE l.id < 50 ORDER BY 1
SELECT l.id, t.span FROM logs l LEFT JOIN traces t ON l.id = t.id WHERE t.span IS NULL AND l.id < 50 ORDER BY 1
SELECT t.id, l.id FROM logs l RIGHT JOIN traces t ON l.id = t.id + 390 WHERE t.id < 30 ORDER BY 1
SELECT t.id FROM logs l RIGHT JOIN traces t ON l.id = t.id + 390 WHERE l.service IS NULL ORDER BY 1
WITH t AS (SELECT big FROM logs) SELECT typeof(max(big)) AS type, sum(big) AS s FROM t
SELECT count(*) FROM logs l FULL JOIN traces t ON l.id = t.id WHERE l.size > 1
SELECT count(*) FROM logs, traces WHERE logs.id = traces.id AND logs.service = traces.service
SELECT a.id, b.id FROM logs a JOIN logs b ON a.id + 1 = b.id WHERE a.service = 'web' AND b.service = 'api' ORDER BY 1
SELECT id FROM logs WHERE id IN (SELECT id FROM traces WHERE span > 50) ORDER BY id
SELECT id FROM logs l WHERE EXISTS (SELECT 1 FROM traces t WHERE t.id = l.id AND t.service = l.service) ORDER BY id
SELECT id, (SELECT max(span) FROM traces t WHERE t.id <= l.id) AS m FROM logs l WHERE id < 9 ORDER BY id
WITH t AS (SELECT service, count(*) AS n FROM logs GROUP BY service) SELECT sum(n), max(service) FROM t
WITH t AS (SELECT * FROM logs WHERE id < 90) SELECT service, avg(size) FROM t GROUP BY service
WITH t AS (SELECT * FROM logs) SELECT "http.status_code", count(*) FROM t GROUP BY 1 ORDER BY 1
WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 5)\
 SELECT n, service FROM r JOIN logs ON n = id ORDER BY n
SELECT * FROM (SELECT id, service FROM logs WHERE id < 5) q ORDER BY id
SELECT q.s, count(*) FROM (SELECT service AS s, level FROM logs) AS q GROUP BY q.s ORDER BY 1
SELECT id, row_number() OVER (PARTITION BY service ORDER BY id) AS rn FROM logs QUALIFY rn <= 2 ORDER BY id
SELECT id, sum(id) OVER (ORDER BY id ROWS 2 PRECEDING) AS s FROM logs WHERE id < 30 ORDER BY id
SELECT id, last_value(level IGNORE NULLS) OVER (ORDER BY id) AS l FROM logs WHERE id < 30 ORDER BY id
SELECT service FROM logs UNION SELECT service FROM traces ORDER BY 1
SELECT id FROM logs WHERE id < 9 UNION ALL SELECT span FROM traces WHERE span < 9 ORDER BY 1
SELECT service FROM logs EXCEPT SELECT service FROM traces
SELECT median(size), quantile_cont(size, 0.9), mode(http.status_code) FROM logs
SELECT service, string_agg(CAST(id AS VARCHAR), ',' ORDER BY id) AS ids FROM logs WHERE id < 40 GROUP BY service
SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY id) AS p FROM logs
SELECT percentile_cont(0.9) WITHIN GROUP (ORDER BY #duration DESC) AS p FROM logs
SELECT level, percentile_disc(0.5) WITHIN GROUP (ORDER BY id), list_sort(approx_top_k(ok, 9)) FROM logs GROUP BY level
SELECT histogram(http.status_code) AS h FROM logs
SELECT service, level, count(*) FROM logs GROUP BY ROLLUP (service, level)
SELECT service, level, count(*) FROM logs GROUP BY GROUPING SETS ((service), (level))
SELECT DISTINCT ON (service) service, id FROM logs ORDER BY service, id
SELECT x, count(*) FROM logs, unnest(tags) AS t(x) GROUP BY x ORDER BY x
SELECT g, count(id) FROM generate_series(1, 5) AS s(g) LEFT JOIN logs ON id % 5 = g GROUP BY g ORDER BY g
SELECT sum(id) FROM logs WHERE size > (SELECT avg(size) FROM logs)
SELECT l.service, n FROM (SELECT DISTINCT service FROM logs) l,\
 LATERAL (SELECT count(*) AS n FROM traces t WHERE t.service = l.service) x ORDER BY 1
SELECT COLUMNS('s.*e$') FROM logs WHERE id = 7
SELECT * REPLACE (id + 1 AS id) FROM logs WHERE id < 4 ORDER BY id
SELECT l.id, t.* FROM logs l JOIN traces t ON l.id = t.id WHERE l.id < 9 ORDER BY 1
SELECT * FROM traces a JOIN traces b USING (id) ORDER BY id LIMIT 4
SELECT max(n) FROM (SELECT count(*) AS n FROM logs GROUP BY service)
SELECT id FROM logs ORDER BY id LIMIT 5 + 1
SELECT avg(#duration) FROM logs WHERE #duration > (SELECT min(span) FROM traces)
SELECT service, sum(#duration) OVER () AS total FROM logs WHERE id < 5 ORDER BY id
SELECT id, [t || '!' FOR t IN tags IF t <> 'b'] AS l FROM logs WHERE id < 30 ORDER BY id
VALUES (1, 'a'), (2, 'b')
"""


def _lines(block: str) -> list[str]:
    return [line for line in block.splitlines() if line.strip()]


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    built = build_shards(tmp_path_factory.mktemp("shards"))
    yield built
    built.executor.close()


@pytest.fixture(scope="module")
def plain(shards: Shards) -> Iterator[Any]:
    connection = oracle(shards.events)
    yield connection
    connection.close()


def ours(query: str) -> str:
    return query.replace("#", "")


def theirs(query: str) -> str:
    query = re.sub(r"#(\w+)", r"TRY_CAST(\1 AS DOUBLE)", query)
    query = re.sub(r'(?<!")\b(?:l\.)?(http\.status_code|a\.b\.c\.d\.e)\b(?!")', r'"\1"', query)
    if "_shard" in query:
        query = query.replace("FROM logs", "FROM logs_all")
    return query.replace("now()", _NOW).replace("CURRENT_DATE", f"CAST({_NOW} AS DATE)")


class Close(float):
    """A float that equals what rounding may have made of it: sums depend on the order of their terms."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, float):
            return False
        return math.isclose(self, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(self) and math.isnan(other))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{self:.6g}"


def _normal(value: Any) -> Any:
    if isinstance(value, float):
        return Close(value)
    if isinstance(value, dict):
        return tuple((key, _normal(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return tuple(_normal(inner) for inner in value)
    return str(value)


def rows_of(table: pa.Table, ordered: bool) -> list[Any]:
    columns = [[_normal(value) for value in column.to_pylist()] for column in table.columns]
    rows = list(zip(*columns, strict=True))
    return rows if ordered else sorted(rows, key=repr)


def assert_equal(shards: Shards, plain: Any, query: str) -> None:
    mine = shards.query(ours(query))
    expected = plain.sql(theirs(query)).to_arrow_table()
    ordered = "ORDER BY" in query.rsplit(")", maxsplit=1)[-1]
    assert rows_of(mine, ordered) == rows_of(expected, ordered)
    assert same_types(mine, expected)
    if theirs(query) == query:
        assert mine.column_names == expected.column_names


def same_types(one: pa.Table, other: pa.Table) -> bool:
    """Whether both have columns of the same types; DuckDB calls UTC otherwise."""
    return [_type(field.type) for field in one.schema] == [_type(field.type) for field in other.schema]


def _type(type_: pa.DataType) -> str:
    return str(type_).replace("Etc/UTC", "UTC")


@pytest.mark.parametrize("query", _lines(AGGREGATES))
def test_aggregates_are_split_and_equal(shards: Shards, plain: Any, query: str) -> None:
    assert shards.plan(ours(query)).kind == PARTIAL_AGGREGATE
    assert_equal(shards, plain, query)


@pytest.mark.parametrize("query", _lines(ROWS))
def test_rows_are_filtered_at_the_leaves_and_equal(shards: Shards, plain: Any, query: str) -> None:
    assert shards.plan(ours(query)).kind in (PROJECT, TOP_N)
    assert_equal(shards, plain, query)


@pytest.mark.parametrize("query", _lines(GATHERED))
def test_what_cannot_be_split_is_gathered_and_equal(shards: Shards, plain: Any, query: str) -> None:
    assert shards.plan(ours(query)).kind in (GATHER, "constant")
    assert_equal(shards, plain, query)


def test_limit_without_order_gives_that_many_of_the_rows(shards: Shards, plain: Any) -> None:
    found = shards.query("SELECT id FROM logs WHERE service = 'web' LIMIT 10 OFFSET 2").column("id").to_pylist()
    every = {row[0] for row in plain.sql("SELECT id FROM logs WHERE service = 'web'").fetchall()}
    assert len(set(found)) == 10
    assert set(found) <= every


CONDITIONS = """
service = 'web'
http.status_code >= 404
id > {n}
size <= {n}
#duration > {n}
ok
NOT ok
level IS NOT NULL
big < 0
mixed = '7'
timestamp >= now() - INTERVAL '{n} minutes'
level IN ('error', 'info')
id BETWEEN {n} AND {n} + 100
seen < timestamp
"""

SUMMARIES = """
count(*)
sum(id)
avg(size)
min(level)
max(#duration * 1)
count(DISTINCT service)
sum(big)
stddev(id)
count(*) FILTER (WHERE ok)
avg(#mixed)
max(timestamp)
"""


def random_query(rng: random.Random) -> str:
    """A random aggregation, projection or top-N with random conditions."""
    picked = [rng.choice(_lines(CONDITIONS)).format(n=rng.randrange(60)) for _ in range(rng.randrange(4))]
    joined = f" {rng.choice(['AND', 'OR'])} ".join(picked)
    where = f" WHERE {joined}" if picked else ""
    if rng.random() < 0.6:
        keys = rng.sample(["service", "level", "http.status_code", "ok", "id % 3", "mixed", "_shard"], rng.randrange(3))
        items = [*keys, *rng.sample(_lines(SUMMARIES), rng.randrange(1, 5))]
        group = f" GROUP BY {', '.join(keys)}" if keys else ""
        having = " HAVING count(*) > 5" if rng.random() < 0.3 else ""
        return f"SELECT {', '.join(items)} FROM logs{where}{group}{having}"
    items = rng.sample(["service", "size", "duration", "mixed", "tags", "ok", "timestamp", "big", "id * 2"], 3)
    limit = f" LIMIT {rng.randrange(30)} OFFSET {rng.randrange(5)}" if rng.random() < 0.5 else ""
    first = rng.choice(["size DESC", "service", "level NULLS FIRST", "#duration - 1"])
    return f"SELECT id, {', '.join(items)} FROM logs{where} ORDER BY {first}, id{limit}"


@pytest.mark.parametrize("seed", range(5))
def test_random_queries_are_equal(shards: Shards, plain: Any, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(12):
        query = random_query(rng)
        try:
            assert_equal(shards, plain, query)
        except Exception as error:
            raise AssertionError(f"seed {seed}: {query}") from error
