"""Owns what a verification says: findings, and what was seen of each shard. Never looks at a storage.

Kinds, the same in texts, JSON and docs/verify.md:

    missing      an object or a log is not there
    corrupt      its bytes are damaged, or it cannot be decoded
    wrong        it reads, but what it says is not so
    gap          offsets or sequences that nothing holds
    double       offsets, sequences or names that are there twice
    unreadable   it could not be read now, so nothing is known of it
    orphan       nothing refers to it (a warning)
    torn         what a crash left at the end of a log (a warning)
    disorder     unusual, and known to be harmless (a warning)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final

MISSING: Final = "missing"
CORRUPT: Final = "corrupt"
WRONG: Final = "wrong"
GAP: Final = "gap"
DOUBLE: Final = "double"
UNREADABLE: Final = "unreadable"
ORPHAN: Final = "orphan"
TORN: Final = "torn"
DISORDER: Final = "disorder"

WARNINGS: Final = (ORPHAN, TORN, DISORDER)

# Findings that are kept in full; a storage that lost a disk has more, and they say nothing new.
FINDINGS_MAX: Final = 1_000

RESTORE: Final = "restore it from a backup; nothing was changed"
RETRY: Final = "mend what keeps it from being read and verify again"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be: where, what it means, and what to do."""

    kind: str
    where: str  # an object key or the path of a WAL file
    message: str
    advice: str
    shard: int | None = None

    @property
    def is_warning(self) -> bool:
        """Whether nothing is lost or untrue because of it."""
        return self.kind in WARNINGS


class Findings:
    """Collects findings, the first FINDINGS_MAX of them in full."""

    def __init__(self, shard: int | None = None) -> None:
        self.shard = shard
        self.items: list[Finding] = []
        self.not_shown = 0

    def add(self, kind: str, where: str, message: str, advice: str = RESTORE) -> None:
        """Note a finding of one of the kinds above."""
        if len(self.items) < FINDINGS_MAX:
            self.items.append(Finding(kind, where, message, advice, self.shard))
        else:
            self.not_shown += 1

    def extend(self, other: Findings) -> None:
        """Take over what another collected."""
        for item in other.items:
            self.add(item.kind, item.where, item.message, item.advice)
        self.not_shown += other.not_shown

    def has(self, *kinds: str) -> bool:
        """Whether one of these kinds was found."""
        return any(item.kind in kinds for item in self.items)


@dataclass(slots=True)
class ShardReport:
    """What was seen of one shard. `events` are those of its segments and those of its WAL above the floor."""

    shard: int
    live: bool = False
    epoch: int = 0
    manifest_version: int = 0
    wal_floor: int = 0
    next_offset: int = 0
    manifests: int = 0
    segments: int = 0
    indexes: int = 0
    segment_events: int = 0
    wal: str = ""  # "directory", "objects", or "" where it was not read
    wal_files: int = 0
    wal_events: int = 0
    producers: int = 0
    bytes: int = 0
    findings: int = 0
    warnings: int = 0

    @property
    def objects(self) -> int:
        """Manifests, segments, indexes and WAL files or objects."""
        return self.manifests + self.segments + self.indexes + self.wal_files

    @property
    def events(self) -> int:
        """Events that a query would see of this shard."""
        return self.segment_events + self.wal_events


@dataclass(slots=True)
class Report:
    """The outcome of one verification."""

    storage: str
    deep: bool
    shards: list[ShardReport] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    not_shown: int = 0
    root_objects: int = 0  # format.json and versions of the catalog
    root_bytes: int = 0

    def take(self, found: Findings) -> tuple[int, int]:
        """Add findings; returns how many of them are errors, and how many warnings."""
        self.findings += found.items
        self.not_shown += found.not_shown
        warnings = sum(item.is_warning for item in found.items)
        return len(found.items) - warnings + found.not_shown, warnings

    @property
    def errors(self) -> list[Finding]:
        """The findings that are not warnings."""
        return [item for item in self.findings if not item.is_warning]

    @property
    def exit_code(self) -> int:
        """0 sound, 1 something is wrong, 2 nothing wrong was seen but not all could be read."""
        errors = self.errors
        if not errors and not self.not_shown:
            return 0
        return 2 if errors and all(item.kind == UNREADABLE for item in errors) else 1

    def to_plain(self) -> dict[str, Any]:
        """Everything, as what JSON can hold."""
        shards = [{**asdict(shard), "objects": shard.objects, "events": shard.events} for shard in self.shards]
        return {
            "storage": self.storage,
            "deep": self.deep,
            "sound": self.exit_code == 0,
            "exit_code": self.exit_code,
            "live": any(shard.live for shard in self.shards),
            "objects": self.root_objects + sum(shard.objects for shard in self.shards),
            "bytes": self.root_bytes + sum(shard.bytes for shard in self.shards),
            "events": sum(shard.events for shard in self.shards),
            "shards": shards,
            "findings": [{**asdict(item), "warning": item.is_warning} for item in self.findings],
            "findings_not_shown": self.not_shown,
        }
