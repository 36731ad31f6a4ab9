"""Owns verifying the runs of ids that a manifest names: there, undamaged, sorted, within their slice. Read-only."""

from __future__ import annotations

from typing import Any

from core.errors import Corrupt, MalamuteError, NotFound
from storage.dedup_run import decode_run
from storage.manifest import Manifest
from storage.objects import ObjectStore
from storage.verify_report import CORRUPT, MISSING, RETRY, UNREADABLE, WRONG, Findings

_UNKNOWN = "restore it from a backup: without it the stream cannot be written to, since duplicates would be stored"


def verify_ids(objects: ObjectStore, manifest: Manifest, found: Findings) -> int:
    """The bytes of the sound runs of all that `manifest` names."""
    size = 0
    for stream in manifest.id_runs.values():
        for run in stream.runs:
            try:
                high, low = decode_run(objects.get(run.name), run)
            except NotFound:
                found.add(MISSING, run.name, "the manifest names this run of ids, and it is not there", _UNKNOWN)
                continue
            except Corrupt as error:
                found.add(CORRUPT, run.name, str(error), _UNKNOWN)
                continue
            except MalamuteError as error:
                found.add(UNREADABLE, run.name, str(error), RETRY)
                continue
            if not _ascending(high, low) or run.ids == 0 or run.start_us >= run.end_us:
                found.add(WRONG, run.name, "its ids are not sorted, each once, in a slice of time", _UNKNOWN)
                continue
            size += run.bytes
    return size


def _ascending(high: Any, low: Any) -> bool:
    ordered = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
    return bool(ordered.all())
