"""Owns scrubbing a storage: its verification, round after round, at a bounded rate, and which findings count.

What is looked at, and how, is verify's. Never modifies anything, never stops for a finding.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from core.clock import Clock
from core.errors import MalamuteError
from core.ids import ShardId
from core.limits import SCRUB_AGREE_S, SCRUB_RETRY_S
from storage.dedup_run import run_names
from storage.keys import index_key, segment_epoch
from storage.manifest import ManifestStore
from storage.named_snapshots import leased_names
from storage.objects import ObjectStore
from storage.placements import PlacementStore
from storage.read_rate import PacedFileSystem, PacedObjects, ReadRate
from storage.recovery import MARKER_NAME
from storage.verify import Progress, StoragePlace, verify_storage
from storage.verify_report import UNREADABLE, Finding, Report
from storage.verify_wal import WalPlace

SHOWN_MAX: Final = 10  # findings that the status has in full: `malamute verify` shows all


@dataclass(frozen=True, slots=True)
class ScrubOptions:
    """How often a round begins (a longer one is followed by the next at once), and how fast it reads at most."""

    interval_s: float
    bytes_per_s: int


@dataclass(frozen=True, slots=True)
class Round:
    """A round that came to its end at `ended_us` after `seconds`; `unread` things could not be read, `bytes` were."""

    ended_us: int
    seconds: float
    objects: int
    bytes: int
    findings: tuple[Finding, ...]
    unread: int


class Scrubber:
    """Goes round one storage. run() is for one thread, status() for any.

    `sleep` is how it waits between reads, in seconds.
    """

    def __init__(
        self,
        place: StoragePlace,
        options: ScrubOptions,
        clock: Clock,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._options = options
        self._clock = clock
        self._rate = ReadRate(options.bytes_per_s, clock, sleep)
        objects = PacedObjects(place.objects, self._rate)
        self._place = _DisksOfThisNode(place.name, objects, PacedFileSystem(self._rate), place.wal_directory, clock)
        self._since_s: dict[tuple[str, str], float] = {}  # since when every round finds it
        self._progress: Progress | None = None  # of the round that is under way
        self._rounds = 0
        self._last: Round | None = None
        self._failure: str | None = None

    def run(self, stopping: threading.Event) -> None:
        """Go round until `stopping` is set, which is looked at between rounds."""
        pause_s = 0.0
        while not stopping.wait(pause_s):
            began_s = self._clock.steady_s()
            try:
                self.round()
                pause_s = max(0.0, began_s + self._options.interval_s - self._clock.steady_s())
            except Exception as error:
                # Shown in the status: a thread that ended here would stop looking without a word.
                self._failure = f"{type(error).__name__}: {error}"
                pause_s = min(self._options.interval_s, SCRUB_RETRY_S)

    def round(self) -> Round:
        """Look at everything once. Raises what verify_storage raises."""
        self._progress = Progress()
        began_s, began_bytes = self._clock.steady_s(), self._rate.bytes
        try:
            report = verify_storage(self._place, deep=False, on_progress=self._on_progress)
        finally:
            self._progress = None
        seconds = self._clock.steady_s() - began_s
        self._last = Round(
            self._clock.now_us(),
            seconds,
            report.root_objects + sum(shard.objects for shard in report.shards),
            self._rate.bytes - began_bytes,
            tuple(self._counting(report)),
            sum(finding.kind == UNREADABLE for finding in report.findings),
        )
        now_s = self._clock.steady_s()
        found = {(finding.kind, finding.where) for finding in report.findings}
        self._since_s = {one: self._since_s.get(one, now_s) for one in found}
        self._rounds += 1
        self._failure = None
        return self._last

    def status(self) -> dict[str, Any]:
        """How far it is, and the last complete round: None before there is one. `failure`: why a round was cut off."""
        progress, last = self._progress, self._last
        return {
            "state": "waiting" if progress is None else "reading",
            "rounds": self._rounds,
            "progress": None if progress is None else asdict(progress),
            "last_round": None if last is None else _plain(last),
            "failure": self._failure,
        }

    def _on_progress(self, progress: Progress) -> None:
        self._progress = replace(progress)

    def _counting(self, report: Report) -> list[Finding]:
        """The findings that count.

        What is found in a segment, an index or a run of ids counts when a newest manifest or a snapshot still names it.
        Logs, manifests and what nothing names may change while they are looked at: there all rounds of SCRUB_AGREE_S
        have to agree.
        """
        agreed_s = self._clock.steady_s() - SCRUB_AGREE_S
        suspicious = [finding for finding in report.findings if finding.kind != UNREADABLE]
        named = named_objects(self._place.objects, len(report.shards), self._clock) if suspicious else set()
        counting = []
        for finding in suspicious:
            is_named = finding.where in named
            of_segments = segment_epoch(finding.where) is not None and not finding.is_warning
            agreed = self._since_s.get((finding.kind, finding.where), math.inf) <= agreed_s
            if is_named if of_segments else agreed and not is_named:
                counting.append(finding)
        return counting


class _DisksOfThisNode(StoragePlace):
    """A storage whose logs on the disks of other nodes cannot be read, which is no finding."""

    def wal_of(self, shard: int) -> WalPlace:
        place = super().wal_of(shard)
        here = place.directory is not None and place.fs.exists(f"{place.directory}/{MARKER_NAME}")
        return place if here else replace(place, directory=None)


def named_objects(objects: ObjectStore, first_shards: int, clock: Clock) -> set[str]:
    """The keys of all segments, indexes and runs of ids that snapshots or the newest manifests of serving shards name.

    Without placements, those are `first_shards`. What does not read names none.
    """
    named: set[str] = set()
    for shard in PlacementStore(objects, clock, first_shards).load().serving:
        try:
            manifest = ManifestStore(objects, ShardId(shard), clock).load()
        except MalamuteError:
            continue
        if manifest is not None:
            segments = {segment.name for segment in manifest.segments}
            named |= segments | {index_key(name) for name in segments} | run_names(manifest.id_runs)
    with suppress(MalamuteError):
        named |= leased_names(objects, clock.now_us())
    return named


def _plain(last: Round) -> dict[str, Any]:
    findings = [{**asdict(one), "warning": one.is_warning} for one in last.findings[:SHOWN_MAX]]
    errors = sum(not one.is_warning for one in last.findings)
    counts = {"errors": errors, "warnings": len(last.findings) - errors}
    return {**asdict(last), "findings": findings, **counts}
