"""Owns the course of a day: what happens in which minute, what must be so at each checkpoint, and at the end."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Final

from core.append import LOCAL, OBJECT
from core.clock import ManualClock
from core.errors import NotFound, SnapshotExpired
from core.ids import ShardId
from storage.backup import check_backup, load_backup
from storage.compaction_keys import comparable
from storage.dedup_run import run_names
from storage.deletes import pending
from storage.keys import index_key, origin_of, segment_epoch
from storage.manifest import ManifestStore
from storage.restore import restore
from storage.retention import Retention
from storage.snapshot import Segment
from storage.verify import verify_storage
from tests.support.flaky_objects import FlakyObjectStore
from tests.torture.day.background import Background
from tests.torture.day.model import HOUR_US, SECOND_US, Meets, Model, StreamKey
from tests.torture.day.store import GRACE_S, RULES, SETTINGS, Store
from tests.torture.day.traffic import SERVICES, USERS, Traffic

DEATHS_SHARE: Final = 0.03  # of what is asked of a process
MINUTE_S: Final = 60.0
CHECKS: Final = 24
BRISK_HOURS: Final = 6.0  # a day that is shorter has as much of what is seldom as one of so many hours
BYTES_MAX: Final = 1 << 20  # the least that retention allows
TIERS: Final = 4  # from segments of one event to full ones
CALM_HOURS: Final = 4  # after the day, until every window is cold
NOON_US: Final = 1_700_000_000_000_000 // HOUR_US * HOUR_US


class Day:
    """A deployment from the first event to the last file; everything that is random comes from `seed`."""

    def __init__(self, seed: int, directory: Path, hours: float, rate: float) -> None:
        self.rng = random.Random(seed)
        self.clock = ManualClock(NOON_US)
        self.minutes = round(hours * 60)
        level = OBJECT if seed % 3 == 2 else LOCAL
        objects = FlakyObjectStore()
        self.directory = directory
        self.store = Store(self.rng, directory, self.clock, level, objects, 1 + seed % 3)
        self.brisk = max(1.0, BRISK_HOURS / hours)
        self.store.deaths_share = DEATHS_SHARE * self.brisk
        ages = {("default", "traces"): hours / 3, ("acme", "audit"): hours / 2}
        self.retentions = {key: Retention(int(age * HOUR_US)) for key, age in ages.items()}
        self.model = Model({key: int(age * HOUR_US) for key, age in ages.items()})
        self.retentions["acme", "logs"] = Retention(bytes_max=BYTES_MAX)
        for (tenant, _), settings in SETTINGS.items():
            self.store.catalog.ensure_stream(tenant, settings)
        for (tenant, stream), retention in self.retentions.items():
            self.store.catalog.set_retention(tenant, stream, retention)
        self.background = Background(self.store, self.model, self.rng)
        self.traffic = Traffic(self.store, self.model, self.rng, rate)
        self.backup = FlakyObjectStore()
        self.counts: Counter[str] = Counter()
        self.scales = set(self.rng.sample(range(10, self.minutes - 5), 2 + (hours >= 12)))

    def run(self) -> Counter[str]:
        """Live through it; what happened. Raises AssertionError, or what the product says, when anything is wrong."""
        for minute in range(self.minutes):
            self.traffic.minute(minute)
            self._minute(minute)
            self.clock.advance(MINUTE_S)
            if (minute + 1) % max(self.minutes // CHECKS, 20) == 0:
                self.check()
        self.check()
        self.background.back_up(self.backup)
        self._calm()
        self._end()
        self._restored()
        return self.counts + self.traffic.counts + self.background.counts + self.store.deaths

    def _minute(self, minute: int) -> None:
        """Everything that is due, in any order."""
        rng, background = self.rng, self.background
        often = [background.flush_due, background.merge, background.give_out, background.carry_out]
        often += [background.propose, background.collect, background.erase, background.end_queries]
        due = [task for task in often if rng.random() < 0.7]
        if minute % 10 == 0:
            due.append(lambda: background.expire(self.retentions))
        seldom = ((self._snapshot, 50), (self._drop, 90), (self._delete, 100), (background.begin_query, 30))
        seldom += ((self._back_up, 240), (background.scrub, 240), (self._fail, 60), (self.store.retire, 60))
        due += [task for task, every in seldom if rng.random() < self.brisk / every]
        if minute in self.scales:
            due.append(self._scale)
        rng.shuffle(due)
        for task in due:
            task()

    # --- what happens now and then --------------------------------------------------------------------------------

    def _snapshot(self) -> None:
        self.background.snapshot(self.rng.choice(("default", "acme")), self.rng.choice((None, 1_800.0, 7_200.0)))

    def _drop(self) -> None:
        if self.model.held:
            self.background.drop(self.rng.choice(list(self.model.held)))

    def _back_up(self) -> None:
        self.background.back_up(self.backup)

    def _fail(self) -> None:
        """A shard is opened anew between a merge of a compactor and its proposal."""
        background = self.background
        background.give_out()
        background.carry_out()
        waiting = {given.shard for given in background.given_out} & set(self.store.placements.serving)
        self.store.reopen(self.rng.choice(sorted(waiting or self.store.placements.serving)))
        background.propose()

    def _scale(self) -> None:
        self.store.scale(self.rng.randint(1, 4))
        self.counts["placements"] += 1

    def _delete(self) -> None:
        rng, now_us = self.rng, self.clock.now_us()
        user, service, rest = f"u{rng.randrange(USERS)}", f"s{rng.randrange(SERVICES)}", rng.randrange(9)
        before_us = now_us - rng.randint(0, 3 * HOUR_US)
        choices: list[tuple[str, Meets]] = [
            (f"\"user\" = '{user}'", lambda e: e.user == user),
            (f"service = '{service}' AND n % 9 = {rest}", lambda e: e.service == service and e.n % 9 == rest),
            (f"message LIKE '%{rest}7%'", lambda e: f"{rest}7" in e.message),
            (
                f"epoch_us(timestamp) < {before_us} AND n % 9 < 2",
                lambda e: e.at_us < before_us and e.n % 9 < 2,
            ),
        ]
        self.background.delete(rng.choice(list(SETTINGS)), *rng.choice(choices))

    # --- what must be so ------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Every stream shows exactly what it has to, now, at an instant, and in every snapshot."""
        now_us = self.clock.now_us()
        for key in SETTINGS:
            self._same(key, None, self.model.visible(key, now_us))
        key, at_us = self.rng.choice(list(SETTINGS)), now_us - self.rng.randint(0, 5 * HOUR_US)
        self._same(key, at_us, self.model.visible(key, now_us, at_us))
        for name, held in self.model.held.items():
            for key, events in held.events.items():
                if self.model.answers(name, now_us):
                    self._same(key, name, sorted(event.row for event in events.values()))
                else:
                    self._check_expired(key, name)
        self.counts["checkpoints"] += 1

    def _check_expired(self, key: StreamKey, name: str) -> None:
        try:
            self.store.rows(key, name)
        except (SnapshotExpired, NotFound):
            return
        raise AssertionError(f"snapshot {name} has expired, and answers")

    def _same(
        self, key: StreamKey, at: str | int | None, expected: list[tuple[int, int, str, str, str | None]]
    ) -> None:
        rows = self.store.rows(key, at)
        self.counts["rows compared"] += len(expected)
        if rows != expected:
            missing, extra = Counter(expected) - Counter(rows), Counter(rows) - Counter(expected)
            what = f"{'/'.join(key)} at {at or 'now'}, minute {(self.clock.now_us() - NOON_US) // 60_000_000}"
            raise AssertionError(
                f"{what}: {sum(missing.values())} events are missing, {sum(extra.values())} should not be there: "
                f"{sorted(missing)[:3]} {sorted(extra)[:3]}"
            )

    # --- the end --------------------------------------------------------------------------------------------------

    def _calm(self) -> None:
        """Nothing is written and nobody dies any more; the background comes to its end."""
        self.store.deaths_share = 0.0
        background = self.background
        for name in list(self.model.held):
            background.drop(name)
        self.store.flush()
        for minute in range(CALM_HOURS * 60):
            for task in (background.erase, background.carry_out, background.propose):
                task()
            if minute % 10 == 0:
                background.expire(self.retentions)
                background.collect()
                background.merge()
            self.clock.advance(MINUTE_S)
        assert not pending(self.store.catalog.deletes()), "deletes do not come to their end"
        self.clock.advance(GRACE_S)
        background.collect()
        self.check()

    def _end(self) -> None:
        """Shards that open once more leave nothing but what is live, in as few files as was promised, all sound."""
        self.store.retire()
        for shard in self.store.placements.serving:
            self.store.kill(shard)
        self.check()
        live: set[str] = set()
        for process in self.store.serving():
            manifest = process.shard.manifest
            assert not manifest.removed, f"{len(manifest.removed)} replaced segments are still there"
            names = {segment.name for segment in manifest.segments}
            live |= names | {index_key(segment.name) for segment in manifest.segments if segment.index_bytes}
            live |= run_names(manifest.id_runs)
            self._check_count(manifest.shard, manifest.segments)
        for shard in self.store.placements.retired:
            manifest = ManifestStore(self.store.objects, ShardId(shard), self.clock).load()
            live |= run_names(manifest.id_runs) if manifest is not None else set()  # nobody opens it any more
        there = {key for key in self.store.objects.objects if segment_epoch(key) is not None}
        assert there == live, f"orphans: {sorted(there - live)[:5]}, missing: {sorted(live - there)[:5]}"
        self.counts["files left"] += len(there)
        report = verify_storage(self.store.place(), deep=True)
        assert not report.findings, report.findings

    def _check_count(self, shard: int, segments: tuple[Segment, ...]) -> None:
        """No more files than the rules of merging leave."""
        windows: dict[tuple[str, str, int, int], list[Segment]] = defaultdict(list)
        for one in segments:
            if origin_of(one.name) in (None, shard):
                windows[one.tenant, one.stream, one.window_start_us, one.window_end_us].append(one)
        for key, found in windows.items():
            if key[3] + RULES.cold_s * SECOND_US < self.clock.now_us():
                most = 1 + int(2 * RULES.fill(found))
                assert len(found) <= most, f"{len(found)} files in the cold window {key}, {most} would do"
                continue
            flushed = [segment for segment in found if segment.level == 0]
            assert len(flushed) <= TIERS * (RULES.inputs_max - 1), f"{len(flushed)} files wait in window {key}"
            for level in range(1, RULES.levels_max):
                deep = _depth([segment for segment in found if segment.level == level])
                assert deep < RULES.level_factor, f"{deep} of level {level} overlap in window {key}"

    def _restored(self) -> None:
        """Of the last backup a deployment is made that shows what there was then, and is not expired by now."""
        name = max(self.background.backups)
        assert load_backup(self.backup).name == name
        for one in self.background.backups:
            check_backup(self.backup, load_backup(self.backup, one))
        target = FlakyObjectStore()
        restore(load_backup(self.backup), self.backup, target)
        store = Store(self.rng, self.directory, self.clock, self.store.level, target, 1)
        model = self.background.backups[name]
        for key in SETTINGS:
            assert store.rows(key) == model.visible(key, self.clock.now_us()), f"{key} of backup {name}"
            self.counts["rows restored"] += len(store.rows(key))
        report = verify_storage(store.place(), deep=True)
        assert not report.findings, report.findings
        store.close()
        self.store.close()


def _depth(segments: list[Segment]) -> int:
    """How many of the segments overlap at one key at most."""
    ranges = [(comparable(one.first_key), comparable(one.last_key)) for one in segments]
    return max((sum(first <= point <= last for first, last in ranges) for point, _ in ranges), default=0)
