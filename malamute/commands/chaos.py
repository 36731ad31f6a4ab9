"""Owns `malamute chaos`: faults for a running test deployment, and a table of what came of them."""

from __future__ import annotations

import statistics
import time

from rich.text import Text

from cluster.faults import CutTransport
from core.errors import InvalidRequest
from malamute.chaos import Report, process_faults
from malamute.chaos import run as run_chaos
from malamute.client import Client
from malamute.commands.store import Choice, open_store
from malamute.display import BAD, GOOD, count_text, output, remarks, seconds_text, table


def run(choice: Choice, seed: int | None, seconds: float, *, is_test_cluster: bool) -> bool:
    """Do it; returns whether everything that was acknowledged is there, once and in order."""
    if not is_test_cluster:
        raise InvalidRequest(
            "chaos kills and stops the processes of a deployment, its users feel it, and the events it writes stay: "
            "run it on a test cluster, and say so with --yes-this-is-a-test-cluster"
        )
    if seconds <= 0:
        raise InvalidRequest(f"{seconds:g} seconds are not allowed: give more than 0")
    seed = time.time_ns() % 1_000_000 if seed is None else seed
    out, err = output(), remarks()
    with open_store(choice, err, create=False) as store:
        transport = CutTransport(store.deployment, seed)
        client = Client(transport, "default", store.durability, lambda: None)
        stream = f"chaos_{seed}_{int(time.time())}"
        err.print(f"seed {seed}: {seconds:g} s of faults on {store.where}, events in {stream}", soft_wrap=True)
        report = run_chaos(client, stream, process_faults(client, transport), seed, seconds)
    out.print(_faults_table(report))
    out.print()
    out.print(
        f"{count_text(report.sent)} events sent, {count_text(report.acknowledged)} acknowledged, "
        f"{count_text(report.reads)} answers checked, {count_text(report.failed_reads)} queries failed typed",
        soft_wrap=True,
    )
    good = not report.findings.counts
    wrong = Text("nothing lost, unseen, doubled or out of order", GOOD) if good else Text(str(report.findings), BAD)
    out.print(wrong, soft_wrap=True)
    return good


def _faults_table(report: Report) -> object:
    made = table(
        "fault", "times", "served again: median", "longest", right=("times", "served again: median", "longest")
    )
    for name, back_s in report.back_s.items():
        times = [seconds_text(statistics.median(back_s)), seconds_text(max(back_s))] if back_s else ["", ""]
        made.add_row(name, str(len(back_s)), *times)
    return made
