"""Statements of somebody who means harm: refused with a typed error, or answered without anything from outside.

They run in a process of its own; one that hangs, dies or leaves something behind has got through.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.query_hostile import (
    BOUNDED,
    CANARY,
    ENDED_S_MAX,
    HARMLESS,
    REFUSALS,
    REFUSED,
    RESIDENT_BYTES_MAX,
    Outcome,
    Runner,
    Statement,
    statements,
)

STATEMENTS = statements()
SLICES = 12


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    running = Runner()
    yield running
    running.close()


def got_through(statement: Statement, outcome: Outcome) -> str:
    """What is wrong with what came of a statement, "" when nothing is."""
    if outcome.error and outcome.error not in REFUSALS:
        return f"ended with {outcome.error} after {outcome.seconds:.1f} s: {outcome.message}"
    if outcome.resident_bytes > RESIDENT_BYTES_MAX:
        return f"took {outcome.resident_bytes} bytes"
    if outcome.changed:
        return f"changed {', '.join(outcome.changed)}"
    if CANARY in outcome.answer or CANARY in outcome.message:
        return f"saw a secret: {outcome.answer[:200]}{outcome.message[:200]}"
    if outcome.seconds > ENDED_S_MAX:
        return f"took {outcome.seconds:.0f} s"
    if statement.expected == REFUSED and not outcome.error:
        return f"was answered: {outcome.answer[:200]}"
    return ""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(SLICES))
def test_no_hostile_statement_gets_through(runner: Runner, part: int) -> None:
    passed = [
        f"{statement} {wrong}"
        for statement in STATEMENTS[part::SLICES]
        if (wrong := got_through(statement, runner.run(statement)))
    ]
    assert not passed, "\n".join(passed)


def test_there_are_hostile_statements_of_every_sort() -> None:
    counts = {sort: sum(s.expected == sort for s in STATEMENTS) for sort in (REFUSED, HARMLESS, BOUNDED)}
    assert sum(counts.values()) == len(STATEMENTS) > 500
    assert min(counts.values()) > 40


def test_what_gets_through_is_noticed(runner: Runner) -> None:
    plain = runner.run(Statement(0, HARMLESS, "SELECT count(*) AS n FROM logs"))
    assert (plain.error, plain.answer, plain.changed) == ("", "{'n': [60]}", [])
    assert got_through(Statement(0, REFUSED, ""), plain) == "was answered: {'n': [60]}"
    echo = Statement(0, HARMLESS, "SELECT '{canary}' AS x")
    assert got_through(echo, runner.run(echo)).startswith("saw a secret")
    assert got_through(echo, Outcome("Unavailable")).startswith("ended with Unavailable")
    assert got_through(echo, Outcome("InvalidQuery", changed=["settings"])) == "changed settings"
