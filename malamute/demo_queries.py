"""Owns the queries of the demo: what each shows, in words and in SQL."""

from __future__ import annotations

from typing import NamedTuple


class DemoQuery(NamedTuple):
    """One query; it is left out when one of its `streams` holds nothing."""

    title: str
    streams: tuple[str, ...]
    sql: str


QUERIES = (
    DemoQuery(
        "Which services are slow, and which fail? Nested attributes are dotted paths; percentiles merge across shards.",
        ("logs",),
        """
SELECT service,
       count(*) AS requests,
       round(100.0 * count(*) FILTER (http.status_code >= 500) / count(*), 2) AS "failed %",
       round(approx_quantile(duration_ms, 0.5), 1) AS p50_ms,
       round(approx_quantile(duration_ms, 0.99), 1) AS p99_ms
FROM logs
WHERE http.status_code IS NOT NULL
GROUP BY service
ORDER BY requests DESC
LIMIT 8
""",
    ),
    DemoQuery(
        "Find a needle: the newest lost connections, two milliseconds or two years old.",
        ("logs",),
        """
SELECT timestamp, service, http.path, message
FROM logs
WHERE message LIKE 'connection reset%' AND env = 'prod' AND duration_ms > 100
ORDER BY timestamp DESC
LIMIT 5
""",
    ),
    DemoQuery(
        "What has Ray been writing into its logs since this demo began? These lines are still coming in.",
        ("ray_logs",),
        """
SELECT service, count(*) AS lines,
       count(*) FILTER (message LIKE '%WARN%' OR message LIKE '% W %') AS warnings,
       max(timestamp) AS newest
FROM ray_logs
GROUP BY service
ORDER BY lines DESC
LIMIT 8
""",
    ),
    DemoQuery(
        "The history of this repository: who changed what. Arrays are lists, and unnest() opens them.",
        ("commits",),
        """
SELECT split_part(path, '/', 1) AS part, count(DISTINCT commit) AS commits, max(timestamp) AS last_change
FROM (SELECT commit, timestamp, unnest(files.paths) AS path FROM commits)
GROUP BY part
ORDER BY commits DESC
LIMIT 6
""",
    ),
    DemoQuery(
        "Join two streams: what Ray logged in the seconds in which the load came in.",
        ("logs", "ray_logs"),
        """
WITH load AS (SELECT date_trunc('second', timestamp) AS second, count(*) AS events,
                     count(*) FILTER (status = 'error') AS errors
              FROM logs GROUP BY 1 HAVING count(*) > 10000),
     ray AS (SELECT date_trunc('second', timestamp) AS second, count(*) AS ray_lines,
                    count(DISTINCT service) AS components
             FROM ray_logs GROUP BY 1)
SELECT load.second, events, errors, coalesce(ray_lines, 0) AS ray_lines, coalesce(components, 0) AS components
FROM load LEFT JOIN ray ON load.second = ray.second
ORDER BY load.second
LIMIT 8
""",
    ),
)


def file_query(stream: str) -> DemoQuery:
    """What to ask of a stream that nothing is known about."""
    return DemoQuery(
        f"Your own events: {stream}.",
        (stream,),
        f"""
SELECT count(*) AS events, min(timestamp) AS first, max(timestamp) AS last
FROM "{stream}"
""",
    )
