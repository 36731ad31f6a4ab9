"""The scripts tests/scripts/*.slt: questions over a dozen events that are written down here, with their answers.

A case is a line that says what is expected, the statement, and after `----` the rows with ` | ` between values:

    query [sorted] [dialect=NAME] [columns=a,b]   `warning TEXT` lines before the rows are optional
    error PATTERN                                 InvalidQuery, NotFound or BudgetExceeded; its message has the pattern

`sorted` is for rows in any order, `columns` for those of the answer that are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from core.errors import BudgetExceeded, InvalidQuery, NotFound
from query.executor import Executor
from tests.unit.test_query_shards import Event, Shards

pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

SCRIPTS = sorted((Path(__file__).resolve().parents[1] / "scripts").glob("*.slt"))

# Row n happened 7 n seconds after the beginning of 2026; now is 01:00 of that day. An absent value is "-".
LOGS = """
id | service | level | http.status_code | duration  | ok    | tags | mixed    | message
1  | web     | info  | 200              | int 10    | true  | a,b  | int 1    | user ann logged in
2  | web     | error | 500              | float 2.5 | false | -    | str 1    | connection reset by peer
3  | api     | info  | 200              | str slow  | false | b    | str x    | cache miss
4  | api     | error | 404              | str 7     | -     | -    | bool true | connection refused
5  | db      | -     | -                | int 30    | true  | c    | -        | query timeout
6  | db      | warn  | 200              | -         | true  | a    | int 8    | slow query, 10.0.0.1
"""
TRACES = """
id | service | span
2  | web     | 20
4  | api     | 40
4  | api     | 41
9  | mail    | 90
"""
KINDS = {"id": "int", "span": "int", "http.status_code": "int", "ok": "bool", "tags": "str[]"}


def value_of(path: str, text: str) -> tuple[str, Any]:
    """The kind and the value that `text` stands for; paths of several kinds name theirs."""
    kind = KINDS.get(path, "str")
    if path in ("duration", "mixed"):
        kind, _, text = text.partition(" ")
    if kind == "bool":
        return kind, text == "true"
    if kind == "str[]":
        return kind, text.split(",")
    return kind, {"int": int, "float": float, "str": str}[kind](text)


def events_of(table: str) -> list[Event]:
    lines = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    paths, rows = lines[0], lines[1:]
    return [{path: value_of(path, cell) for path, cell in zip(paths, row, strict=True) if cell != "-"} for row in rows]


@dataclass
class Case:
    """A statement of a script and what is expected of it."""

    line: int
    kind: str
    options: str
    sql: str = ""
    warnings: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)


def cases_of(path: Path) -> list[Case]:
    found: list[Case] = []
    answer = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("#"):
            continue
        word, _, rest = line.partition(" ")
        if word in ("query", "error") and (not found or found[-1].sql.endswith("\n\n")):
            found.append(Case(number, word, rest))
            answer = False
        elif not line:
            if found:
                found[-1].sql = found[-1].sql.rstrip("\n") + "\n\n"
        elif line == "----":
            answer = True
        elif not answer:
            found[-1].sql += line + "\n"
        elif word == "warning":
            found[-1].warnings.append(rest)
        else:
            found[-1].rows.append(line.rstrip())
    return found


def shown(value: Any) -> str:
    """A value as the scripts write it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(" ")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(shown(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {shown(item)}" for name, item in value.items()) + "}"
    return value.isoformat() if isinstance(value, date) else str(value) or "''"


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    directory = tmp_path_factory.mktemp("scripts")
    built = Shards(directory, Executor(threads=2, memory_bytes=2**28, data_directories=[str(directory)]))
    logs = events_of(LOGS)
    logs[4]["rest:rare.note"] = ("str", "seldom")
    built.add("logs", logs, parts=1)
    built.add("traces", events_of(TRACES), parts=1)
    yield built
    built.executor.close()


def check(shards: Shards, case: Case) -> None:
    sql = case.sql.strip()
    if case.kind == "error":
        with pytest.raises((InvalidQuery, NotFound, BudgetExceeded)) as raised:
            shards.answer(sql)
        assert re.search(case.options, str(raised.value)), str(raised.value)
        return
    dialect = re.search(r"dialect=(\w+)", case.options)
    answer = shards.answer(sql, dialect=dialect[1] if dialect else None)
    chosen = re.search(r"columns=(\S+)", case.options)
    table = answer.table.select(chosen[1].split(",")) if chosen else answer.table
    columns = [column.to_pylist() for column in table.columns]
    rows = [" | ".join(map(shown, row)) for row in zip(*columns, strict=True)]
    expected = case.rows
    if "sorted" in case.options:
        rows, expected = sorted(rows), sorted(expected)
    assert rows == expected
    for text in case.warnings:
        assert any(text in warning for warning in answer.warnings), answer.warnings


CASES = [pytest.param(case, id=f"{path.stem}:{case.line}") for path in SCRIPTS for case in cases_of(path)]


@pytest.mark.parametrize("case", CASES)
def test_a_script_is_answered_as_written(shards: Shards, case: Case) -> None:
    check(shards, case)


def test_there_are_scripts_of_every_sort() -> None:
    counts = {path.stem: len(cases_of(path)) for path in SCRIPTS}
    assert len(counts) >= 8
    assert min(counts.values()) >= 8
