"""Owns what compaction proposes to a shard, and when the shard must refuse it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import check
from storage.manifest_format import Manifest
from storage.snapshot import Segment


@dataclass(frozen=True, slots=True)
class Replacement:
    """Segments of one stream, by name, and those that hold the same rows instead, written by `job` under `epoch`."""

    job: str
    epoch: int
    inputs: tuple[str, ...]
    outputs: tuple[Segment, ...]

    def refusal(self, manifest: Manifest) -> str | None:
        """Why it does not fit the manifest (any more), None when it does."""
        if self.epoch != manifest.epoch:
            # Its outputs are orphans to the present owner, who deletes them when it opens.
            return f"it was made under epoch {self.epoch}, the shard has {manifest.epoch}"
        if manifest.sealed > manifest.served:
            return "the shard gives its segments away"
        live = {segment.name: segment for segment in manifest.segments}
        gone = [name for name in self.inputs if name not in live]
        if gone:
            return f"{len(gone)} of {len(self.inputs)} inputs are not there any more"
        rows = (sum(live[name].rows for name in self.inputs), sum(segment.rows for segment in self.outputs))
        check(rows[0] == rows[1], "CMP-1", "%d rows would be replaced by %d", *rows)
        return None
