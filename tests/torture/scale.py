"""A long campaign of changes of the number of shards: senders of all kinds, reads, and deaths of all, by seed.

python -m tests.torture.scale [courses] [first seed]
"""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.support.scaling import run


def main(courses: int = 500, first: int = 1_000) -> None:
    total: Counter[str] = Counter()
    started_s = time.monotonic()
    for seed in range(first, first + courses):
        try:
            total.update(run(seed, steps=80, merges=0.3))
        except BaseException:
            print(f"seed {seed} failed", flush=True)
            raise
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(total.items()))
    print(f"{courses} courses in {time.monotonic() - started_s:.0f} s, nothing lost, doubled or unseen: {counts}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
