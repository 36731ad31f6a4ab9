"""Days with new seeds, until one is wrong: python -m tests.torture.day [days] [first seed] [hours] [events per second].

A day with ten times the events takes about four times as long.
"""

from __future__ import annotations

import sys
import time

from tests.torture.day.campaign import EVENTS_PER_S, HOURS, simulated


def main(days: int, first: int, hours: float, rate: float) -> None:
    for seed in range(first, first + days):
        began_s, began_cpu_s = time.monotonic(), time.process_time()
        try:
            counts = simulated(seed, hours, rate)
        except BaseException:
            print(f"seed {seed} failed", flush=True)
            raise
        took = f"{time.process_time() - began_cpu_s:.0f} s of CPU, {time.monotonic() - began_s:.0f} s in all"
        print(f"seed {seed}, {took}: {', '.join(f'{count:,} {what}' for what, count in counts.items())}", flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    defaults = ("1", "1000", str(HOURS), str(EVENTS_PER_S))
    days, first, hours, rate = (*given, *defaults[len(given) :])
    main(int(days), int(first), float(hours), float(rate))
