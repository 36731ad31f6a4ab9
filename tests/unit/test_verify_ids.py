"""What verify and audit say of a store with ids of events: sound, or which run is missing, damaged or nobody's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from storage.dedup_run import encode_run
from storage.keys import ids_key
from storage.manifest import Manifest
from storage.verify_audit import audit_producer, position_text
from storage.verify_report import CORRUPT, MISSING, ORPHAN, WRONG
from tests.golden.__main__ import HERE, PRESENT_IDS
from tests.support.shards import STREAM, TENANT
from tests.support.verify_store import SmallStore, kinds, place_of


@pytest.fixture
def store(tmp_path: Path) -> SmallStore:
    """Two flushes, then a WAL with a batch and with one of duplicates only."""
    shutil.copytree(HERE / PRESENT_IDS, tmp_path / "store")
    return SmallStore(tmp_path / "store")


def test_a_store_with_ids_is_sound(store: SmallStore) -> None:
    assert store.verify().findings == []


def test_a_missing_run_is_told(store: SmallStore) -> None:
    store.one("shards/0000/ids/**/*.ids").unlink()
    assert kinds(store.verify()) == {MISSING}


def test_each_flipped_byte_of_a_run_is_told(store: SmallStore) -> None:
    run = store.one("shards/0000/ids/**/*.ids")
    data = run.read_bytes()
    for position in range(0, len(data), 7):
        run.write_bytes(data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :])
        assert kinds(store.verify(deep=False)) == {CORRUPT}


def test_ids_that_are_not_sorted_are_told(store: SmallStore) -> None:
    run = store.one("shards/0000/ids/**/*.ids")

    def unsorted(manifest: Manifest) -> Manifest:
        ids = manifest.id_runs[TENANT, STREAM]
        [named] = ids.runs
        data, crc = encode_run(named.start_us, named.end_us, np.array([2, 1], np.uint64), np.array([0, 0], np.uint64))
        run.write_bytes(data)
        runs = (named._replace(ids=2, crc32c=crc),)
        return replace(manifest, id_runs={(TENANT, STREAM): replace(ids, runs=runs)})

    store.change_manifest(unsorted)
    assert kinds(store.verify()) == {WRONG}


def test_a_run_that_no_manifest_names_is_an_orphan(store: SmallStore) -> None:
    key = ids_key(0, TENANT, STREAM, "2023-11-14T21", "00000001-00000009")
    (store.root / key).write_bytes(b"cut off")
    report = store.verify()
    assert kinds(report) == {ORPHAN} and [finding.where for finding in report.findings] == [key]


def test_an_audit_tells_of_a_batch_of_duplicates(store: SmallStore) -> None:
    [trace] = audit_producer(place_of(store.objects, str(store.root / "wal")), TENANT, STREAM, "again")
    [batch] = trace.batches
    assert (batch.sequence, batch.first_offset, batch.stored) == (0, -1, [])
    assert trace.state.last_sequence == 0 and not trace.untold
    assert position_text(b"\0\x1b[2Jat 7 \xff") == "\\x00\\x1b[2Jat 7 \\xff"
