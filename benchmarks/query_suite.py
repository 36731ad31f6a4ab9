"""Owns the questions of the query benchmark about generated events, and how a text becomes each contender's.

A text is in DuckDB's dialect, which is Malamute's too, with paths in braces; ClickHouse's is written beside it. What is
an approximation has an alias that begins with `approx`, which agreement allows for; a time bucket has the alias `t`.
Never runs anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from benchmarks.query_data import ABSENT_WORD, RARE_TRACE, RARE_WORD

RARE: Final = "rare"

MALAMUTE: Final = "malamute"
DUCKDB: Final = "duckdb"
CLICKHOUSE: Final = "chdb"

# Paths with a type hint in ClickHouse's tables: it would store those values that are whole as another type.
HINTS: Final = {"duration_ms": "Nullable(Float64)", "amount.value": "Nullable(Float64)"}

_PATH: Final = re.compile(r"\{([A-Za-z@][\w.@]*)(?: (\w+))?\}")
_MOMENT: Final = re.compile(r"\{at ([\d:]+)\}")
_MATCHES: Final = re.compile(r"matches\('(\w+)'\)")


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `{path}` or, for ClickHouse, `{path Type}` (default String); `{at 09:00:00}` is a time that day."""

    name: str
    sql: str
    clickhouse: str
    duckdb: str = ""  # where it differs from `sql`
    group: str = ""
    stream: str = "logs"

    def text(self, contender: str, words: bool = True) -> str:
        """What `contender` is asked; without `words` its matches() is a contains()."""
        if contender == CLICKHOUSE:
            text = _MOMENT.sub(r"toDateTime64('2026-01-05 \1', 6, 'UTC')", self.clickhouse)
            return _PATH.sub(_subcolumn, text)
        text = self.sql if contender == MALAMUTE else self.duckdb or self.sql
        text = _MOMENT.sub(r"TIMESTAMPTZ '2026-01-05 \1+00'", text)
        if contender == DUCKDB or not words:
            text = _MATCHES.sub(r"contains(message, '\1')", text)
        return _PATH.sub(r'"\1"' if contender == DUCKDB else r"\1", text)


def _subcolumn(found: re.Match[str]) -> str:
    return f"a.{found[1]}" if found[1] in HINTS else f"a.{found[1]}.:{found[2] or 'String'}"


_CLASS: Final = (
    "CASE WHEN {duration_ms} < 10 THEN 'fast' WHEN {duration_ms} < 100 THEN 'fair' WHEN {duration_ms} >= 100 "
    "THEN 'slow' ELSE 'none' END"
)
_CLASS_CH: Final = _CLASS.replace("{duration_ms}", "{duration_ms Float64}")

OVER_TIME: Final = (
    Query(
        "count over time by service",
        "SELECT time_bucket(INTERVAL '5 minutes', timestamp) AS t, service, count(*) AS c FROM logs GROUP BY 1, 2",
        "SELECT toStartOfInterval(timestamp, INTERVAL 5 MINUTE) AS t, service, count() AS c FROM logs GROUP BY 1, 2",
    ),
    Query(
        "errors over time",
        "SELECT time_bucket(INTERVAL '1 minute', timestamp) AS t, count(*) AS c FROM logs WHERE {status} = 'error' "
        "GROUP BY 1",
        "SELECT toStartOfInterval(timestamp, INTERVAL 1 MINUTE) AS t, count() AS c FROM logs WHERE {status} = 'error' "
        "GROUP BY 1",
    ),
    Query(
        "six aggregates per minute",
        "SELECT time_bucket(INTERVAL '1 minute', timestamp) AS t, count(*) AS c, count({duration_ms}) AS n, "
        "avg({duration_ms}) AS a, max({duration_ms}) AS m, sum({bytes}) AS b, count_if({status} = 'error') AS e "
        "FROM logs GROUP BY 1",
        "SELECT toStartOfInterval(timestamp, INTERVAL 1 MINUTE) AS t, count() AS c, count({duration_ms Float64}) AS n, "
        "avg({duration_ms Float64}) AS a, max({duration_ms Float64}) AS m, sum({bytes Int64}) AS b, "
        "countIf({status} = 'error') AS e FROM logs GROUP BY 1",
    ),
    Query(
        "narrow time range",
        "SELECT service, count(*) AS c FROM logs WHERE timestamp >= {at 09:00:00} AND timestamp < {at 09:02:00} "
        "GROUP BY 1",
        "SELECT service, count() AS c FROM logs WHERE timestamp >= {at 09:00:00} AND timestamp < {at 09:02:00} "
        "GROUP BY 1",
    ),
    Query(
        "an hour of one service per minute",
        "SELECT time_bucket(INTERVAL '1 minute', timestamp) AS t, count(*) AS c, avg({duration_ms}) AS a FROM logs "
        "WHERE service = 'checkout' AND timestamp >= {at 09:00:00} AND timestamp < {at 10:00:00} GROUP BY 1",
        "SELECT toStartOfInterval(timestamp, INTERVAL 1 MINUTE) AS t, count() AS c, avg({duration_ms Float64}) AS a "
        "FROM logs WHERE service = 'checkout' AND timestamp >= {at 09:00:00} AND timestamp < {at 10:00:00} GROUP BY 1",
    ),
    Query(
        "errors of the last quarter of an hour",
        "SELECT service, {http.status_code}, count(*) AS c FROM logs WHERE timestamp >= {at 11:45:00} "
        "AND {status} = 'error' GROUP BY 1, 2",
        "SELECT service, {http.status_code Int64}, count() AS c FROM logs WHERE timestamp >= {at 11:45:00} "
        "AND {status} = 'error' GROUP BY 1, 2",
    ),
)

GROUPS: Final = (
    Query(
        "count by service",
        "SELECT service, count(*) AS c FROM logs GROUP BY 1",
        "SELECT service, count() AS c FROM logs GROUP BY 1",
    ),
    Query(
        "count and average by service and status",
        "SELECT service, {http.status_code} AS s, count(*) AS c, avg({duration_ms}) AS a FROM logs GROUP BY 1, 2",
        "SELECT service, {http.status_code Int64} AS s, count() AS c, avg({duration_ms Float64}) AS a FROM logs "
        "GROUP BY 1, 2",
    ),
    Query(
        "top 10 paths of server errors",
        "SELECT {http.path} AS p, count(*) AS c FROM logs WHERE {http.status_code} >= 500 GROUP BY 1 "
        "ORDER BY c DESC, p LIMIT 10",
        "SELECT {http.path} AS p, count() AS c FROM logs WHERE {http.status_code Int64} >= 500 GROUP BY 1 "
        "ORDER BY c DESC, p LIMIT 10",
    ),
    Query(
        "top 10 users",
        "SELECT {usr.id} AS u, count(*) AS c FROM logs WHERE {usr.id} IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, u LIMIT 10",
        "SELECT {usr.id Int64} AS u, count() AS c FROM logs WHERE {usr.id Int64} IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, u LIMIT 10",
    ),
    Query(
        "count by host and status code",
        "SELECT {host} AS h, {http.status_code} AS s, count(*) AS c FROM logs GROUP BY 1, 2",
        "SELECT {host} AS h, {http.status_code Int64} AS s, count() AS c FROM logs GROUP BY 1, 2",
    ),
    Query(
        "hosts above an average (HAVING)",
        "SELECT {host} AS h, avg({duration_ms}) AS a, count(*) AS c FROM logs WHERE {env} = 'prod' GROUP BY 1 "
        "HAVING avg({duration_ms}) > 24.7",
        "SELECT {host} AS h, avg({duration_ms Float64}) AS a, count() AS c FROM logs WHERE {env} = 'prod' GROUP BY 1 "
        "HAVING avg({duration_ms Float64}) > 24.7",
    ),
    Query(
        "latency classes (CASE)",
        f"SELECT {_CLASS} AS k, count(*) AS c, sum({{bytes}}) AS b FROM logs GROUP BY 1",
        f"SELECT {_CLASS_CH} AS k, count() AS c, sum({{bytes Int64}}) AS b FROM logs GROUP BY 1",
    ),
    Query(
        "services and versions (DISTINCT)",
        "SELECT DISTINCT service, {version} AS v FROM logs",
        "SELECT DISTINCT service, {version} AS v FROM logs",
    ),
    Query(
        "minima and maxima",
        "SELECT count(*) AS c, min(timestamp) AS a, max(timestamp) AS b, min({duration_ms}) AS d, "
        "max({duration_ms}) AS e, min({usr.id}) AS f, max({usr.id}) AS g FROM logs",
        "SELECT count() AS c, min(timestamp) AS a, max(timestamp) AS b, min({duration_ms Float64}) AS d, "
        "max({duration_ms Float64}) AS e, min({usr.id Int64}) AS f, max({usr.id Int64}) AS g FROM logs",
    ),
    Query(
        "methods under a nested path",
        "SELECT {http.method} AS m, count(*) AS c, sum({bytes}) AS b FROM logs WHERE {http.path} LIKE '/v2/orders%' "
        "GROUP BY 1",
        "SELECT {http.method} AS m, count() AS c, sum({bytes Int64}) AS b FROM logs "
        "WHERE {http.path} LIKE '/v2/orders%' GROUP BY 1",
    ),
)

STATISTICS: Final = (
    Query(
        "p50 and p99 by service",
        "SELECT service, approx_quantile({duration_ms}, 0.5) AS approx_p50, approx_quantile({duration_ms}, 0.99) "
        "AS approx_p99 FROM logs GROUP BY 1",
        "SELECT service, quantileTDigest(0.5)({duration_ms Float64}) AS approx_p50, "
        "quantileTDigest(0.99)({duration_ms Float64}) AS approx_p99 FROM logs GROUP BY 1",
    ),
    Query(
        "p99 by host, filtered",
        "SELECT {host} AS h, approx_quantile({duration_ms}, 0.99) AS approx_p99 FROM logs WHERE service = 'checkout' "
        "GROUP BY 1",
        "SELECT {host} AS h, quantileTDigest(0.99)({duration_ms Float64}) AS approx_p99 FROM logs "
        "WHERE service = 'checkout' GROUP BY 1",
    ),
    Query(
        "exact median by region",
        "SELECT {region} AS r, quantile_cont({duration_ms}, 0.5) AS m FROM logs GROUP BY 1",
        "SELECT {region} AS r, quantileExactInclusive(0.5)({duration_ms Float64}) AS m FROM logs GROUP BY 1",
    ),
    Query(
        "distinct users by service, exact",
        "SELECT service, count(DISTINCT {usr.id}) AS u FROM logs GROUP BY 1",
        "SELECT service, uniqExact({usr.id Int64}) AS u FROM logs GROUP BY 1",
    ),
    Query(
        "distinct traces by region, approximate",
        "SELECT {region} AS r, approx_count_distinct({trace_id}) AS approx_t FROM logs GROUP BY 1",
        "SELECT {region} AS r, uniq({trace_id}) AS approx_t FROM logs GROUP BY 1",
    ),
)

SEARCHES: Final = (
    Query(
        "substring",
        "SELECT count(*) AS c FROM logs WHERE message LIKE '%is filling%'",
        "SELECT count() AS c FROM logs WHERE message LIKE '%is filling%'",
    ),
    Query(
        "substring by service",
        "SELECT service, count(*) AS c FROM logs WHERE message LIKE '%timeout on%' GROUP BY 1",
        "SELECT service, count() AS c FROM logs WHERE message LIKE '%timeout on%' GROUP BY 1",
    ),
    Query(
        "whole word by service",
        "SELECT service, count(*) AS c FROM logs WHERE matches('heartbeat') GROUP BY 1",
        "SELECT service, count() AS c FROM logs WHERE hasToken(message, 'heartbeat') GROUP BY 1",
    ),
    Query(
        "regular expression by service",
        "SELECT service, count(*) AS c FROM logs WHERE regexp_matches(message, 'errno 1[0-9]{3}.$') GROUP BY 1",
        "SELECT service, count() AS c FROM logs WHERE match(message, 'errno 1[0-9]{3}.$') GROUP BY 1",
    ),
    Query(
        "rare word",
        f"SELECT timestamp, service, message FROM logs WHERE matches('{RARE_WORD}')",
        f"SELECT timestamp, service, message FROM logs WHERE hasToken(message, '{RARE_WORD}')",
        group=RARE,
    ),
    Query(
        "word of no event",
        f"SELECT count(*) AS c FROM logs WHERE matches('{ABSENT_WORD}')",
        f"SELECT count() AS c FROM logs WHERE hasToken(message, '{ABSENT_WORD}')",
        group=RARE,
    ),
    Query(
        "rare id",
        f"SELECT timestamp, service, message FROM logs WHERE {{trace_id}} = '{RARE_TRACE}'",
        f"SELECT timestamp, service, message FROM logs WHERE {{trace_id}} = '{RARE_TRACE}'",
        group=RARE,
    ),
    Query(
        "latest 100 errors",
        "SELECT timestamp, message FROM logs WHERE {status} = 'error' ORDER BY timestamp DESC LIMIT 100",
        "SELECT timestamp, message FROM logs WHERE {status} = 'error' ORDER BY timestamp DESC LIMIT 100",
    ),
    Query(
        "latest 100 of one service",
        "SELECT timestamp, {host} AS h, message FROM logs WHERE service = 'ledger' ORDER BY timestamp DESC LIMIT 100",
        "SELECT timestamp, {host} AS h, message FROM logs WHERE service = 'ledger' ORDER BY timestamp DESC LIMIT 100",
    ),
    Query(
        "latest 100 with a text",
        "SELECT timestamp, service, message FROM logs WHERE message LIKE '%connection reset by%' "
        "ORDER BY timestamp DESC LIMIT 100",
        "SELECT timestamp, service, message FROM logs WHERE message LIKE '%connection reset by%' "
        "ORDER BY timestamp DESC LIMIT 100",
    ),
    Query(
        "slowest 20 requests",
        "SELECT {duration_ms} AS d, service, {http.path} AS p FROM logs ORDER BY d DESC NULLS LAST, p LIMIT 20",
        "SELECT {duration_ms Float64} AS d, service, {http.path} AS p FROM logs ORDER BY d DESC NULLS LAST, p LIMIT 20",
    ),
)

CONFLICTS: Final = (
    Query(
        "number of a path that is also text",
        "SELECT service, count({result.code} + 0) AS c, avg({result.code}) AS a FROM logs GROUP BY 1",
        "SELECT service, count({result.code Int64}) AS c, avg({result.code Int64}) AS a FROM logs GROUP BY 1",
    ),
    Query(
        "top 10 of a path of two types",
        "SELECT {result.code} AS k, count(*) AS c FROM logs WHERE {result.code} IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, k LIMIT 10",
        "SELECT a.result.code::Nullable(String) AS k, count() AS c FROM logs WHERE k IS NOT NULL GROUP BY 1 "
        "ORDER BY c DESC, k LIMIT 10",
        duckdb='SELECT coalesce("result.code"::VARCHAR, "result.code::str") AS k, count(*) AS c FROM logs '
        "WHERE k IS NOT NULL GROUP BY 1 ORDER BY c DESC, k LIMIT 10",
    ),
    Query(
        "text of a path of two types",
        "SELECT service, count(*) AS c FROM logs WHERE {result.code} = 'refused' GROUP BY 1",
        "SELECT service, count() AS c FROM logs WHERE {result.code} = 'refused' GROUP BY 1",
        duckdb="""SELECT service, count(*) AS c FROM logs WHERE "result.code::str" = 'refused' GROUP BY 1""",
    ),
)

JOINS: Final = (
    Query(
        "join: errors by team of the host",
        "SELECT h.{owner.team} AS t, count(*) AS c FROM logs l JOIN hosts h ON l.{host} = h.{host} "
        "WHERE l.{status} = 'error' GROUP BY 1",
        "SELECT h.{owner.team} AS t, count() AS c FROM logs l JOIN hosts h ON l.{host} = h.{host} "
        "WHERE l.{status} = 'error' GROUP BY 1",
        stream="hosts",
    ),
    Query(
        "join: payments of failed requests by trace",
        "SELECT p.{amount.currency} AS k, count(*) AS c, sum(p.{amount.value}) AS s FROM logs l "
        "JOIN payments p ON l.{trace_id} = p.{trace_id} WHERE l.{http.status_code} >= 500 GROUP BY 1",
        "SELECT p.{amount.currency} AS k, count() AS c, sum(p.{amount.value Float64}) AS s FROM logs l "
        "JOIN payments p ON l.{trace_id} = p.{trace_id} WHERE l.{http.status_code Int64} >= 500 GROUP BY 1",
        stream="payments",
    ),
)

GENERATED: Final = (*OVER_TIME, *GROUPS, *STATISTICS, *SEARCHES, *CONFLICTS, *JOINS)
