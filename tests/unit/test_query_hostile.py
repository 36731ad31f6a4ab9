"""Statements that ask for what is outside, or for more than there is: each is refused, and none says a secret."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from core.errors import BudgetExceeded, InvalidRequest, NotFound
from query.executor import Executor
from tests.unit.test_query_shards import Shards, random_event

SECRET = "the-secret-that-nobody-may-see"
VARIABLE = "MALAMUTE_HOSTILE_SECRET"
SCRIPT = Path(__file__).parents[1] / "scripts" / "hostile.sql"
HARMLESS = "harmless"
TIMEOUT_S = 1.0
REFUSALS = (InvalidRequest, NotFound, BudgetExceeded)


class Hostile(NamedTuple):
    """A statement of the script, its line, its group and its dialect."""

    line: int
    group: str
    dialect: str | None
    text: str


def statements() -> list[Hostile]:
    found = []
    group, dialect = "", None
    for number, line in enumerate(SCRIPT.read_text(encoding="utf-8").split("\n"), start=1):
        if line.startswith("---- "):
            heading = line[5:].partition(":")[0]
            group, _, name = heading.partition(" as ")
            dialect = name or None
        elif line.strip() and group:
            found.append(Hostile(number, group, dialect, line))
    return found


def cases(harmless: bool) -> list[object]:
    return [
        pytest.param(hostile, id=f"line {hostile.line}")
        for hostile in statements()
        if (hostile.group == HARMLESS) == harmless
    ]


LARGE = {
    "parentheses": "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "conditions": "SELECT count(*) FROM logs WHERE " + " OR ".join(f"id = {n}" for n in range(5_000)),
    "subqueries": "SELECT * FROM (" * 500 + "SELECT 1" + ")" * 500,
    "text": "SELECT '" + "x" * 300_000 + "'",
    "number": "SELECT id FROM logs WHERE id = " + "9" * 5_000,
    "nul": "SELECT 1 \x00 ; ATTACH 'x'",
    "nul in a name": 'SELECT * FROM "logs\x00"',
    "nul in a text": "SELECT 'a\x00b'",
    "lone surrogate": "SELECT '\ud800'",
    "signs": "SELECT " + "- " * 50_000 + "1",
    "nots": "SELECT " + "NOT " * 5_000 + "true",
    "lists": "SELECT " + "[" * 5_000 + "]" * 5_000,
    "unions": "SELECT 1" + " UNION ALL SELECT 1" * 500,
    "never closed": "SELECT " + "(" * 1_000,
    "statements": ";" * 100_000,
    "comment": "SELECT /*" + "x" * 300_000 + "*/ 1",
    "name": 'SELECT "' + "x" * 300_000 + '" FROM logs',
    "brackets of a search": f"SELECT id FROM logs WHERE matches('{'(' * 10_000}a{')' * 10_000}')",
    "terms of a search": f"SELECT id FROM logs WHERE matches('{'a OR ' * 5_000}a')",
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    directory = tmp_path_factory.mktemp("hostile")
    data = directory / "data"
    data.mkdir()
    (directory / "secret.csv").write_text(f"a,b\n{SECRET},1\n")
    executor = Executor(threads=1, memory_bytes=64 * 2**20, data_directories=[str(data)])
    others = Shards(data, executor)
    others.add("payroll", [{"salary": ("int", 1), "name": ("str", SECRET)} for _ in range(9)], parts=1)
    assert SECRET in str(others.query("SELECT * FROM payroll").to_pylist())
    built = Shards(data, executor)
    rng = random.Random(11)
    built.add("logs", [random_event(rng, row) for row in range(300)], parts=1)
    yield built
    executor.close()


@pytest.fixture(autouse=True)
def _variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)


def ask(shards: Shards, hostile: Hostile) -> str:
    """What a statement is answered with, all of it."""
    canary = pa.table({"x": [SECRET]})  # a name that the engine would find among Python's, if it looked
    outside = shards.directory.parent
    places = {"$secret": outside / "secret.csv", "$target": outside / "written", "$data": shards.directory}
    text = hostile.text.replace("$variable", VARIABLE)
    for name, place in places.items():
        text = text.replace(name, str(place))
    before = (dict(os.environ), sorted(outside.rglob("*")))
    try:
        answer = shards.answer(text, timeout_s=TIMEOUT_S, dialect=hostile.dialect)
    except REFUSALS as error:
        assert SECRET not in str(error)
        raise
    finally:
        assert (dict(os.environ), sorted(outside.rglob("*"))) == before
        assert canary.num_rows == 1
    return f"{answer.table.to_pydict()} {answer.warnings} {answer.stats}"


@pytest.mark.timeout(20)
@pytest.mark.parametrize("hostile", cases(harmless=False))
def test_what_is_outside_is_refused(shards: Shards, hostile: Hostile) -> None:
    with pytest.raises(REFUSALS):
        ask(shards, hostile)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("hostile", cases(harmless=True))
def test_what_only_looks_hostile_sees_nothing_from_outside(shards: Shards, hostile: Hostile) -> None:
    try:
        answer = ask(shards, hostile)
    except REFUSALS:
        return
    assert SECRET not in answer
    assert "payroll" not in answer or "payroll" in hostile.text


def test_there_are_hostile_statements_of_every_sort() -> None:
    found = statements()
    assert len(found) > 300
    assert sum(hostile.group == HARMLESS for hostile in found) > 25
    assert len({hostile.dialect for hostile in found}) > 7


@pytest.mark.timeout(30)
@pytest.mark.parametrize("name", LARGE)
def test_what_is_too_large_or_no_text_ends_in_a_typed_error_or_an_answer(shards: Shards, name: str) -> None:
    try:
        shards.answer(LARGE[name], timeout_s=20.0)
    except REFUSALS as error:
        assert len(str(error)) < 2_000


def test_a_query_that_reads_no_events_has_the_time_that_it_asked_for(shards: Shards) -> None:
    with pytest.raises(BudgetExceeded, match=r"longer than 0\.") as ended:
        shards.answer("SELECT count(*) FROM generate_series(1, 100000000000) g(x) WHERE x % 2 = 3", timeout_s=0.5)
    assert ended.value.budget == "seconds"
