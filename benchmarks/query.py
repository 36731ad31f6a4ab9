"""Group-by over 10 M generated events, most of them in segments, beside plain DuckDB on the same Parquet files."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import pyarrow as pa

import malamute
from benchmarks.record import store, value
from ingest.generate import generator

EVENTS = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
ROWS = 65_536
RUNS = 5

QUERIES = {
    "count by service": "SELECT service, count(*) AS c FROM {t} GROUP BY 1 ORDER BY 1",
    "count and average by service and status": (
        "SELECT service, {status}, count(*) AS c, avg(duration_ms) AS a FROM {t} GROUP BY 1, 2 ORDER BY 1, 2"
    ),
    "p99 by host, filtered": (
        "SELECT host, approx_quantile(duration_ms, 0.99) AS p FROM {t} WHERE service = 'checkout' GROUP BY 1"
    ),
    "latest 100 errors": "SELECT timestamp, message FROM {t} WHERE status = 'error' ORDER BY timestamp DESC LIMIT 100",
}


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        client = malamute.connect(storage=directory)
        try:
            _fill(client)
            _compare(client, directory)
        finally:
            client.close()


def _fill(client: malamute.Client) -> None:
    events = generator("logs", 1, 0)
    step = 8 * ROWS
    for done in range(0, EVENTS, step):
        rows = min(step, EVENTS - done)
        batches = [events.batch(min(ROWS, rows - at), time.time_ns() // 1000) for at in range(0, rows, ROWS)]
        client.write("logs", pa.Table.from_batches(batches))
    client.flush()
    # A little stays in the memtables, as in life.
    client.write("logs", events.batch(ROWS, time.time_ns() // 1000))


def _compare(client: malamute.Client, directory: str) -> None:
    files = [str(path) for path in Path(directory).glob("shards/*/segments/default/logs/*.parquet")]
    plain = duckdb.connect()
    plain.execute("SET threads = 2")
    table = f"read_parquet({files!r}, union_by_name = true)"
    values, details = [], {"files": len(files), "events": EVENTS}
    for name, query in QUERIES.items():
        ours_sql = query.format(t="logs", status="http.status_code")
        theirs_sql = query.format(t=table, status='"http.status_code"')
        ours, theirs = [], []
        for _ in range(RUNS + 1):
            started = time.perf_counter()
            client.sql(ours_sql)
            ours.append(time.perf_counter() - started)
            started = time.perf_counter()
            plain.sql(theirs_sql).to_arrow_table()
            theirs.append(time.perf_counter() - started)
        ratios = [a / b for a, b in zip(ours[1:], theirs[1:], strict=True)]
        values += [
            value(f"{name}: malamute", 1000 * statistics.median(ours[1:]), "ms"),
            value(f"{name}: plain DuckDB", 1000 * statistics.median(theirs[1:]), "ms"),
            value(f"{name}: ratio", statistics.median(ratios), "x", "at most 2" if "GROUP BY" in query else ""),
        ]
        details[name] = {"ours_s": ours, "duckdb_s": theirs}
    client.write("tiny", [{"service": "a"}])
    fixed = []
    for _ in range(50):
        started = time.perf_counter()
        client.sql("SELECT service, count(*) FROM tiny GROUP BY 1")
        fixed.append(time.perf_counter() - started)
    values.append(value("fixed cost of a distributed query on tiny data, p50", 1000 * statistics.median(fixed), "ms"))
    store("query", values, details)


if __name__ == "__main__":
    main()
