"""Owns what `malamute inspect` says of stored files: plain dicts for people and scripts. Never changes one."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.columns import key_of
from core.errors import Corrupt, NotFound
from storage.catalog import decode_catalog, encode_catalog
from storage.deletes import delete_to_plain
from storage.manifest_format import decode_manifest, encode_manifest
from storage.named_snapshot_format import decode_snapshot, summary_of
from storage.placements import decode_placements, placement_to_plain
from storage.stream_settings import settings_to_plain

_METADATA_PREFIX = b"malamute."


def inspect_segment(path: str) -> dict[str, Any]:
    """What the footer of a segment's file says: rows, row groups, its metadata, and each column's meaning and size.

    Raises NotFound, Corrupt.
    """
    try:
        with pq.ParquetFile(path) as file:
            metadata, schema = file.metadata, file.schema_arrow
    except FileNotFoundError as error:
        raise NotFound(f"segment file {path!r} is not there") from error
    except (pa.ArrowException, OSError) as error:
        raise Corrupt(f"segment file {path!r} cannot be read: {error}") from error
    own = {
        key.removeprefix(_METADATA_PREFIX).decode(): value.decode()
        for key, value in (schema.metadata or {}).items()
        if key.startswith(_METADATA_PREFIX)
    }
    columns = []
    for index, field in enumerate(schema):
        key = key_of(field)
        meaning = {"path": key.path, "kind": key.kind} if key else {"path": None, "kind": None}
        columns.append({"name": field.name, **meaning, "type": str(field.type), **_chunks(metadata, index)})
    return {
        "path": path,
        "metadata": own,
        "rows": metadata.num_rows,
        "row_groups": [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)],
        "written_by": metadata.created_by,
        "columns": columns,
    }


def _chunks(metadata: Any, index: int) -> dict[str, Any]:
    # Scalars and lists of scalars have one Parquet column each, so the numbers of both schemas agree.
    chunks = [metadata.row_group(group).column(index) for group in range(metadata.num_row_groups)]
    return {
        "bytes": sum(chunk.total_compressed_size for chunk in chunks),
        "raw_bytes": sum(chunk.total_uncompressed_size for chunk in chunks),
        "encodings": sorted({encoding for chunk in chunks for encoding in chunk.encodings}),
    }


def inspect_manifest(data: bytes) -> dict[str, Any]:
    """Everything a manifest holds, producers and segments as lists; raises Corrupt."""
    manifest = decode_manifest(data)
    producers = [
        {"tenant": tenant, "stream": stream, "producer": producer, **asdict(state)}
        for (tenant, stream, producer), state in sorted(manifest.producers.items())
    ]
    return {
        "shard": manifest.shard,
        "version": manifest.version,
        "epoch": manifest.epoch,
        "writer": manifest.writer,
        "created_at_us": manifest.created_at_us,
        "wal_floor": manifest.wal_floor,
        "wal_start": list(manifest.wal_start) if manifest.wal_start else None,
        "placement": placement_to_plain(manifest.placement) if manifest.placement else None,
        "sealed": manifest.sealed,
        "erased": [
            {"origin": origin, "delete": delete, **erased._asdict()}
            for (origin, delete), erased in sorted(manifest.erased.items())
        ],
        "rows": sum(segment.rows for segment in manifest.segments),
        "bytes": sum(segment.bytes for segment in manifest.segments),
        "segments": [asdict(segment) for segment in manifest.segments],
        "producers": producers,
        "ids": [
            {
                "tenant": tenant,
                "stream": stream,
                "watermark_us": ids.watermark_us,
                "runs": [r._asdict() for r in ids.runs],
            }
            for (tenant, stream), ids in sorted(manifest.id_runs.items())
        ],
    }


def inspect_placements(data: bytes) -> dict[str, Any]:
    """Everything that a version of the placements holds; raises Corrupt."""
    placements = decode_placements(data)
    return {
        "version": placements.version,
        "state": placements.state,
        "history": [placement_to_plain(placement) for placement in placements.history],
        "next": placement_to_plain(placements.coming) if placements.coming else None,
        "next_shard": placements.next_shard,
    }


def inspect_snapshot(data: bytes) -> dict[str, Any]:
    """Everything a named snapshot or a backup holds; raises Corrupt."""
    snapshot = decode_snapshot(data)
    return {
        **asdict(summary_of(snapshot)),
        "catalog": inspect_catalog(encode_catalog(snapshot.catalog)),
        "manifests": [inspect_manifest(encode_manifest(manifest)) for manifest in snapshot.manifests],
    }


def inspect_catalog(data: bytes) -> dict[str, Any]:
    """Everything a catalog holds; raises Corrupt."""
    catalog = decode_catalog(data)
    tenants = {
        tenant: [settings_to_plain(streams[name]) for name in sorted(streams)]
        for tenant, streams in catalog.tenants.items()
    }
    return {
        "version": catalog.version,
        "tenants": tenants,
        "deletes": [delete_to_plain(delete) for delete in catalog.deletes],
        "retentions": {
            tenant: {stream: asdict(retention) for stream, retention in own.items()}
            for tenant, own in catalog.retentions.items()
        },
    }
