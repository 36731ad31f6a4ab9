"""Statements that ask for what is outside, or for more than there is: each is refused, and none says a secret."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import BudgetExceeded, InvalidRequest, MalamuteError, NotFound
from query.executor import Executor
from tests.unit.test_query_shards import Shards, random_event

SECRET = "the-secret-that-nobody-may-see"
VARIABLE = "MALAMUTE_HOSTILE_SECRET"
SCRIPT = Path(__file__).parents[1] / "scripts" / "hostile.sql"
STATEMENTS = [line for line in SCRIPT.read_text().splitlines()[1:] if line.strip()]
LARGE = {
    "parentheses": "SELECT " + "(" * 10_000 + "1" + ")" * 10_000,
    "conditions": "SELECT count(*) FROM logs WHERE " + " OR ".join(f"id = {n}" for n in range(5_000)),
    "subqueries": "SELECT * FROM (" * 500 + "SELECT 1" + ")" * 500,
    "text": "SELECT '" + "x" * 300_000 + "'",
    "number": "SELECT id FROM logs WHERE id = " + "9" * 5_000,
    "nul": "SELECT 1 \x00 ; ATTACH 'x'",
    "lone surrogate": "SELECT '\ud800'",
}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shards]:
    directory = tmp_path_factory.mktemp("hostile")
    data = directory / "data"
    data.mkdir()
    (directory / "secret.csv").write_text(f"a,b\n{SECRET},1\n")
    built = Shards(data, Executor(threads=1, memory_bytes=64 * 2**20, data_directories=[str(data)]))
    rng = random.Random(11)
    built.add("logs", [random_event(rng, row) for row in range(300)], parts=1)
    yield built
    built.executor.close()


@pytest.mark.parametrize("statement", STATEMENTS)
def test_what_is_outside_is_refused(shards: Shards, statement: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    secret = shards.directory.parent / "secret.csv"
    target = shards.directory.parent / "written"
    asked = statement.replace("$secret", str(secret)).replace("$variable", VARIABLE).replace("$target", str(target))
    with pytest.raises((InvalidRequest, NotFound, BudgetExceeded)) as refused:
        shards.answer(asked, timeout_s=1.0)
    assert SECRET not in str(refused.value)
    assert not list(target.parent.glob("written*"))


@pytest.mark.parametrize("name", LARGE)
def test_what_is_too_large_or_no_text_ends_in_a_typed_error_or_an_answer(shards: Shards, name: str) -> None:
    try:
        shards.answer(LARGE[name], timeout_s=20.0)
    except MalamuteError as error:
        assert len(str(error)) < 2_000
