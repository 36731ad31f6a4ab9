"""Owns running a figure: one seed after the other until its time is up. Never lets a failure pass as a skip."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

from tests.support.power_cut import NotPossible
from tests.torture.campaigns import Campaign, Counts
from tests.torture.figures import Figure

PASSED: Final = "passed"
FAILED: Final = "FAILED"
SKIPPED: Final = "skipped"  # this machine lacks what it needs
MISSING: Final = "not run"  # there is no campaign

ROUND_S_MAX: Final = 1_200  # a round that takes longer hangs


@dataclass(slots=True)
class Result:
    """What came of a figure: `counts` of all good rounds; `reason` of what is not passed; the seed that failed."""

    figure: Figure
    state: str = PASSED
    counts: Counter[str] = field(default_factory=Counter)
    rounds: int = 0
    seconds: float = 0.0
    reason: str = ""
    wrong_seed: int = -1

    def done(self) -> str:
        """The denominators in words."""
        return ", ".join(f"{count:,} {what}" for what, count in self.counts.items())


def run(figure: Figure, first_seed: int, seconds: float) -> Result:
    """Run rounds of `figure` until `seconds` are over or one fails; at least one."""
    if figure.campaign is None:
        return Result(figure, MISSING, reason=figure.missing)
    result = Result(figure)
    began_s = time.monotonic()
    while result.rounds == 0 or time.monotonic() - began_s < seconds:
        seed = first_seed + result.rounds
        try:
            result.counts.update(one_round(figure.campaign, seed))
        except NotPossible as error:
            result.state, result.reason = SKIPPED, str(error)
            break
        except Exception as error:  # a campaign may find anything: all of it is a finding
            result.state, result.wrong_seed = FAILED, seed
            result.reason = f"{type(error).__name__}: {error}"
            break
        result.rounds += 1
    result.seconds = time.monotonic() - began_s
    return result


def one_round(campaign: Campaign, seed: int) -> Counts:
    """Run a campaign once; raises what it finds wrong, TimeoutError when it hangs."""
    with _at_most(ROUND_S_MAX):
        return campaign(seed)


@contextmanager
def _at_most(seconds: int) -> Iterator[None]:
    def hung(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"a round takes longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, hung)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
