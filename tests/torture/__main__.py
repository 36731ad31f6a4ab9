"""`make torture`: every campaign with new seeds, each for its share of the time; the table goes to docs/reliability/.

    python -m tests.torture --minutes 20
    python -m tests.torture --only T4,T7 --seed 5

Ends with 1 when anything was found wrong. With --only no table is written: it would miss the others.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.regressions import seeds
from tests.torture.figures import FIGURES, Figure
from tests.torture.report import write_table
from tests.torture.rounds import FAILED, Result, run

MINUTES_DEFAULT = 4.0


def main(minutes: float, seed: int, only: set[str]) -> int:
    chosen = [figure for figure in FIGURES if not only or {figure.id, figure.name} & only]
    unknown = only - {figure.id for figure in FIGURES} - {figure.name for figure in FIGURES}
    if unknown:
        known = ", ".join(dict.fromkeys(figure.id for figure in FIGURES))
        print(f"no such figure: {', '.join(sorted(unknown))}; there are {known}")
        return 2
    if minutes <= 0 or seed < 0:
        print(f"{minutes:g} minutes from seed {seed} cannot be run: give more than 0 minutes and a seed of at least 0")
        return 2
    print(f"seeds from {seed}, {minutes:g} minutes, at least one round of each", flush=True)
    weights = sum(figure.weight for figure in chosen if figure.campaign)
    began_s = time.monotonic()
    results = [_shown(run(figure, seed, 60 * minutes * figure.weight / max(weights, 1))) for figure in chosen]
    failed = [result for result in results if result.state == FAILED]
    for result in failed:
        if result.figure.seeded:
            seeds.keep(result.figure.name, result.wrong_seed, result.reason)
    if not only:
        print(f"table: {write_table(results, seed, minutes, time.monotonic() - began_s)}")
    if failed:
        names = ", ".join(f'"{result.figure.name}" {result.wrong_seed}' for result in failed)
        print(
            f"wrong: {names}; replay each with python -m tests.torture.one_round, commit {seeds.PATH.name} with the fix"
        )
    return int(bool(failed))


def _shown(result: Result) -> Result:
    figure: Figure = result.figure
    line = f"{figure.name:11} {result.state:8} {figure.what}: {result.done() or result.reason}"
    print(f"{line}  [{result.rounds} rounds, {result.seconds:.0f} s]" if result.rounds else line, flush=True)
    if result.state == FAILED:
        print(f"{'':11} seed {result.wrong_seed}: {result.reason}", flush=True)
    return result


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(
        prog="python -m tests.torture", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--minutes", type=float, default=MINUTES_DEFAULT)
    arguments.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments.add_argument("--only", default="", help="ids or names, as in T4,T7 or 'T1 wal'")
    given = arguments.parse_args()
    sys.exit(main(given.minutes, given.seed, {name.strip() for name in given.only.split(",") if name.strip()}))
