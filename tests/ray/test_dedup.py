"""Dedup by id on a real Ray: two shards, both ways to write, killed shards, late events in SQL."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta

import pytest

import malamute
from core.errors import InvalidRequest, InvalidSettings
from tests.support.processes import pids

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def store(shared_store: malamute.Client) -> malamute.Client:
    return shared_store


def events(first: int, end: int) -> list[dict[str, object]]:
    return [{"id": f"order-{i}", "n": i, "timestamp": AT + timedelta(seconds=i)} for i in range(first, end)]


def test_an_id_is_stored_once_however_it_is_written_and_whatever_dies(store: malamute.Client, stream: str) -> None:
    store.create_stream(stream, dedup_key="id", dedup_window=timedelta(hours=1))
    receipt = store.write(stream, events(0, 1_000))
    assert (receipt.accepted, receipt.duplicate_ids, receipt.late) == (1_000, 0, 0)
    store.flush()
    with store.producer("source", stream=stream) as producer:
        producer.send_batch(events(500, 1_500), position=b"1500")
        assert producer.flush().duplicate_ids == 500
    for pid in pids(lambda: store.status().shards):
        os.kill(pid, signal.SIGKILL)
    receipt = store.write(stream, events(0, 2_000))
    assert (receipt.accepted, receipt.duplicate_ids) == (2_000, 1_500)
    with store.producer("source", stream=stream) as producer:
        assert producer.position() == b"1500"
    late = store.write(stream, [{"id": "order-0", "timestamp": AT - timedelta(days=1)}] * 2)
    assert (late.accepted, late.late, late.duplicate_ids) == (2, 2, 0)
    counted = f"SELECT count(*) AS n, count(DISTINCT id) AS ids, count(*) FILTER (_late) AS late FROM {stream}"
    assert store.sql(counted).to_pylist() == [{"n": 2_002, "ids": 2_000, "late": 2}]


def test_settings_that_cannot_be_are_refused(store: malamute.Client, stream: str) -> None:
    with pytest.raises(InvalidSettings, match="without dedup_key"):
        store.create_stream(stream, dedup_window=timedelta(hours=1))
    with pytest.raises(InvalidSettings, match="dedup_window"):
        store.create_stream(stream, dedup_key="id", dedup_window=timedelta(0))
    store.write(stream, [{"id": 1}])
    with pytest.raises(InvalidRequest, match="dedup_key: None, not 'id'"):
        store.create_stream(stream, dedup_key="id")
