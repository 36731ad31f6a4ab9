"""Owns what is said of an export. Plain data that crosses processes; does not need PyIceberg."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exported:
    """One export of a stream: the table's newest metadata, and how it differs from the export before."""

    metadata: str  # path or URL of the metadata.json that readers open
    snapshot_id: int | None  # None while the stream has no files
    rows: int
    files: int
    files_added: int
    files_removed: int
    left_out: tuple[str, ...]  # columns that Iceberg cannot show
