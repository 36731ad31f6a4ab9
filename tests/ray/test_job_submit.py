"""`ray job submit --working-dir .` from a checkout, on a Ray that was started for it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.checkout import checkout
from tests.support.ray_head import RayHead, ray_head

COMMANDS = """set -e
python -m malamute up --storage {here}/up
python -m malamute ingest --storage {here}/up logs {here}/events.ndjson --producer nightly
python -m malamute ingest --storage {here}/up logs {here}/events.ndjson --producer nightly
python -m malamute sql --storage {here}/up --format csv "SELECT count(*) AS c, sum(n) AS s FROM logs" > {here}/answer
python -m malamute down --storage {here}/up
"""


@pytest.fixture(scope="module")
def head() -> Iterator[RayHead]:
    with ray_head() as running:
        yield running


def submit(head: RayHead, directory: Path, *entry_point: str) -> str:
    """What `ray job submit` printed, perhaps without the job's last lines; the job must succeed."""
    done = subprocess.run(
        ["ray", "job", "submit", "--address", head.dashboard, "--working-dir", ".", "--", *entry_point],
        cwd=directory,
        env=head.environment,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def test_a_checkout_with_its_environment_and_history_is_submitted_and_loads(head, tmp_path):
    shipped = checkout(tmp_path / "malamute")
    for ignored in (".venv", ".git", "malamute-data"):
        (shipped / ignored).mkdir()
        with (shipped / ignored / "large").open("wb") as file:
            file.truncate(1 << 30)  # sparse: takes no room here, but is more than Ray ships
    report = tmp_path / "report.json"
    command = ("python", "-m", "malamute", "load", "--rate", "20_000", "--seconds", "2", "--report", str(report))
    output = submit(head, shipped, *command, "--storage", str(tmp_path / "data"))
    assert "succeeded" in output
    measured = json.loads(report.read_text(encoding="utf-8"))
    assert measured["verification"]["exact"] and measured["events"] == 40_000


def test_a_deployment_is_launched_used_and_ended_by_jobs(head, tmp_path):
    shipped = checkout(tmp_path / "malamute")
    (tmp_path / "events.ndjson").write_text("".join(f'{{"n": {n}}}\n' for n in range(1000)))
    (shipped / "commands.sh").write_text(COMMANDS.format(here=tmp_path))
    assert "succeeded" in submit(head, shipped, "bash", "commands.sh")
    assert (tmp_path / "answer").read_text(encoding="utf-8").splitlines()[1:] == [f"1000,{sum(range(1000))}"]
