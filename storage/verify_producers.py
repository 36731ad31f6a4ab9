"""Owns whether producers are consistent: their states in the manifest, and their sequences in the WAL. Pure."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from core.batch import decode_batch
from core.errors import Corrupt
from storage.manifest import Manifest
from storage.producers import ProducerKey, ProducerState, accepted, opened
from storage.verify_report import CORRUPT, DISORDER, DOUBLE, GAP, WRONG, Findings
from storage.wal_batch import advanced
from storage.wal_format import BatchRecord, DuplicatesRecord, WalRecord

_TELL = "keep the storage as it is and compare with the producer's source: retries of it may be stored twice or refused"


def producer_text(key: ProducerKey) -> str:
    """A producer for people."""
    return f"producer {key[2]!r} of stream {key[0]}/{key[1]}"


def check_states(manifest: Manifest, where: str, found: Findings) -> None:
    """Check what one manifest says of its producers by itself."""
    for key, state in manifest.producers.items():
        begun = state.last_sequence >= 0
        sane = -1 <= state.first_offset <= state.last_offset and state.last_sequence >= -1 and state.epoch >= 1
        if not sane or (begun and state.first_offset < 0 and not state.duplicate_ids):
            found.add(WRONG, where, f"it has an impossible state of {producer_text(key)}: {state}", _TELL)
        elif state.shard < 0 and state.last_offset >= manifest.wal_floor:
            message = f"the last batch of {producer_text(key)} ends at offset {state.last_offset}"
            found.add(WRONG, where, f"{message}, above the WAL floor {manifest.wal_floor}", _TELL)


class WalRecords:
    """Takes the records of a WAL in order: the sink of a replay. `events` counts those above the WAL floor."""

    def __init__(self, manifest: Manifest, found: Findings, known_streams: set[tuple[str, str]] | None) -> None:
        self._manifest = manifest
        self._found = found
        self._streams = known_streams
        self._states: dict[ProducerKey, ProducerState] = dict(manifest.producers)
        self._below: dict[ProducerKey, BatchRecord] = {}
        self.events = 0

    def sink(self, record: WalRecord, synced: bool) -> None:
        """Take the next record."""
        key: ProducerKey = (record.tenant, record.stream, record.producer)
        if not isinstance(record, BatchRecord):
            state = opened(self._states.get(key), record.producer_epoch, 0)
            if isinstance(record, DuplicatesRecord) and record.producer_epoch == state.epoch:
                self._check_gap(key, record, state, f"wal of shard {self._manifest.shard}")
                state = advanced(state, record)
            self._states[key] = state
            return
        floor, end = self._manifest.wal_floor, record.first_offset + record.rows
        where = f"wal of shard {self._manifest.shard}, offset {record.first_offset}"
        self._check_body(record, where)
        if end <= floor:
            self._below[key] = replace(record, body=b"")
            return
        if record.first_offset < floor:
            message = f"the batch of offsets {record.first_offset}-{end - 1} lies across the WAL floor {floor}"
            self._found.add(WRONG, where, message)
        self.events += end - max(record.first_offset, floor)
        self._check_sequence(key, record, where)

    def _check_body(self, record: BatchRecord, where: str) -> None:
        try:
            rows = decode_batch(pa.py_buffer(record.body)).num_rows
        except Corrupt as error:
            self._found.add(CORRUPT, where, f"the batch passes its checksum but does not decode: {error}")
            return
        duplicates = record.verdict.duplicates if record.verdict else 0
        if rows - duplicates != record.rows:
            message = f"the batch has {rows} rows, {duplicates} of them duplicates, its record says {record.rows}"
            self._found.add(WRONG, where, message)
        if self._streams is not None and (record.tenant, record.stream) not in self._streams:
            message = f"its stream {record.tenant}/{record.stream} is not in the catalog, so no query finds it"
            self._found.add(WRONG, where, message)

    def _check_sequence(self, key: ProducerKey, record: BatchRecord, where: str) -> None:
        state = opened(self._states.get(key), record.producer_epoch, 0)
        who, sequence, expected = producer_text(key), record.sequence, state.last_sequence + 1
        if record.producer_epoch < state.epoch:
            message = f"a batch of epoch {record.producer_epoch} of {who} after epoch {state.epoch} was opened"
            self._found.add(DISORDER, where, message, "nothing: it was accepted before the newer epoch was")
            self._states[key] = state
            return
        self._check_gap(key, record, state, where)
        if sequence < expected:
            message = f"sequence {sequence} of {who}, epoch {state.epoch}, is stored although {expected - 1} was before"
            self._found.add(DOUBLE, where, message, _TELL)
        last = max(sequence, state.last_sequence)
        self._states[key] = accepted(state, last, record.first_offset, record.rows, record.position, 0)

    def _check_gap(
        self, key: ProducerKey, record: BatchRecord | DuplicatesRecord, state: ProducerState, where: str
    ) -> None:
        sequence, expected = record.sequence, state.last_sequence + 1
        if sequence > expected:
            missing = f"{expected}" if sequence == expected + 1 else f"{expected}-{sequence - 1}"
            message = f"sequence {missing} of {producer_text(key)}, epoch {state.epoch}, is not there"
            self._found.add(GAP, where, f"{message}, though {sequence} is", _TELL)

    def finish(self, where: str) -> None:
        """Compare the manifest's state of each producer with its last batch that the WAL has below the floor."""
        for key, record in self._below.items():
            state = self._manifest.producers.get(key)
            if state is None or record.producer_epoch < state.epoch:
                continue
            seen = (record.producer_epoch, record.sequence)
            if seen > (state.epoch, state.last_sequence):
                message = f"{producer_text(key)} is at epoch {state.epoch}, sequence {state.last_sequence} in it"
                self._found.add(WRONG, where, f"{message}; the WAL has {seen} below the floor", _TELL)
            elif seen == (state.epoch, state.last_sequence):
                end = record.first_offset + record.rows - 1
                same = (state.first_offset, state.last_offset) == (record.first_offset, end)
                if not same or record.position not in (None, state.position):
                    message = f"offsets or position of the last batch of {producer_text(key)} are not those of the WAL"
                    self._found.add(WRONG, where, message, _TELL)

    @property
    def producers(self) -> int:
        """How many producers are known, of the manifest and of the WAL."""
        return len(self._states)
