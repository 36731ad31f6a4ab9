"""Owns hostile statements: the list in tests/scripts/hostile.txt, and a process that runs them and can be given up.

Run as a program it is that process: a statement per line of JSON comes in, what came of it goes out.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from core.errors import MalamuteError
from query.executor import Executor
from tests.unit.test_query_shards import Shards

SCRIPT: Final = Path(__file__).resolve().parents[1] / "scripts" / "hostile.txt"
REPOSITORY: Final = Path(__file__).resolve().parents[2]

CANARY: Final = "tweety-5f0a9c"
BUDGET_S: Final = 2.0
ENDED_S_MAX: Final = 20.0  # long texts take a while to read, on a busy machine
ANSWER_S_MAX: Final = 40.0  # of the process, which looks for changes too
EXECUTOR_BYTES: Final = 2**28
RESIDENT_BYTES_MAX: Final = 2**31  # of the process at its peak; the trees of long texts take most
RESIDENT_BYTES_KEPT: Final = 3 * 2**28  # a process that took more is not asked again: what comes next is not to blame
PROCESS_BYTES_MAX: Final = 2**33  # of addresses: what is beyond fails instead of taking the machine down
RESULT_BYTES_MAX: Final = 2**26

REFUSED, HARMLESS, BOUNDED = "refused", "harmless", "bounded"
REFUSALS: Final = {"InvalidQuery", "NotFound", "BudgetExceeded"}

_MACRO: Final = re.compile(r"<([^<>]*)\*(\d+)>|<(nul)>|<u:([0-9a-f]{4,5})>|<(<)\*(\d+)>")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the script with what it has to end in."""

    line: int
    expected: str
    text: str
    parameters: Any = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.text if len(self.text) < 150 else f'{self.text[:150]}…'}"


@dataclass(slots=True)
class Outcome:
    """What came of a statement: `error` is the name of its type, "" when it was answered."""

    error: str
    message: str = ""
    answer: str = ""
    seconds: float = 0.0
    resident_bytes: int = 0
    changed: list[str] = field(default_factory=list)


def statements() -> list[Statement]:
    """All statements of the script, which begins with comments; what stands in braces is left as it is."""
    found: list[Statement] = []
    expected = ""
    for number, line in enumerate(SCRIPT.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("-- "):
            expected = line[3:].partition(":")[0]
        elif line.startswith("  "):
            last = found[-1]
            found[-1] = Statement(last.line, expected, f"{last.text}\n{_written(line)}", last.parameters)
        elif line and expected:
            text, separator, parameters = line.partition(" @@ ")
            values = json.loads(_written(parameters)) if separator else None
            found.append(Statement(number, expected, _written(text), values))
    return found


def _written(line: str) -> str:
    def meant(part: re.Match[str]) -> str:
        if part[3]:
            return "\0"
        return chr(int(part[4], 16)) if part[4] else part[1] * int(part[2])

    return _MACRO.sub(meant, line)


class Runner:
    """Runs statements in a process of its own, which is replaced when it dies or does not answer in time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, statement: Statement) -> Outcome:
        """What comes of `statement`; error "Hang" or "Died" when nothing does."""
        process = self._process or self._start()
        assert process.stdin is not None and process.stdout is not None
        timer = threading.Timer(ANSWER_S_MAX, process.kill)
        timer.start()
        began_s = time.monotonic()
        try:
            process.stdin.write(json.dumps([statement.text, statement.parameters]) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            timer.cancel()
        if answer:
            outcome = Outcome(**json.loads(answer))
            if outcome.resident_bytes > RESIDENT_BYTES_KEPT:
                self.close()
            return outcome
        seconds = time.monotonic() - began_s
        self.close()
        return Outcome("Hang" if seconds >= ANSWER_S_MAX else "Died", seconds=seconds)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.support.query_hostile"],
            cwd=REPOSITORY,
            env={**os.environ, "MALAMUTE_CANARY": CANARY},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process


# -- inside of the process


class Target:
    """The streams of one tenant, and around them everything that a statement must not reach."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.secret = directory / "secret.csv"
        self.secret.write_text(f"a,b\n{CANARY},1\n", encoding="utf-8")
        segments = directory / "segments"
        segments.mkdir()
        self._executor = Executor(threads=2, memory_bytes=EXECUTOR_BYTES, data_directories=[str(segments)])
        self._mine = Shards(segments, self._executor)
        events = [{"id": ("int", n), "service": ("str", "web"), "ok": ("bool", True)} for n in range(60)]
        self._mine.add("logs", [dict(event) for event in events], parts=1)
        self._mine.add("traces", [{"id": ("int", n), "span": ("int", 7)} for n in range(9)], parts=1)
        self._other = Shards(segments, self._executor)
        self._other.add("payroll", [{"salary": ("int", 1), "name": ("str", CANARY)} for _ in range(9)], parts=1)
        assert CANARY in str(self._other.query("SELECT * FROM payroll").to_pylist())
        self._before = self._state()

    def run(self, text: str, parameters: Any) -> Outcome:
        """Run a statement as the tenant."""
        canary_frame = pa.table({"canary": [CANARY]})
        began_s = time.monotonic()
        try:
            found = self._mine.answer(
                self._placed(text), parameters, timeout_s=BUDGET_S, result_bytes_max=RESULT_BYTES_MAX
            )
            outcome = Outcome("", answer=str(found.table.slice(0, 1000).to_pydict())[:100_000])
        except MalamuteError as error:
            outcome = Outcome(type(error).__name__, str(error)[:5000])
        except (Exception, RecursionError) as error:
            outcome = Outcome(f"untyped {type(error).__name__}", str(error)[:500])
        outcome.seconds = time.monotonic() - began_s
        outcome.resident_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        after = self._state()
        outcome.changed = [name for name, value in after.items() if value != self._before[name]]
        self._before = after
        assert canary_frame.num_rows == 1
        return outcome

    def _placed(self, text: str) -> str:
        text = text.replace("{secret}", str(self.secret)).replace("{canary}", CANARY)
        return text.replace("{dir}", str(self.directory / "segments"))

    def _state(self) -> dict[str, str]:
        """Whatever a statement might change."""
        with self._executor.session() as session:
            asked = {
                "tables": "SELECT * FROM duckdb_tables()",
                "views": "SELECT view_name FROM duckdb_views() WHERE NOT internal",
                "settings": "SELECT name, value FROM duckdb_settings() ORDER BY name",
                "databases": "SELECT database_name, path FROM duckdb_databases() ORDER BY ALL",
                "functions": "SELECT count(*), count(*) FILTER (WHERE NOT internal) FROM duckdb_functions()",
                "types": "SELECT count(*) FROM duckdb_types() WHERE NOT internal",
            }
            state = {name: str(session.table(sql).to_pylist()) for name, sql in asked.items()}
        state["files"] = str(sorted(str(path) for path in self.directory.rglob("*")))
        state["environment"] = str(sorted(os.environ.items()))
        state["rows"] = str(self._mine.query("SELECT count(*), sum(id) FROM logs").to_pylist())
        return state


def main() -> None:
    """Answer statements until there are no more."""
    resource.setrlimit(resource.RLIMIT_AS, (PROCESS_BYTES_MAX, PROCESS_BYTES_MAX))
    with tempfile.TemporaryDirectory(prefix="malamute-hostile-") as directory:
        target = Target(Path(directory))
        for line in sys.stdin:
            outcome = target.run(*json.loads(line))
            names = Outcome.__dataclass_fields__
            print(json.dumps({name: getattr(outcome, name) for name in names}), flush=True)


if __name__ == "__main__":
    main()
