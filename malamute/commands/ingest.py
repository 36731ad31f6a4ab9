"""Owns `malamute ingest`: files into a stream, with a progress bar, and a clear word on what was rejected."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
from rich.text import Text

from cluster.transport import Transport
from core.clock import SystemClock
from core.errors import NotFound
from core.ids import DEFAULT_TENANT, check_producer_id
from ingest.input_files import STDIN
from ingest.routing import SpreadSender, producer_sender
from ingest.shred import ShredSettings
from malamute.commands.store import Choice, Store, open_store
from malamute.display import ACCENT, BAD, FAINT, bytes_text, count_text, output, plain_lines, remarks, short_text
from malamute.file_ingest import Send, Tally, ingest_file, remaining, total_bytes


def run(choice: Choice, stream: str, files: Sequence[str], text: bool, producer: str | None) -> bool:
    """Send every file's events; returns whether all of them were accepted."""
    for file in files:
        if file != STDIN and not Path(file).is_file():
            raise NotFound(f"there is no file {file!r}")
    if producer is not None:
        check_producer_id(producer)
    err, tally = remarks(), Tally()
    with open_store(choice, err, create=True) as store:
        _ingest(store, err, stream, files, text, producer, tally)
    _report(tally, stream)
    return tally.rejected == 0


def _ingest(
    store: Store, err: Console, stream: str, files: Sequence[str], text: bool, producer: str | None, tally: Tally
) -> None:
    settings = store.client.streams().get(stream) or store.client.create_stream(stream)
    shred_settings = ShredSettings(settings.timestamp, settings.max_paths)
    send, drain, position = _sender(store, stream, settings.dedup_key, producer, tally)
    todo = remaining(files, position)
    if len(todo) < len(files) or any(begin for _, begin in todo):
        err.print(
            f"{producer} goes on in {todo[0][0]} after position {count_text(todo[0][1])}", style=FAINT, markup=False
        )
    clock, total = SystemClock(), total_bytes([file for file, _ in todo])
    with _progress(err, tally) as progress:
        task = progress.add_task(stream, total=total)
        done = 0
        for file, begin in todo:
            ingest_file(
                file,
                begin,
                send,
                shred_settings,
                clock,
                tally,
                text=text,
                resumable=producer is not None,
                on_progress=lambda read, done=done: progress.update(task, completed=done + read),  # type: ignore[misc]
            )
            done += Path(file).stat().st_size if file != STDIN else 0
        drain()
        progress.refresh()


def _sender(
    store: Store, stream: str, dedup_key: str | None, producer: str | None, tally: Tally
) -> tuple[Send, Callable[[], None], bytes | None]:
    """How to send a batch, how to wait for all of them, and where an earlier run of the producer got to."""
    transport = Transport(store.deployment)
    level = transport.info["durability"]
    if producer is None:
        spread = SpreadSender(transport, transport.placement, DEFAULT_TENANT, stream, level, tally.count, dedup_key)
        return (lambda batch, position: spread.send(batch)), spread.drain, None
    sender = producer_sender(
        transport, transport.placement, DEFAULT_TENANT, stream, producer, dedup_key, level=level, on_sent=tally.count
    )
    sender.open()
    return sender.send, sender.drain, sender.position


def _progress(err: Console, tally: Tally) -> Progress:
    return Progress(
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=32, complete_style=ACCENT, finished_style=ACCENT),
        _Speed(tally),
        console=err,
        disable=not err.is_terminal,
        refresh_per_second=8,
    )


class _Speed(ProgressColumn):
    """Bytes, events and their rates."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def render(self, task: Task) -> Text:
        """The numbers right of the bar."""
        seconds: Any = max(task.elapsed or 0.0, 0.001)
        of = f" of {bytes_text(task.total)}" if task.total is not None else ""
        return Text(
            f"{bytes_text(task.completed)}{of}  {short_text(self._tally.accepted)} events  "
            f"{bytes_text(task.completed / seconds)}/s  {short_text(self._tally.accepted / seconds)}/s"
        )


def _report(tally: Tally, stream: str) -> None:
    out = output()
    lines: list[tuple[str, str | Text]] = [("accepted", f"{count_text(tally.accepted)} into {stream}")]
    if tally.duplicates:
        lines.append(("duplicates", f"{count_text(tally.duplicates)} were stored already by an earlier try"))
    if tally.duplicate_ids:
        lines.append(("duplicate ids", f"{count_text(tally.duplicate_ids)} of them were known and not stored again"))
    if tally.late:
        lines.append(("late", f"{count_text(tally.late)} are older than the dedup window: stored unseen"))
    if tally.timestamps_missing:
        lines.append(("without time", f"{count_text(tally.timestamps_missing)} have their ingest time as timestamp"))
    if tally.timestamps_unreadable:
        lines.append(("unreadable time", f"{count_text(tally.timestamps_unreadable)} have their ingest time instead"))
    lines.append(("rejected", Text(count_text(tally.rejected), style=BAD if tally.rejected else "")))
    out.print(plain_lines(lines))
    for file, line, reason in tally.reasons:
        out.print(f"  {file}:{line}: {reason}", markup=False, soft_wrap=True)
    if tally.rejected > len(tally.reasons):
        out.print(f"  … and {count_text(tally.rejected - len(tally.reasons))} more")
