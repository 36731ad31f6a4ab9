"""Owns the figures of the query benchmark: medians, ratios and their geometric means, as a result of record.store."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import Any, Final

from benchmarks.query_suite import CLICKHOUSE, DUCKDB, GENERATED, MALAMUTE, RARE
from benchmarks.record import RESULTS, store, value

EVENTS_DEFAULT: Final = 10_000_000
LOCAL: Final = "local"  # results of runs with fewer events, which are for whoever runs them


def report(events: int, results: dict[str, Any]) -> None:
    """Store the result and print it."""
    ms = {
        name: {contender: 1000 * statistics.median(runs) for contender, runs in by_contender.items()}
        for name, by_contender in results["seconds"].items()
    }
    repeated = {name: 1000 * statistics.median(runs) for name, runs in results["repeated_s"].items()}
    rows = [
        *_means(events, ms, repeated),
        *_costs(results),
        *(value(f"{name}: malamute / DuckDB", of[MALAMUTE] / of[DUCKDB], "x") for name, of in ms.items()),
    ]
    details = {"events": events, "median_ms": ms, "repeated_median_ms": repeated, **results}
    store(_result_name(events), rows, details)


def _result_name(events: int) -> str:
    if events == EVENTS_DEFAULT:
        return "query"
    if events > EVENTS_DEFAULT:
        return f"query_{events // 1_000_000}m"
    (RESULTS / LOCAL).mkdir(exist_ok=True)
    return f"{LOCAL}/query"


def _means(events: int, ms: dict[str, dict[str, float]], repeated: dict[str, float]) -> list[dict[str, Any]]:
    generated = {query.name for query in GENERATED}
    rare = {query.name for query in GENERATED if query.group == RARE}
    duck = {name: of[MALAMUTE] / of[DUCKDB] for name, of in ms.items()}
    house = {name: of[MALAMUTE] / of[CLICKHOUSE] for name, of in ms.items() if CLICKHOUSE in of}
    again = {name: repeated[name] / ms[name][DUCKDB] for name in repeated if name in ms}
    title = f"{len(ms)} queries over {events / 1e6:g} M events, geometric mean"
    named = [
        (f"{title}: malamute / DuckDB, hot", duck, duck, "≤ 1.3"),
        (f"{title}: malamute / chdb, hot", house, house, "≤ 1.0"),
        (f"{title}: malamute repeated with the cache / DuckDB", again, again, "≤ 0.15"),
        ("rare words and ids: malamute / DuckDB", duck, rare, "≤ 0.2"),
        ("rare words and ids: malamute / chdb", house, rare, ""),
        ("generated events only: malamute / DuckDB", duck, generated, ""),
        ("real data sets only: malamute / DuckDB", duck, duck.keys() - generated, ""),
    ]
    found = [(name, [ratios[key] for key in ratios if key in keys], target) for name, ratios, keys, target in named]
    return [value(name, geometric_mean(ratios), "x", target) for name, ratios, target in found if ratios]


def _costs(results: dict[str, Any]) -> list[dict[str, Any]]:
    first = sum(results["cold_s"].values())
    hot = sum(statistics.median(runs[MALAMUTE]) for runs in results["seconds"].values())
    fixed = 1000 * statistics.median(results["fixed_s"])
    rows = [
        value("fixed cost of a distributed query on tiny data, p50", fixed, "ms", "≤ 15"),
        value("the whole suite once, hot", hot, "s"),
        value("the whole suite once after a restart, caches dropped", first, "s"),
        value("questions that failed or whose answers disagree", len(results["problems"]), "queries", "0"),
    ]
    for name, of in results["memory"].items():
        rows.append(value(f"peak memory, {name}", of["peak"] / 2**20, "MiB", f"≤ {of['limit'] / 2**20:,.0f}"))
    return rows


def geometric_mean(ratios: Iterable[float]) -> float:
    """The mean of ratios that does not care which way they are written."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs))
