"""Owns the named snapshot: what it holds, its bytes (docs/formats/snapshot.md). Pure; named_snapshots.py keeps it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final

from core.errors import Corrupt
from storage.catalog import Catalog, decode_catalog, encode_catalog
from storage.dedup_run import run_names
from storage.envelope import seal, unseal
from storage.keys import index_key
from storage.manifest_format import Manifest, decode_manifest, encode_manifest
from storage.placements import Placements, decode_placements, encode_placements
from storage.snapshot import Segment

MAGIC: Final = b"MLMTSNAP"
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class NamedSnapshot:
    """What every shard held below its WAL floor at one time, right after a flush of all: manifests and the catalog.

    Of one tenant; or, when `tenant` is None, of all with everything that a new storage needs: then `storage_format` is
    its format.json, and `placements` are there when its number of shards was changed. `expires_at_us` None: never.
    """

    name: str
    tenant: str | None
    created_at_us: int
    expires_at_us: int | None
    catalog: Catalog
    manifests: tuple[Manifest, ...]
    storage_format: bytes = b""
    placements: Placements | None = None

    @property
    def segments(self) -> Iterable[Segment]:
        """All segments of all shards."""
        return (segment for manifest in self.manifests for segment in manifest.segments)


@dataclass(frozen=True, slots=True)
class SnapshotSummary:
    """A named snapshot for people: times in microseconds since 1970-01-01 UTC, sizes in events and compressed bytes."""

    name: str
    tenant: str | None
    created_at_us: int
    expires_at_us: int | None
    events: int
    bytes: int


def summary_of(snapshot: NamedSnapshot) -> SnapshotSummary:
    """What to say of `snapshot`."""
    segments = list(snapshot.segments)
    events, size = sum(segment.rows for segment in segments), sum(segment.bytes for segment in segments)
    times = (snapshot.created_at_us, snapshot.expires_at_us)
    return SnapshotSummary(snapshot.name, snapshot.tenant, *times, events, size)


def names_of(snapshot: NamedSnapshot) -> set[str]:
    """The names of the objects that `snapshot` holds: segments, their indexes, runs of ids."""
    indexes = {index_key(segment.name) for segment in snapshot.segments if segment.index_bytes}
    runs = (run_names(manifest.id_runs) for manifest in snapshot.manifests)
    return {segment.name for segment in snapshot.segments}.union(indexes, *runs)


def of_tenant(manifest: Manifest, tenant: str) -> Manifest:
    """What `manifest` says of the events of one tenant, without what only a writer needs."""
    segments = tuple(segment for segment in manifest.segments if segment.tenant == tenant)
    return replace(manifest, segments=segments, producers={}, id_runs={})


def encode_snapshot(snapshot: NamedSnapshot) -> bytes:
    """The bytes of a named snapshot."""
    body = {
        **asdict(summary_of(snapshot)),
        "names": sorted(names_of(snapshot)),
        "catalog": encode_catalog(snapshot.catalog),
        "manifests": [encode_manifest(manifest) for manifest in snapshot.manifests],
        "storage_format": snapshot.storage_format,
        "placements": None if snapshot.placements is None else encode_placements(snapshot.placements),
    }
    return seal(MAGIC, FORMAT_VERSION, body)


def decode_summary(data: bytes, what: str = "snapshot") -> tuple[SnapshotSummary, list[str]]:
    """What decode_snapshot would give, in short, and names_of: a hundred times faster. Raises Corrupt as it does."""
    _, body = unseal(MAGIC, FORMAT_VERSION, data, what)
    try:
        return SnapshotSummary(**{name: body[name] for name in SnapshotSummary.__dataclass_fields__}), body["names"]
    except (KeyError, TypeError) as error:
        raise Corrupt(f"{what} has a body of an unexpected shape: {error!r}") from error


def decode_snapshot(data: bytes, what: str = "snapshot") -> NamedSnapshot:
    """The snapshot of encode_snapshot; raises Corrupt on any damage and on newer formats. `what` names it."""
    _, body = unseal(MAGIC, FORMAT_VERSION, data, what)
    try:
        placements = body["placements"]
        return NamedSnapshot(
            name=body["name"],
            tenant=body["tenant"],
            created_at_us=body["created_at_us"],
            expires_at_us=body["expires_at_us"],
            catalog=decode_catalog(body["catalog"], f"the catalog in {what}"),
            manifests=tuple(decode_manifest(packed, f"a manifest in {what}") for packed in body["manifests"]),
            storage_format=body["storage_format"],
            placements=None if placements is None else decode_placements(placements, f"the placements in {what}"),
        )
    except (KeyError, TypeError) as error:
        raise Corrupt(f"{what} has a body of an unexpected shape: {error!r}") from error
