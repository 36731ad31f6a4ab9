"""Owns how a load test looks: the live view, one line a few seconds when there is no terminal, and the summary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from malamute.display import (
    ACCENT,
    BAD,
    FAINT,
    GOOD,
    bytes_text,
    count_text,
    plain_lines,
    seconds_text,
    shards_table,
    short_text,
    sparkline,
    table,
)
from malamute.load_series import percentile_s
from malamute.load_verify import Found
from malamute.loadgen import LoadRun

RECENT_S = 3
LINE_EVERY_S = 5.0
SPARK_SECONDS = 60
RATE_WIDTHS = (18, 18, 18, 13)


@contextmanager
def live_load(err: Console, json_bytes: float) -> Iterator[Callable[[LoadRun], None]]:
    """Gives a function that shows the run as it is now; what was shown stays when the run is over."""
    if not err.is_terminal:
        yield _Lines(err, json_bytes).show
        return
    with Live(console=err, refresh_per_second=4, transient=True, redirect_stdout=False) as live:
        yield lambda run: live.update(load_view(run, json_bytes))


def load_view(run: LoadRun, json_bytes: float) -> RenderableType:
    """The live view of one moment."""
    plan, series = run.plan, run.series
    clock = Table.grid(padding=(0, 2))
    clock.add_row(
        Text(plan.stream, style="bold"),
        ProgressBar(total=plan.seconds, completed=min(run.elapsed_s, plan.seconds), width=40, complete_style=ACCENT),
        Text(f"{run.elapsed_s:.0f} of {plan.seconds:.0f} s"),
        Text(
            f"{_offered(run)}, {plan.producers} producers, {count_text(plan.batch_rows)} a batch, {plan.level}", FAINT
        ),
    )
    # The running second is not full yet.
    full_seconds = [second.events for second in series.seconds[: int(run.elapsed_s)]]
    spark = Text.assemble((sparkline(full_seconds, SPARK_SECONDS), ACCENT), ("  events each second", FAINT))
    return Group(clock, Text(), _rates(run, json_bytes), Text(), spark, Text(), shards_table(run.status))


def _rates(run: LoadRun, json_bytes: float) -> Table:
    series = run.series
    recent = series.recent(run.elapsed_s, RECENT_S)
    seconds = max(1, min(RECENT_S, int(run.elapsed_s)))
    made = table("", "now", "mean", "total", right=("now", "mean", "total"))
    for column, width in zip(made.columns, RATE_WIDTHS, strict=True):
        column.min_width = width  # numbers that grow must not make the view jump
    now, mean = recent.events / seconds, series.events_per_s
    made.add_row("events", f"{short_text(now)}/s", f"{short_text(mean)}/s", count_text(series.total_events))
    made.add_row(
        "as JSON",
        f"{bytes_text(now * json_bytes)}/s",
        f"{bytes_text(mean * json_bytes)}/s",
        bytes_text(series.total_events * json_bytes),
    )
    arrow_mean = series.arrow_bytes / series.wall_s if series.wall_s else 0.0
    made.add_row(
        "as Arrow",
        f"{bytes_text(recent.arrow_bytes / seconds)}/s",
        f"{bytes_text(arrow_mean)}/s",
        bytes_text(series.arrow_bytes),
    )
    for name, values, all_values in (
        ("acknowledged after", recent.since_sent_s, series.since_sent_s()),
        ("… since it was due", recent.since_due_s, series.since_due_s()),
    ):
        made.add_row(name, _p50_p99(values), _p50_p99(all_values), "p50 · p99")
    return made


def _p50_p99(values: Sequence[float]) -> str:
    return f"{seconds_text(percentile_s(values, 50))} · {seconds_text(percentile_s(values, 99))}" if values else "–"


def _offered(run: LoadRun) -> str:
    return f"{short_text(run.plan.rate_per_s)}/s offered" if run.plan.rate_per_s else "as fast as possible"


class _Lines:
    """The live view for logs and pipes."""

    def __init__(self, err: Console, json_bytes: float) -> None:
        self._err = err
        self._json_bytes = json_bytes
        self._next_s = LINE_EVERY_S

    def show(self, run: LoadRun) -> None:
        if run.elapsed_s < self._next_s:
            return
        self._next_s = run.elapsed_s + LINE_EVERY_S
        recent = run.series.recent(run.elapsed_s, int(LINE_EVERY_S))
        rate = recent.events / LINE_EVERY_S
        memory = sum(shard.get("rss_bytes", 0) for shard in run.status)
        self._err.print(
            f"{run.elapsed_s:4.0f} s  {short_text(rate)} events/s  {bytes_text(rate * self._json_bytes)}/s JSON  "
            f"{count_text(run.series.total_events)} acknowledged  ack {_p50_p99(recent.since_sent_s)}  "
            f"shards hold {bytes_text(memory)}"
        )


def summary(report: Mapping[str, Any]) -> Table:
    """The result of a load test in a few lines."""
    ack, due = report["ack_ms"], report["due_ms"]
    plan, machine = report["plan"], report["machine"]
    offered = f"{short_text(plan['rate_per_s'])} events/s offered" if plan["rate_per_s"] else "as fast as possible"
    sizes = f"{bytes_text(report['json_bytes_per_s'])}/s as JSON, {bytes_text(report['arrow_bytes_per_s'])}/s as Arrow"
    memory = " + ".join(bytes_text(size) for size in report["shard_memory_bytes_max"].values())
    return plain_lines(
        [
            (
                "acknowledged",
                f"{count_text(report['events'])} events in {report['wall_s']:.1f} s, durability {plan['level']}",
            ),
            ("sustained", Text(f"{count_text(report['events_per_s'])} events/s", style="bold")),
            ("", sizes),
            ("offered", f"{offered} by {plan['producers']} producers on {plan['shards']} shards"),
            ("acknowledged after", _latencies(ack)),
            ("… since it was due", _latencies(due)),
            ("shard memory", f"{memory} at most"),
            ("duplicates", f"{count_text(report['duplicates'])} (answers that were lost and asked for again)"),
            ("machine", f"{machine['cpus']} CPUs, {machine['processor']}"),
        ]
    )


def _latencies(summary_ms: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {seconds_text(summary_ms[name] / 1000)}" for name in ("p50", "p90", "p99", "max"))


def proof(found: Sequence[Found]) -> RenderableType:
    """What was sent and what is there, and the verdict."""
    columns = ("producer", "acknowledged", "count", "distinct", "min", "max", "sum")
    made = table(*columns, "", right=columns)
    for item in found:
        numbers = (item.acknowledged, item.count, item.distinct, item.min, item.max, item.sum)
        verdict = Text("exact", style=GOOD) if item.exact else Text("NOT EXACT", style=BAD)
        texts = ("–" if number is None else count_text(number) for number in numbers)
        made.add_row(str(item.producer), *texts, verdict)
    return Group(made, Text(), verdict_line(found))


def verdict_line(found: Sequence[Found]) -> Text:
    """One sentence on whether the store holds exactly what it acknowledged."""
    acknowledged, count = sum(item.acknowledged for item in found), sum(item.count for item in found)
    if all(item.exact for item in found):
        return Text(f"every one of {count_text(acknowledged)} acknowledged events is there exactly once", style=GOOD)
    return Text(
        f"{count_text(acknowledged)} events were acknowledged, but the store holds {count_text(count)}", style=BAD
    )
