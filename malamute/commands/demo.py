"""Owns `malamute demo`: a tour of what Malamute does, on this machine, with real events, and a shard killed on the way.

Everything lies in one temporary directory and ends with the command, unless the data are to be kept.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from core.append import LOCAL
from core.errors import InvalidRequest, NotFound
from malamute.client import Client
from malamute.commands.load import load_and_verify
from malamute.commands.sql import numeric_columns
from malamute.commands.store import Choice, Store, open_store
from malamute.demo_feed import LogFeed
from malamute.demo_queries import QUERIES, file_query
from malamute.display import (
    ACCENT,
    BAD,
    FAINT,
    count_text,
    output,
    remarks,
    result_table,
    rows_text,
    seconds_text,
    shards_table,
    table,
)
from malamute.display_load import proof, verdict_line
from malamute.git_history import commits
from malamute.loadgen import LoadPlan, LoadRun, default_batch_rows
from malamute.tail import Tail

COMMITS_MAX = 2_000
VOLUME = {"rate_per_s": 500_000, "seconds": 4.0}  # two million events
NUMBERED = {"rate_per_s": 100_000, "seconds": 12.0}
KILL_AT_S = 4.0
FEED_WAIT_S_MAX = 10.0


def run(files: Sequence[str], keep: str | None) -> bool:
    """Give the tour; returns whether every acknowledged event was found exactly once."""
    for file in files:
        if not Path(file).is_file():
            raise NotFound(f"there is no file {file!r}")
    if keep is not None and Path(keep).is_dir() and any(Path(keep).iterdir()):
        raise InvalidRequest(f"{keep} is not empty: keep the demo's data in a new directory")
    tour = _Tour(output(), remarks())
    with _directory() as directory:
        storage = keep or str(directory / "data")
        # Ray prints a long notice when the killed process dies.
        with contextlib.redirect_stdout(io.StringIO()):
            return tour.give(storage, directory / "ray" / "session_latest" / "logs", files, kept=keep)


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A temporary directory that Ray puts its own files into as well."""
    # Paths of Ray's sockets may have 107 characters: macOS' own temporary directories are too long.
    directory = Path(tempfile.mkdtemp(prefix="malamute-demo-", dir="/tmp" if Path("/tmp").is_dir() else None))
    os.environ["RAY_TMPDIR"] = str(directory)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@dataclass(slots=True)
class _Tour:
    """The demo's steps, in order."""

    out: Console
    err: Console
    steps: int = 0
    file_streams: list[str] = field(default_factory=list)

    def give(self, storage: str, log_directory: Path, files: Sequence[str], *, kept: str | None) -> bool:
        began = time.monotonic()
        self.say("Malamute stores events exactly once and answers SQL over all of them.", style="bold")
        self.say("This tour starts a small cluster, fills it, asks it, and then breaks it on purpose.")
        self.step("Start", "Ray and two shards on this machine; each shard has a write-ahead log of its own.")
        with open_store(Choice(storage=storage), self.err, create=True) as store:
            self.out.print(shards_table(store.client.status().shards))
            self.say(f"Up after {seconds_text(time.monotonic() - began)}.")
            feed = self.real_events(store.client, log_directory, files)
            self.volume(store)
            self.queries(store.client)
            exact = self.kill(store)
            lines = feed.stop()
            self.say(f"Meanwhile {count_text(lines)} lines of Ray's own logs have come in, kill and restart included.")
        self.ending(kept, time.monotonic() - began)
        return exact

    def real_events(self, client: Client, log_directory: Path, files: Sequence[str]) -> LogFeed:
        """Ray's log files as they grow, the history of the repository around, and the files that were named."""
        self.step("Real events", "Any shape, no schema: a stream appears with its first event.")
        made = table("stream", "events", "from", right=("events",))
        feed = LogFeed(client, Tail(log_directory), "ray_logs")
        history = commits(Path.cwd(), COMMITS_MAX)
        if history:
            receipt = client.write("commits", history)
            made.add_row("commits", count_text(receipt.accepted), "git log of the repository this runs in")
        for file in files:
            stream = stream_name(file)
            self.file_streams.append(stream)
            receipt = client.write(stream, file)
            rejected = f", {count_text(len(receipt.rejected))} rejected" if receipt.rejected else ""
            made.add_row(stream, count_text(receipt.accepted), Text(f"{file}{rejected}"))
        _wait_for_lines(feed)
        made.add_row("ray_logs", f"{count_text(feed.events)} …", "the log files of the Ray it runs on, followed live")
        self.out.print(made)
        if not history:
            self.say("This directory is in no git repository: its history is left out.")
        return feed

    def volume(self, store: Store) -> None:
        """A few million generated log events."""
        self.step("Volume", "Two producers send two million log events of a web shop; each append waits for the disk.")
        report, found = load_and_verify(store, _plan(VOLUME, "logs"), self.err)
        self.out.print(
            f"{count_text(report['events'])} events in {report['wall_s']:.1f} s: "
            f"[{ACCENT}]{count_text(report['events_per_s'])} events/s[/], "
            f"{report['json_bytes_per_s'] / 1e6:,.0f} MB/s as JSON, "
            f"acknowledged after {seconds_text(report['ack_ms']['p50'] / 1000)} (median)",
            soft_wrap=True,
        )
        self.out.print(verdict_line(found))

    def queries(self, client: Client) -> None:
        """A handful of questions."""
        self.step("Questions", "Plain SQL over everything that was acknowledged until just now.")
        streams = client.streams()
        for query in (*QUERIES, *(file_query(stream) for stream in dict.fromkeys(self.file_streams))):
            if not all(stream in streams for stream in query.streams):
                continue
            self.out.print(Text(query.title))
            sql = textwrap.indent(query.sql.rstrip(), "  ")
            self.out.print(Syntax("", "sql", theme="ansi_light", background_color="default").highlight(sql))
            started = time.monotonic()
            result = client.sql(query.sql)
            seconds = time.monotonic() - started
            self.out.print(result_table(result.columns, result, numeric_columns(result)))
            self.say(f"{rows_text(len(result))} in {seconds_text(seconds)}")
            self.out.print()

    def kill(self, store: Store) -> bool:
        """Numbered events, a SIGKILL in their middle, and the count."""
        self.step(
            "Break it",
            f"{count_text(NUMBERED['rate_per_s'])} numbered events a second; after {KILL_AT_S:.0f} s one shard's "
            f"process gets a SIGKILL. Producers send again what was not acknowledged.",
        )
        before = {shard["shard"]: shard for shard in store.client.status().shards}
        victim = before[max(before)]
        killer = _Killer(victim["pid"], lambda: self.err.print(f"SIGKILL to process {victim['pid']}", style=BAD))
        report, found = load_and_verify(store, _plan(NUMBERED, "numbered"), self.err, on_tick=killer.tick)
        after = next(shard for shard in store.client.status().shards if shard["shard"] == victim["shard"])
        made = table(
            "shard", "", "pid", "epoch", "events", "replayed", right=("shard", "pid", "epoch", "events", "replayed")
        )
        for label, numbers in (("before", victim), ("after", after)):
            replayed = count_text(numbers["replayed_rows"])
            made.add_row(
                str(victim["shard"]),
                label,
                str(numbers["pid"]),
                str(numbers["epoch"]),
                count_text(numbers["events"]),
                replayed,
            )
        self.out.print(made)
        self.say(
            f"The longest that a batch waited, from when it was due to its acknowledgement: "
            f"{seconds_text(report['due_ms']['max'] / 1000)}."
        )
        if report["duplicates"]:
            self.say(
                f"{count_text(report['duplicates'])} events were sent again because their acknowledgement was lost, "
                f"and were stored once."
            )
        self.out.print()
        self.out.print(proof(found))
        return bool(report["verification"]["exact"]) and killer.killed

    def ending(self, kept: str | None, seconds: float) -> None:
        """Where to go from here."""
        self.step("Next", f"That took {seconds_text(seconds)}. Nothing is left running.")
        where = f" --storage {kept}" if kept else ""
        if kept:
            self.say(f"The data are in {kept}.", style="")
        grid = Table.grid(padding=(0, 3))
        for command, what in (
            (f"malamute up{where}", "a deployment that stays"),
            (f"malamute ingest{where} mine FILE.ndjson", "store your own events"),
            (f'malamute sql{where} "SELECT count(*) FROM mine"', "ask"),
            ("malamute load --rate 1_000_000", "see what this machine can take"),
        ):
            grid.add_row(Text(f"  {command}", style=ACCENT), Text(what, style=FAINT))
        self.out.print(grid)

    def step(self, title: str, text: str) -> None:
        """The heading of a step."""
        self.steps += 1
        self.out.print()
        self.out.print(f"[bold {ACCENT}]{self.steps}[/]  [bold]{title}[/]")
        self.say(text)
        self.out.print()

    def say(self, text: str, style: str = FAINT) -> None:
        """A sentence of explanation."""
        self.out.print(Text(text, style=style))


class _Killer:
    """Kills one process when the load has run for KILL_AT_S."""

    def __init__(self, pid: int, say: Callable[[], None]) -> None:
        self._pid = pid
        self._say = say
        self.killed = False

    def tick(self, run: LoadRun) -> None:
        """Called a few times a second."""
        if not self.killed and run.elapsed_s >= KILL_AT_S:
            os.kill(self._pid, signal.SIGKILL)
            self.killed = True
            self._say()


def stream_name(file: str) -> str:
    """A legal stream name made of a file's name: logs/Web-1.ndjson.gz → "web-1"."""
    stem = Path(file).name.partition(".")[0].lower()
    name = re.sub(r"[^a-z0-9_-]+", "_", stem).strip("_-")[:60]
    return name if name[:1].isalpha() else f"file_{name}"[:63]


def _plan(what: Mapping[str, float], stream: str) -> LoadPlan:
    return LoadPlan(
        rate_per_s=what["rate_per_s"],
        seconds=what["seconds"],
        producers=2,
        batch_rows=default_batch_rows(what["rate_per_s"], 2),
        level=LOCAL,
        stream=stream,
    )


def _wait_for_lines(feed: LogFeed) -> None:
    deadline = time.monotonic() + FEED_WAIT_S_MAX
    while feed.events == 0 and time.monotonic() < deadline:
        time.sleep(0.1)
