"""Owns the chaos test: producers and readers at work, faults by seed beside them, and the history of it checked.

What is done and when follows from the seed; how far the deployment has come by then does not.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

from cluster.faults import CutTransport, actor_processes, signal_process
from core.errors import BudgetExceeded, Overloaded, Unavailable, UnknownOutcome
from malamute.client import Client
from malamute.history import Findings, History, Row, Seen

PRODUCERS: Final = 4
BATCH_EVENTS_MAX: Final = 200
SEND_PAUSE_S_MAX: Final = 0.05
READ_PAUSE_S: Final = 0.3
READ_S_MAX: Final = 60.0
POLL_S: Final = 0.02
CALM_S: Final = (0.5, 3.0)  # between two faults
LASTS_S: Final = (0.2, 4.0)  # a pause or a cut

Heal = Callable[[], None]
Fault = Callable[[random.Random], Heal]  # does it and returns how to end it


@dataclass(slots=True)
class Report:
    """What was done and what came of it.

    `back_s` has, for each fault of a kind, the seconds until a batch that was sent after it is acknowledged to every
    producer, whether the fault concerns it or not.
    """

    back_s: dict[str, list[float]]
    sent: int
    acknowledged: int
    reads: int
    failed_reads: int  # with a typed error, after retries
    findings: Findings


@dataclass(slots=True)
class _Course:
    """What the threads of one test share."""

    client: Client
    stream: str
    history: History = field(default_factory=History)
    done: threading.Event = field(default_factory=threading.Event)
    acks_s: dict[str, list[tuple[float, float]]] = field(default_factory=dict)  # by producer: sent, acknowledged
    failed_reads: int = 0


def run(client: Client, stream: str, faults: Mapping[str, Fault], seed: int, seconds: float) -> Report:
    """Let PRODUCERS producers and a reader work on `stream`, do faults for `seconds`, heal, and check everything.

    `stream` has to be new. Raises what a producer failed with: none may, as each fault ends within its retry budget.
    """
    course = _Course(client, stream)
    client.create_stream(stream)
    back_s: dict[str, list[float]] = {name: [] for name in faults}
    with ThreadPoolExecutor(PRODUCERS + 1) as pool:
        names = [f"chaos-{number}" for number in range(PRODUCERS)]
        course.acks_s.update({name: [] for name in names})
        working = [pool.submit(_produce, course, name, seed) for name in names]
        working.append(pool.submit(_read, course))
        try:
            _do_faults(course, working, faults, seed, seconds, back_s)
        finally:
            course.done.set()
        for work in working:
            work.result()
    history = course.history
    findings = history.check(_rows(client, stream), dense=set(client.streams()) == {stream})
    return Report(back_s, history.sent, history.acknowledged, history.reads, course.failed_reads, findings)


def process_faults(client: Client, transport: CutTransport) -> dict[str, Fault]:
    """Faults of the deployment's own processes and of the way to its shards, by name."""

    def signalled(kind: str, number: int, healing: int | None = None) -> Fault:
        def fault(rng: random.Random) -> Heal:
            process = rng.choice(actor_processes(client.status().to_dict(), kind))
            signal_process(process, number)

            def heal() -> None:
                if healing is not None:
                    signal_process(process, healing)

            return heal

        return fault

    def cut_off(rng: random.Random) -> Heal:
        transport.cut = frozenset([rng.choice(transport.placement.shards)])

        def heal() -> None:
            transport.cut = frozenset()

        return heal

    return {
        "shard killed": signalled("shard", signal.SIGKILL),
        "shard paused": signalled("shard", signal.SIGSTOP, signal.SIGCONT),
        "shard cut off": cut_off,
        "coordinator killed": signalled("coordinator", signal.SIGKILL),
        "coordinator paused": signalled("coordinator", signal.SIGSTOP, signal.SIGCONT),
    }


def _do_faults(
    course: _Course,
    working: Sequence[Future[None]],
    faults: Mapping[str, Fault],
    seed: int,
    seconds: float,
    back_s: dict[str, list[float]],
) -> None:
    rng = random.Random(f"faults {seed}")
    deadline_s = time.monotonic() + seconds
    time.sleep(rng.uniform(*CALM_S))
    while time.monotonic() < deadline_s:
        name = rng.choice(sorted(faults))
        began_s = time.monotonic()
        heal = faults[name](rng)
        try:
            time.sleep(rng.uniform(*LASTS_S))
        finally:
            heal()
        back_s[name].append(_served_again_s(course, working, began_s) - began_s)
        time.sleep(rng.uniform(*CALM_S))


def _served_again_s(course: _Course, working: Sequence[Future[None]], since_s: float) -> float:
    """When the last producer got its first acknowledgement of something sent after `since_s`."""
    firsts: dict[str, float] = {}
    while len(firsts) < PRODUCERS:
        for work in working:
            if work.done():
                work.result()  # raises what it failed with: nothing comes any more
        for name, acks in course.acks_s.items():
            first = next((acked_s for sent_s, acked_s in acks if sent_s >= since_s), None)
            if first is not None:
                firsts[name] = first
        time.sleep(POLL_S)
    return max(firsts.values())


def _produce(course: _Course, name: str, seed: int) -> None:
    rng = random.Random(f"{name} {seed}")
    total = 0
    with course.client.producer(name, stream=course.stream) as producer:
        while not course.done.is_set():
            events = [{"producer": name, "n": n} for n in range(total, total + rng.randint(1, BATCH_EVENTS_MAX))]
            total += len(events)
            course.history.note_sent(name, total)
            sent_s = time.monotonic()
            producer.send_batch(events)
            producer.flush()
            course.history.note_acknowledged(name, total)
            course.acks_s[name].append((sent_s, time.monotonic()))
            time.sleep(rng.uniform(0.0, SEND_PAUSE_S_MAX))


def _read(course: _Course) -> None:
    text = f"SELECT producer, count(*) AS c, count(DISTINCT n) AS d, max(n) AS m FROM {course.stream} GROUP BY producer"
    while not course.done.wait(READ_PAUSE_S):
        least = course.history.before_read()
        if not least:
            continue  # before the first event the stream has no columns
        try:
            rows = course.client.sql(text, timeout_s=READ_S_MAX).to_pylist()
        except (Unavailable, UnknownOutcome, Overloaded, BudgetExceeded):
            course.failed_reads += 1  # it may fail, but not with half an answer
            continue
        course.history.note_read(least, {row["producer"]: Seen(row["c"], row["d"], row["m"]) for row in rows})


def _rows(client: Client, stream: str) -> list[Row]:
    rows = client.sql(f"SELECT _shard, _offset, producer, n FROM {stream}").to_pylist()
    return [Row(row["_shard"], row["_offset"], row["producer"], row["n"]) for row in rows]
