"""The query engine beside plain DuckDB on the same Parquet files and embedded ClickHouse on the same events.

`python -m benchmarks.query [EVENTS]` (10 M unless given) fills all three, lets them take turns with each question of
the suite, and fails when their answers disagree. benchmarks/README.md says how that is fair.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from benchmarks.query_agreement import disagreement
from benchmarks.query_contenders import Contender, DuckDB, Malamute, clickhouse
from benchmarks.query_fill import fill
from benchmarks.query_memory import Memory
from benchmarks.query_report import EVENTS_DEFAULT, report
from benchmarks.query_suite import DUCKDB, GENERATED, MALAMUTE, Query
from benchmarks.query_suite_real import REAL
from core.errors import MalamuteError

RUNS: Final = 5
RUNS_MIN: Final = 2
QUESTION_SECONDS: Final = 60.0  # no further run of a question after this
FIXED_RUNS: Final = 50
FIXED_SQL: Final = "SELECT service, count(*) FROM tiny GROUP BY 1"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.query", description=__doc__)
    parser.add_argument("events", nargs="?", type=int, default=EVENTS_DEFAULT)
    events = parser.parse_args().events
    with tempfile.TemporaryDirectory(prefix="malamute-bench-") as directory:
        results = _run(Path(directory), events)
    report(events, results)
    problems = results["problems"]
    for name, problem in problems.items():
        print(f"WRONG: {name}: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _run(directory: Path, events: int) -> dict[str, Any]:
    ours = Malamute(directory)
    house = clickhouse(directory)
    plain = DuckDB(directory)
    try:
        memory = Memory(ours)
        started = time.perf_counter()
        filled = fill(ours, plain, house, events)
        print(f"filled in {time.perf_counter() - started:.0f} s: {filled['segments']} segments", flush=True)
        if house is None:
            print("skipped: chdb is not installed (pip install -c constraints.txt -e '.[bench]')", flush=True)
        memory.restart_peaks()
        questions = [query for query in (*GENERATED, *REAL) if query.stream in (*filled["streams"], "logs")]
        contenders: list[Contender] = [ours, plain, *([house] if house is not None else [])]
        results = {
            "filled": filled,
            "words": ours.words,
            "chdb": house.version if house is not None else "skipped: not installed",
            "skipped": [query.name for query in (*GENERATED, *REAL) if query not in questions],
            **_hot(contenders, questions),
        }
        answered = [query for query in questions if query.name in results["seconds"]]
        results["repeated_s"] = _repeated(ours, answered) if ours.can_cache else {}
        results["fixed_s"] = [_seconds(partial(ours.sql, FIXED_SQL)) for _ in range(FIXED_RUNS)]
        results["memory"] = memory.peaks()
        ours.forget()
        results["cold_s"] = _cold(ours, answered)
        return results
    finally:
        for contender in (ours, plain, house):
            if contender is not None:
                contender.close()


def _hot(contenders: list[Contender], questions: list[Query]) -> dict[str, Any]:
    """Seconds of each run by question and contender, the first of each left out, and what went wrong."""
    seconds: dict[str, dict[str, list[float]]] = {}
    problems: dict[str, str] = {}
    for query in questions:
        answers, wrong = _answers(contenders, query)
        wrong += _disagreements(answers)
        if wrong:
            problems[query.name] = "; ".join(wrong)
        runs = _turns([contender for contender in contenders if contender.name in answers], query)
        medians = {name: 1000 * statistics.median(of) for name, of in runs.items()}
        print(f"{query.name:45} " + "  ".join(f"{name} {ms:8.1f}" for name, ms in medians.items()), flush=True)
        if {MALAMUTE, DUCKDB} <= runs.keys():
            seconds[query.name] = runs
    return {"seconds": seconds, "problems": problems}


def _answers(contenders: list[Contender], query: Query) -> tuple[dict[str, pa.Table], list[str]]:
    """The first answer of each contender, which also warms it up; and what those say that have none."""
    answers, wrong = {}, []
    for contender in contenders:
        try:
            answers[contender.name] = contender.run(query)
        except (MalamuteError, duckdb.Error, RuntimeError) as error:  # chdb has RuntimeError only
            wrong.append(f"{contender.name}: {error}")
    return answers, wrong


def _disagreements(answers: dict[str, pa.Table]) -> list[str]:
    if not answers:
        return []
    first, *others = answers
    wrong = [(name, disagreement(answers[first], answers[name])) for name in others]
    empty = [] if answers[first].num_rows else ["no rows: the question asks for nothing"]
    return [f"{first} and {name} disagree: {text}" for name, text in wrong if text] + empty


def _turns(contenders: list[Contender], query: Query) -> dict[str, list[float]]:
    """Let the contenders answer `query` in turn, each run beginning with another one."""
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    started = time.perf_counter()
    for run in range(RUNS):
        if run >= RUNS_MIN and time.perf_counter() - started > QUESTION_SECONDS:
            break
        shift = run % len(contenders)
        for contender in (*contenders[shift:], *contenders[:shift]):
            seconds[contender.name].append(_seconds(partial(contender.run, query)))
    return seconds


def _repeated(ours: Malamute, questions: list[Query]) -> dict[str, list[float]]:
    """Seconds of questions that were asked before, with the result cache."""
    seconds = {}
    for query in questions:
        ours.run(query, cache=True)
        seconds[query.name] = [_seconds(partial(ours.run, query, cache=True)) for _ in range(RUNS)]
    return seconds


def _cold(ours: Malamute, questions: list[Query]) -> dict[str, float]:
    """Seconds of the first answer to each question after a start."""
    return {query.name: _seconds(partial(ours.run, query)) for query in questions}


def _seconds(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
