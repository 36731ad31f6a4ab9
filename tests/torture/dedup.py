"""A long campaign of dedup by id: crashes after random operations of random lives, each checked against the model.

python -m tests.torture.dedup [campaigns] [first seed]
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import asdict

from tests.support.dedup_campaign import Campaign


def main(campaigns: int = 500, first: int = 1_000) -> None:
    total: Counter[str] = Counter()
    started_s = time.monotonic()
    for seed in range(first, first + campaigns):
        try:
            total.update(asdict(Campaign(seed).run(lives=4, steps=25)))
        except BaseException:
            print(f"seed {seed} failed", flush=True)
            raise
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(total.items()))
    print(f"{campaigns} campaigns in {time.monotonic() - started_s:.0f} s, none differed from the model: {counts}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
