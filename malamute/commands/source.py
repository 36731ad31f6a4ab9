"""Owns `malamute source …`: opens the store, runs one source until it is told to end, says how it goes."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.clock import SystemClock
from core.errors import InvalidRequest, NotFound
from core.ids import check_name
from malamute.commands.store import Choice, open_store
from malamute.display import remarks, results
from malamute.sources.files import FilesPlan, FilesSource
from malamute.sources.kafka_records import FORMATS
from malamute.sources.report import Report
from malamute.sources.store import ClientStore
from malamute.sources.writer import refused_stream

Make = Callable[[ClientStore, Report, SystemClock, threading.Event], Any]


def kafka(
    choice: Choice,
    stream: str,
    brokers: str,
    topics: list[str],
    group: str,
    format_: str,
    properties: str | None,
    once: bool,
    as_json: bool,
) -> bool:
    """Read topics; whether everything became events."""
    try:
        from malamute.sources.kafka import KafkaPlan, KafkaSource
    except ModuleNotFoundError as error:
        raise NotFound("kafka's client is not installed: pip install 'malamute[kafka]'") from error
    if format_ not in FORMATS:
        raise InvalidRequest(f"format {format_!r} is not known: use one of {', '.join(FORMATS)}")
    given = read_properties(properties) if properties is not None else {}
    plan = KafkaPlan(_checked(stream), brokers, tuple(topics), group, format_, once, given)
    return _run(choice, lambda *parts: KafkaSource(plan, *parts), "records", once, as_json)


def files(choice: Choice, stream: str, directory: str, settle_s: float, once: bool, as_json: bool) -> bool:
    """Read a directory; whether everything became events."""
    plan = FilesPlan(_checked(stream), Path(directory), settle_s, once)
    if not plan.directory.is_dir():
        hint = ": to store a single file, use 'malamute ingest'" if plan.directory.exists() else ""
        raise NotFound(f"there is no directory {directory!r}{hint}")
    return _run(choice, lambda *parts: FilesSource(plan, *parts), "bytes", once, as_json)


def read_properties(path: str) -> dict[str, str]:
    """librdkafka's properties of a file with a line `name=value` for each; # begins a comment line."""
    if not Path(path).is_file():
        raise NotFound(f"there is no file {path!r}")
    properties = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals:
            raise InvalidRequest(f"{path}:{number}: expected name=value")
        properties[name.strip()] = value.strip()
    return properties


def _checked(stream: str) -> str:
    check_name("stream", refused_stream(check_name("stream", stream)))
    return stream


def _run(choice: Choice, make: Make, unit: str, once: bool, as_json: bool) -> bool:
    err, stopping = remarks(), threading.Event()
    out = results() if as_json else sys.stderr
    with open_store(choice, err, create=True) as store, _told_to_end(stopping):
        clock = SystemClock()
        report = Report(out, clock, as_json, unit=unit)
        try:
            make(ClientStore(store.client, store.deployment), report, clock, stopping).run()
        except BaseException:
            report.done("failed")
            raise
        report.done()
    # A source that was told to end has done what it was asked for.
    return report.counts.whole or not once


@contextmanager
def _told_to_end(stopping: threading.Event) -> Iterator[None]:
    """SIGTERM and Ctrl-C set `stopping`; the second one ends the process as ever."""
    before: dict[signal.Signals, Any] = {}

    def end(number: int, frame: object) -> None:
        stopping.set()
        signal.signal(number, before[signal.Signals(number)])

    for ending in (signal.SIGTERM, signal.SIGINT):
        before[ending] = signal.signal(ending, end)
    try:
        yield
    finally:
        for ending, handler in before.items():
            signal.signal(ending, handler)
