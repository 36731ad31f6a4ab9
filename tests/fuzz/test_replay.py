"""The stored corpus and seeded inputs, in a process of their own behind the fence (`make fuzz` goes on longer)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fuzz.replay import inputs
from tests.support.checkout import REPOSITORY

SEED = int(os.environ.get("MALAMUTE_SEED", "1"))
INPUTS = 1000
SECONDS_MAX = 170.0


def run(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], str]:
    """(the process, the last step it began)."""
    marker = tmp_path / "step"
    marker.write_text("none")
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=REPOSITORY,
        env=os.environ | {"MALAMUTE_FUZZ_STEP": str(marker)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    return done, marker.read_text().strip()


def test_seeded_inputs_neither_crash_nor_differ(tmp_path: Path) -> None:
    done, step = run(tmp_path, "tests.fuzz.replay", str(SEED), str(INPUTS))
    again = f"python -m tests.fuzz.replay {SEED} 1 {step}"
    assert done.returncode == 0, f"step {step}, run `{again}` again:\n{done.stdout}\n{done.stderr}"
    assert int(done.stdout.split()[0]) >= INPUTS


@pytest.mark.parametrize("past_the_end", [True, False])
def test_the_fence_makes_a_wrong_address_a_crash(tmp_path: Path, past_the_end: bool) -> None:
    program = (
        "import numpy as np; from tests.fuzz.fence import fenced; array = fenced(np.arange(100));"
        f"from ctypes import string_at; string_at(array.ctypes.data + array.nbytes {'' if past_the_end else '- 1'}, 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, check=False)
    assert (done.returncode < 0) == past_the_end


def test_a_step_says_the_same_wherever_it_begins() -> None:
    every = {step: (name, data) for step, name, data in inputs(SEED, 50, 0)}
    assert min(every) < 0
    for first in (7, 49):
        ((step, name, data),) = inputs(SEED, 1, first)
        assert (name, data) == every[step]
    assert len({data for _, data in every.values()}) > 40
