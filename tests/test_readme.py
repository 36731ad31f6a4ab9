"""The documents are true: the commands of README.md run, and every file, test and link that is named exists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.readme_table import BEGIN, END, HEADLINES, NOTHING, RESULTS, figures, headlines, replaced, table
from malamute.recorded import Records
from tests.support.checkout import checkout
from tests.support.ray_head import ray_head

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])

# What is not run, and why.
SKIPPED = {
    "make demo": "takes two minutes and sets up an environment; tests of the commands are in tests/unit/test_cli.py",
    "make test": "would run this test again",
    "ray up cluster.yaml": "needs machines; the file is checked against Ray's schema in test_settings.py",
}
# What is run on a Ray cluster that is there already, in this order.
SUBMIT = "ray job submit --working-dir . -- python -m malamute load --address auto"
CLUSTER = [
    "malamute up -c ray_config.yaml",
    SUBMIT,
    'store = malamute.connect("auto")',
    'store = malamute.connect("ray://host:10001")',
    "malamute down -c ray_config.yaml",
]
# What is run smaller than it is written.
SHORTENED = {
    "malamute load --rate 1_000_000 --seconds 60": "malamute load --rate 20_000 --seconds 1",
    SUBMIT: f"{SUBMIT} --rate 20_000 --seconds 1",
}

TEST_NAME = re.compile(r"\b((?:unit|ray|kill)/\w+\.py)::(\w+)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE = re.compile(
    r"(?<![\w/<.>])((?:malamute|cluster|actors|ingest|query|storage|core|tests|benchmarks|docs)/[\w./-]*)"
)


def blocks(language: str) -> list[list[str]]:
    """The lines of every code block of README.md in `language`."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [block.splitlines() for block in found]


def to_run(language: str) -> list[str]:
    """All lines of the blocks one after the other, without those that are skipped or need a cluster."""
    lines = [line for block in blocks(language) for line in block if line not in (*SKIPPED, *CLUSTER)]
    return [SHORTENED.get(line, line) for line in lines]


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """A process environment whose Rays and records lie in a short directory of its own; what was started is ended."""
    directory = Path(tempfile.mkdtemp(prefix="mlm-", dir="/tmp" if Path("/tmp").is_dir() else None))
    shutil.copy(ROOT / "ray_config.yaml", directory)
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "RAY_ADDRESS": "local",  # never join a Ray that happens to run on this machine
        "RAY_TMPDIR": str(directory),
        "XDG_STATE_HOME": str(directory / "state"),
        "HERE": str(directory),
    }
    yield {**os.environ, **own}
    for record in Records(directory / "state" / "malamute").all():
        if record.ray is not None:
            record.ray.end()
    shutil.rmtree(directory, ignore_errors=True)


def run(command: list[str], environment: dict[str, str]) -> str:
    """Standard output of a command that must succeed."""
    done = subprocess.run(
        command,
        cwd=environment["HERE"],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.ray
def test_python_of_the_readme_runs_and_prints_what_it_says(environment: dict[str, str]) -> None:
    lines = to_run("python")
    expected = [line.partition("  # ")[2] for line in lines if line.startswith(("print(", "    print("))]
    assert expected and all(expected)
    script = Path(environment["HERE"], "readme.py")
    script.write_text("\n".join(lines), encoding="utf-8")
    assert run([sys.executable, str(script)], environment).splitlines() == expected


@pytest.mark.slow
@pytest.mark.ray
def test_commands_of_the_readme_run(environment: dict[str, str]) -> None:
    commands = to_run("sh")
    assert commands[0] == "malamute up" and "malamute down" in commands
    output = run(["bash", "-ec", "\n".join(commands)], environment)
    assert "every one of 20,000 acknowledged events is there exactly once" in output
    assert "is flushed and stopped" in output
    assert Path(environment["HERE"], "cluster.yaml").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.ray
def test_the_cluster_part_of_the_readme_runs(tmp_path: Path) -> None:
    here = checkout(tmp_path / "malamute")
    config = here / "ray_config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace("address: null", "address: auto"), encoding="utf-8")
    up, job, auto, remote, down = CLUSTER
    with ray_head() as head:
        environment = {**head.environment, "PYTHONPATH": str(here), "HERE": str(here)}
        run(["bash", "-c", up], environment)
        # Its exit code is that of the load test; Ray does not always print the last lines of a job.
        assert "succeeded" in run(["bash", "-c", SHORTENED[job]], environment)
        for line in (auto, remote.replace("ray://host:10001", head.client)):
            code = f"import malamute\n{line}\nprint(store.status().events)"
            assert run([sys.executable, "-c", code], environment).split() == ["20000"]
        assert "is flushed and stopped" in run(["bash", "-c", down], environment)


def test_every_exception_is_in_the_readme() -> None:
    lines = [line for language in ("sh", "python") for block in blocks(language) for line in block]
    assert {*SKIPPED, *CLUSTER, *SHORTENED} <= set(lines)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = [link for link in LINK.findall(document.read_text(encoding="utf-8")) if "://" not in link]
    broken = [link for link in links if not (document.parent / link.partition("#")[0]).exists()]
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    named = {name.rstrip(".") for name in FILE.findall(document.read_text(encoding="utf-8"))}
    generated = {"docs/reliability/", "benchmarks/results/local"}
    missing = [name for name in named - generated if not (ROOT / name).exists() and "/adr/" not in name]
    assert missing == []


def test_tests_that_are_named_exist() -> None:
    named = {found for document in DOCUMENTS for found in TEST_NAME.findall(document.read_text(encoding="utf-8"))}
    assert len(named) > 50
    missing = [
        f"{file}::{name}"
        for file, name in sorted(named)
        if not re.search(rf"^def {name}\(", _text(ROOT / "tests" / file), re.MULTILINE)
    ]
    assert missing == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_the_index_names_every_decision() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    decisions = {path.name for path in (ROOT / "docs" / "adr").glob("*.md")}
    assert decisions == set(re.findall(r"\(adr/([^)]+)\)", index))


def test_the_table_takes_every_form_of_result(tmp_path: Path) -> None:
    figure = {"name": "a|b", "value": 1234.5, "unit": "ms", "target": "under 2,000"}
    where = {"commit": "0123456789abcdef+changes", "cpu_count": 2, "cpu": "X", "python": "3.11.7", "date": "2026-01-02"}
    load = {
        "report_version": 1,
        "commit": "unknown",
        "plan": {"rate_per_s": 0, "producers": 2, "shards": 2, "level": "local"},
        "verification": {"exact": False},
        "events": 5,
        "events_per_s": 2_000_000,
        "json_bytes_per_s": 600e6,
        "ack_ms": {"p50": 1.5, "p99": 20.25},
    }
    (tmp_path / "a.json").write_text(json.dumps({"benchmark": "one", **where, "values": [figure]}))
    (tmp_path / "b.json").write_text(json.dumps([{**where, "name": "flat", "value": 0.5}, load]))
    text = table(figures(tmp_path))
    assert "| one | a\\|b | 1,234 ms [1] | under 2,000 | 0123456789ab+changes |" in text
    assert "| b | flat | 0.5 [1] |  | 0123456789ab+changes |" in text
    assert "as fast as possible, 2 producers, 2 shards, level local" in text and "NOT EXACT" in text
    assert "Machine: [1] 2 cores X, Python 3.11.7, 2026-01-02; [2]" in text


def test_the_table_without_results_says_so_and_foreign_files_are_named(tmp_path: Path) -> None:
    assert table(figures(tmp_path)) == NOTHING
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ValueError, match=r"x\.json is no result"):
        figures(tmp_path)


def test_every_headline_was_measured() -> None:
    every = figures(RESULTS)
    assert len(headlines(every)) >= len(HEADLINES)
    with pytest.raises(ValueError, match="no result of write begins"):
        headlines([figure for figure in every if figure.benchmark != "write"])


def test_the_table_has_its_place_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    new = replaced(text, "NEW")
    assert f"{BEGIN}\nNEW\n{END}" in new and new.partition(BEGIN)[0] == text.partition(BEGIN)[0]
    with pytest.raises(ValueError, match="once each"):
        replaced(text + BEGIN, "NEW")
