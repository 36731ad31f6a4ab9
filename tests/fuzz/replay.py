"""`python -m tests.fuzz.replay SEED COUNT [FIRST]`: the stored corpus and COUNT seeded inputs behind the fence.

A process of its own, because a wrong address ends it. It says which step it is at in the file that MALAMUTE_FUZZ_STEP
names, so that whoever started it can name the input: the same SEED, COUNT 1 and FIRST = that step run it again.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

from tests.fuzz.fence import raise_fence
from tests.fuzz.mutate import INTERESTING, INTERESTING_PACKED, events, mutated, packed_events
from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).resolve().parent / "corpus"
SECONDS_PER_STEP_MAX = 120.0  # the first one compiles kernels


def main(seed: int, count: int, first: int = 0) -> int:
    faulthandler.enable()
    rubbish = Random(seed)
    raise_fence(lambda: rubbish.choice(b'"{[,:}\xff\x00\x5a'))
    marker = os.environ.get("MALAMUTE_FUZZ_STEP")
    progress = os.open(marker, os.O_WRONLY) if marker else None
    steps = 0
    for step, name, data in inputs(seed, count, first):
        if progress is not None:
            os.pwrite(progress, f"{step:>12}".encode(), 0)
        faulthandler.dump_traceback_later(SECONDS_PER_STEP_MAX, exit=True)
        try:
            found = TARGETS[name](data)
        except Exception:
            print(f"{name}, seed {seed}, step {step}:\n{data!r}", flush=True)
            raise
        if found:
            print(f"{name}, seed {seed}, step {step}: {found}\n{data!r}")
            return 1
        steps += 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{steps} inputs: every answer is the reference's")
    return 0


def inputs(seed: int, count: int, first: int) -> Iterator[tuple[int, str, bytes]]:
    """(step, target, input); steps below 0 are the corpus as it is, which `first` = 0 includes."""
    corpus = {name: [path.read_bytes() for path in sorted((CORPUS / name).iterdir())] for name in TARGETS}
    if first <= 0:
        stored = [(name, data) for name, files in corpus.items() for data in files]
        yield from ((index - len(stored), name, data) for index, (name, data) in enumerate(stored))
    for step in range(max(first, 0), first + count):
        rng = Random(seed << 32 | step)
        name = rng.choice(list(TARGETS))
        made, parts = (packed_events, INTERESTING_PACKED) if name == "packed" else (events, INTERESTING)
        start = made(rng) if rng.random() < 0.4 else rng.choice(corpus[name])[1:]
        data = start if rng.random() < 0.15 else mutated(rng, start, rng.choice(corpus[name]), parts)
        yield step, name, bytes([rng.randrange(256)]) + data


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
