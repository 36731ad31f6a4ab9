"""Owns docs/reliability/latest.md: the table of a whole run, with what was skipped and what has no campaign."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.record import provenance
from tests.torture.rounds import FAILED, MISSING, PASSED, SKIPPED, Result

TABLE = Path(__file__).resolve().parents[2] / "docs" / "reliability" / "latest.md"


def write_table(results: Sequence[Result], seed: int, minutes: float, seconds: float, path: Path = TABLE) -> Path:
    """Write the table; returns its path."""
    path.write_text(table(results, seed, minutes, seconds), encoding="utf-8")
    return path


def table(results: Sequence[Result], seed: int, minutes: float, seconds: float) -> str:
    """The whole page."""
    made = provenance()
    states = {state: sum(result.state == state for result in results) for state in (PASSED, FAILED, SKIPPED, MISSING)}
    lines = [
        "# The figures of a run",
        "",
        "Written by `make torture`, not by hand; [README.md](README.md) says how to read it.",
        "",
        f"{states[PASSED]} passed, {states[FAILED]} failed, {states[SKIPPED]} skipped, {states[MISSING]} not run: "
        "there is no campaign for them.",
        "",
        f"Commit {made['commit']}, {made['date']}, Python {made['python']}, {made['cpu_count']} × {made['cpu']}.",
        f"Seeds from {seed}; {minutes:g} minutes asked for, {seconds / 60:.1f} taken.",
        "",
        "| id | what | done | found wrong | rounds | seconds | ends where |",
        "|---|---|---|---|---|---|---|",
        *(_row(result) for result in results if result.state in (PASSED, FAILED)),
        "",
        "## Skipped on this machine",
        "",
        *_reasons(results, SKIPPED),
        "",
        "## Not run: no campaign",
        "",
        *_reasons(results, MISSING),
    ]
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    wrong = "0" if result.state == PASSED else f"**seed {result.wrong_seed}: {_cell(result.reason)}**"
    figure = result.figure
    cells = (figure.name, figure.what, result.done(), wrong, str(result.rounds), f"{result.seconds:.0f}", figure.ends)
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """One line of a table cell."""
    first = text.strip().splitlines()[0] if text.strip() else ""
    return first[:200].replace("|", "\\|")


def _reasons(results: Sequence[Result], state: str) -> list[str]:
    found = [
        f"- {result.figure.name}, {result.figure.what}: {result.reason}" for result in results if result.state == state
    ]
    return found or ["Nothing."]
