"""Owns what is proposed to a shard about its segments, and when the shard must refuse it. Pure.

What changes at the same time is merges, erasures and flushes: whoever comes second is refused, and begins anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from core.errors import check
from storage.keys import origin_of
from storage.manifest_format import Erased, ErasedKey, Manifest, ManifestEdit
from storage.snapshot import Segment


class SegmentChange(Protocol):
    """A change of a shard's segments."""

    def edit(self, manifest: Manifest) -> ManifestEdit | str:
        """The edit that it makes of `manifest`, or why it does not fit (any more)."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """Segments of one stream, by name, and those that hold the same rows instead, written by `job` under `epoch`."""

    job: str
    epoch: int
    inputs: tuple[str, ...]
    outputs: tuple[Segment, ...]

    def edit(self, manifest: Manifest) -> ManifestEdit | str:
        """See SegmentChange. What comes out was looked through for those deletes for which all that went in was."""
        live = _live(manifest, self.epoch, self.inputs)
        if isinstance(live, str):
            return live
        rows = (sum(segment.rows for segment in live), sum(segment.rows for segment in self.outputs))
        check(rows[0] == rows[1], "CMP-1", "%d rows would be replaced by %d", *rows)
        through = min(segment.deleted_through for segment in live)
        outputs = tuple(replace(segment, deleted_through=through) for segment in self.outputs)
        return ManifestEdit(add=outputs, remove=self.inputs)


@dataclass(frozen=True, slots=True)
class Erasure:
    """Segments of one stream, by name, and those that hold what is left of them: some rows less, or none.

    `delete` numbers the delete that erases them, 0 for retention. `clean` are segments that have nothing to erase.
    """

    epoch: int
    delete: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[Segment, ...] = ()
    clean: tuple[str, ...] = ()

    def edit(self, manifest: Manifest) -> ManifestEdit | str:
        """See SegmentChange."""
        live = _live(manifest, self.epoch, self.inputs)
        if isinstance(live, str):
            return live
        marked = {segment.name: self.delete for segment in manifest.segments if segment.name in set(self.clean)}
        through = max(self.delete, min((one.deleted_through for one in live), default=0))
        outputs = tuple(replace(segment, deleted_through=through) for segment in self.outputs)
        erased = _erased(live, outputs, manifest.shard, self.delete)
        return ManifestEdit(add=outputs, remove=self.inputs, erased=erased, deleted_through=marked)


def _live(manifest: Manifest, epoch: int, names: Iterable[str]) -> list[Segment] | str:
    """The segments of these names, or why nothing may be changed."""
    if epoch != manifest.epoch:
        # The outputs are orphans to the present owner, who deletes them when it opens.
        return f"it was made under epoch {epoch}, the shard has {manifest.epoch}"
    if manifest.sealed > manifest.served:
        return "the shard gives its segments away"
    live = {segment.name: segment for segment in manifest.segments}
    wanted = list(names)
    gone = [name for name in wanted if name not in live]
    if gone:
        return f"{len(gone)} of {len(wanted)} inputs are not there any more"
    return [live[name] for name in wanted]


def _erased(inputs: Iterable[Segment], outputs: Iterable[Segment], shard: int, delete: int) -> dict[ErasedKey, Erased]:
    erased: dict[ErasedKey, Erased] = {}
    for sign, segments in ((1, inputs), (-1, outputs)):
        for segment in segments:
            origin = origin_of(segment.name)
            key = (shard if origin is None else origin, delete)
            rows, count = erased.get(key, Erased(0, 0))
            erased[key] = Erased(rows + sign * segment.rows, count + (sign > 0))
    return erased
