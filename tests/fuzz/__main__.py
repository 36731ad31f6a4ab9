"""`make fuzz`: every target for its share of MINUTES, guided by atheris where that is installed, else by chance alone.

A failure (crash, hang, difference) ends it and names the input; new inputs worth keeping are left in build/fuzz.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

DIRECTORY = Path("build/fuzz")
INPUTS_AT_A_TIME = 5000


def main(minutes: float) -> int:
    seed = int(os.environ.get("MALAMUTE_SEED", time.time_ns() % 1_000_000))
    if importlib.util.find_spec("atheris") is None:
        print(f"atheris is not installed (it has wheels for Linux on x86-64): seeded inputs instead, seed {seed}")
        return by_chance(seed, time.monotonic() + 60 * minutes)
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name in TARGETS:
        seconds = max(1, int(60 * minutes / len(TARGETS)))
        command = [sys.executable, "-m", "tests.fuzz.guided", name, str(seconds), str(DIRECTORY), str(seed)]
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"{name}: FAILED with code {code}; the input is {DIRECTORY}/{name}-crash-… or -timeout-…")
            return 1
        print(f"{name}: {seconds} s, every answer was the reference's", flush=True)
    return 0


def by_chance(seed: int, deadline_s: float) -> int:
    """Seeded inputs, a process for each few thousand, until the time is up."""
    first = 0
    while first == 0 or time.monotonic() < deadline_s:
        command = [sys.executable, "-m", "tests.fuzz.replay", str(seed), str(INPUTS_AT_A_TIME), str(first)]
        code = subprocess.run(command, check=False).returncode
        if code:
            print(f"FAILED with code {code}, seed {seed}, in the {INPUTS_AT_A_TIME} steps from {first}")
            return 1
        first += INPUTS_AT_A_TIME
    return 0


if __name__ == "__main__":
    sys.exit(main(float(os.environ.get("MINUTES", "2"))))
