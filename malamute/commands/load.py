"""Owns `malamute load`: the load test, its proof, its report."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import InvalidRequest, NotFound
from core.ids import check_name
from malamute.commands.store import Choice, Store, open_store
from malamute.display import ACCENT, output, remarks
from malamute.display_load import live_load, proof, summary
from malamute.load_report import json_bytes_per_event, load_report
from malamute.load_verify import Found, verify
from malamute.loadgen import LoadPlan, LoadRun, default_batch_rows, run_load


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for; None = the default."""

    rate_per_s: int
    seconds: float
    producers: int
    shape: str
    batch_rows: int | None
    durability: str | None
    stream: str

    def plan(self, level: str) -> LoadPlan:
        """The plan of it, at `level` when no durability was asked for."""
        return LoadPlan(
            rate_per_s=self.rate_per_s,
            seconds=self.seconds,
            producers=self.producers,
            batch_rows=self.batch_rows or default_batch_rows(self.rate_per_s, self.producers),
            level=self.durability or level,
            stream=check_name("stream", self.stream),
            shape=self.shape,
        )


def run(choice: Choice, asked: Asked, report_path: str | None) -> bool:
    """Load, prove, report; returns whether the store holds exactly what it acknowledged."""
    if choice.address is not None and choice.address.startswith("ray://"):
        raise InvalidRequest("a load test runs on the cluster: call it on one of its nodes, with --address auto")
    asked.plan("local")
    if report_path is not None and not Path(report_path).absolute().parent.is_dir():
        raise NotFound(f"there is no directory for the report {report_path!r}: make it, or name another")
    out, err = output(), remarks()
    with open_store(choice, err, create=True) as store:
        report, found = load_and_verify(store, asked.plan(store.durability), err)
    out.print(summary(report))
    out.print()
    out.print(proof(found))
    if report_path is not None:
        Path(report_path).write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
        err.print(f"report in {report_path}", markup=False, soft_wrap=True)
    return bool(report["verification"]["exact"])


def load_and_verify(
    store: Store, plan: LoadPlan, err: Console, on_tick: Callable[[LoadRun], None] = lambda run: None
) -> tuple[dict[str, Any], list[Found]]:
    """Run the plan with a live view, prove it by query; returns the report and what was found.

    `on_tick` is called a few times a second with the run so far.
    """
    json_bytes = json_bytes_per_event(plan.shape, plan.seed)
    began, run_id = datetime.now(UTC), uuid.uuid4().hex[:12]
    with live_load(err, json_bytes) as show:

        def tick(run: LoadRun) -> None:
            show(run)
            on_tick(run)

        finished = run_load(store.client, store.deployment, plan, run_id, tick)
    found = verify_with_progress(store, finished, err)
    return load_report(finished, found, store.settings, began), found


def verify_with_progress(store: Store, finished: LoadRun, err: Console) -> list[Found]:
    """Ask the store for everything that was acknowledged."""
    columns: Sequence[Any] = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40, complete_style=ACCENT, finished_style=ACCENT),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as progress:
        task = progress.add_task("counting every event", total=1.0)
        return verify(
            store.client,
            finished.plan.stream,
            finished.run_id,
            finished.series.events,
            lambda share: progress.update(task, completed=share),
        )
