"""Runs one round of one figure and prints what it did, or why it failed: the replay of a seed.

python -m tests.torture.one_round "T1 wal" 4711
"""

from __future__ import annotations

import sys

from tests.torture.figures import BY_NAME
from tests.torture.rounds import one_round

if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in BY_NAME or not sys.argv[2].isdecimal():
        sys.exit(f"{__doc__}\nnames: {', '.join(name for name, figure in BY_NAME.items() if figure.campaign)}")
    campaign = BY_NAME[sys.argv[1]].campaign
    if campaign is None:
        sys.exit(f"{sys.argv[1]} is not run: {BY_NAME[sys.argv[1]].missing}")
    print(", ".join(f"{count:,} {what}" for what, count in one_round(campaign, int(sys.argv[2])).items()))
