"""Object stores: create-if-absent on a local directory, in memory, and on S3-compatible servers over HTTP."""

from __future__ import annotations

import errno
import random
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pytest
from obstore import exceptions
from obstore.store import MemoryStore

from core.clock import ManualClock
from core.errors import InvalidRequest, InvalidSettings, NotFound, Unavailable, UnknownOutcome
from storage import remote_objects
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.objects import AlreadyExists, ObjectStore
from storage.open_objects import open_object_store
from storage.remote_objects import RemoteObjectStore, RetryBudget
from tests.support import s3
from tests.support.faultfs import Fault, FaultFileSystem
from tests.support.simfs import SimFileSystem


@pytest.fixture(params=["local", "simulated", "memory", "seaweedfs", "moto"])
def store(request: pytest.FixtureRequest, tmp_path: Path, servers: Callable[[str], s3.S3Server]) -> ObjectStore:
    fs = LocalFileSystem()
    if request.param == "local":
        return open_object_store(str(tmp_path), fs)
    if request.param == "simulated":
        return LocalObjectStore("/root", SimFileSystem())
    if request.param == "memory":
        return open_object_store("memory://", fs)
    server = servers(request.param)
    return open_object_store(f"s3://{server.bucket}/{tmp_path.name}", fs, server.options())


def test_an_object_is_created_once_and_never_changes(store: ObjectStore) -> None:
    store.put_new("a/b", b"first")
    with pytest.raises(AlreadyExists, match="a/b"):
        store.put_new("a/b", b"second")
    with pytest.raises(AlreadyExists):
        store.put_new("a/b", b"first")  # the same bytes of another call are still another writer's
    assert store.get("a/b") == b"first"


def test_data_may_be_any_buffer(store: ObjectStore) -> None:
    store.put_new("x", pa.py_buffer(b"arrow"))
    store.put_new("y", bytearray(b"array"))
    store.put_new("z", b"")
    assert [store.get(key) for key in "xyz"] == [b"arrow", b"array", b""]


def test_ranges(store: ObjectStore) -> None:
    store.put_new("r", b"0123456789")
    assert store.get_range("r", 2, 3) == b"234"
    assert store.get_range("r", 8, 100) == b"89"
    assert [bytes(piece) for piece in store.get_ranges("r", [(2, 3), (9, 1), (0, 10)])] == [b"234", b"9", b"0123456789"]
    assert list(store.get_ranges("r", [])) == []
    assert store.get_range("r", 10, 1) == store.get_range("r", 50, 1) == store.get_range("r", 3, 0) == b""


def test_what_is_absent_is_not_found(store: ObjectStore) -> None:
    store.put_new("folder/x", b"1")
    for key in ("nothing", "folder", "folder/x/y"):
        with pytest.raises(NotFound, match=key):
            store.get(key)
    with pytest.raises(NotFound):
        store.get_range("nothing", 0, 1)
    assert store.list("nowhere/") == []


def test_listings_are_sorted_and_bounded(store: ObjectStore) -> None:
    keys = ["m/00000000000000000002", "m/00000000000000000010", "m/sub/1", "mm/1", "z"]
    for key in reversed(keys):
        store.put_new(key, key.encode())
    assert [info.key for info in store.list("")] == keys
    assert [info.key for info in store.list("m/")] == keys[:3]
    assert [info.key for info in store.list("m/", after=keys[0])] == keys[1:3]
    assert store.list("m/", after="m/zzz") == []
    assert [info.size for info in store.list("")] == [len(key) for key in keys]
    assert all(info.modified_us > 1_600_000_000_000_000 for info in store.list(""))


def test_delete_is_idempotent(store: ObjectStore) -> None:
    store.put_new("d/1", b"1")
    store.delete(["d/1", "d/2", "e/f"])
    store.delete(["d/1"])
    assert store.list("") == []
    store.put_new("d/1", b"again")
    assert store.get("d/1") == b"again"


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/", "../a", "a/./b", "a/.tmp-x", "a\nb", "a\\b", "x" * 2_000])
def test_illegal_keys_are_refused(key: str, tmp_path: Path) -> None:
    for store in (LocalObjectStore(str(tmp_path), LocalFileSystem()), RemoteObjectStore(MemoryStore(), ManualClock())):
        with pytest.raises(InvalidRequest, match="not allowed"):
            store.put_new(key, b"")
    assert list(tmp_path.iterdir()) == []


def test_16_threads_creating_the_same_keys_have_one_winner_each(store: ObjectStore) -> None:
    keys = [f"race/{number}" for number in range(3)]
    wins: dict[str, list[bytes]] = {key: [] for key in keys}
    barrier = threading.Barrier(16)
    unexpected: list[BaseException] = []

    def create(writer: int) -> None:
        try:
            for key in keys:
                barrier.wait(60)
                try:
                    store.put_new(key, b"%d" % writer)
                    wins[key].append(b"%d" % writer)
                except AlreadyExists:
                    continue
        except Exception as error:
            unexpected.append(error)
            raise

    threads = [threading.Thread(target=create, args=(writer,)) for writer in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    assert {key: [store.get(key)] for key in keys} == wins


def test_a_local_object_survives_every_power_cut_after_its_creation() -> None:
    fs = SimFileSystem()
    LocalObjectStore("/root", fs).put_new("a/b", b"x" * 2_000)
    states = 0
    for state in fs.crash_states(random.Random(1), 200):
        states += 1
        assert LocalObjectStore("/root", state).get("a/b") == b"x" * 2_000
    assert states > 0


def test_a_crash_while_creating_leaves_all_or_nothing() -> None:
    snapshots: list[SimFileSystem] = []

    def observe(operation: str, path: str) -> None:
        snapshots.extend(fs.crash_states(random.Random(operation + path), 50))

    fs = SimFileSystem(observe)
    LocalObjectStore("/root", fs).put_new("a/b", b"y" * 1_500)
    assert len(snapshots) > 20
    for state in snapshots:
        store = LocalObjectStore("/root", state)
        assert [(info.key, info.size) for info in store.list("")] in ([], [("a/b", 1_500)])
        if store.list(""):
            assert store.get("a/b") == b"y" * 1_500


class FailingFileSystem(LocalFileSystem):
    """Fails one operation with an errno."""

    def __init__(self, operation: str, code: int) -> None:
        self._failing, self._code = operation, code

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "_failing"):
            code = object.__getattribute__(self, "_code")

            def fail(*_: Any) -> None:
                raise OSError(code, "injected")

            return fail
        return object.__getattribute__(self, name)


@pytest.mark.parametrize("operation", ["make_directories", "create", "link"])
def test_a_failure_before_the_name_exists_is_definite(tmp_path: Path, operation: str) -> None:
    store = LocalObjectStore(str(tmp_path), FailingFileSystem(operation, errno.ENOSPC))
    with pytest.raises(Unavailable, match="free some space"):
        store.put_new("a/b", b"1")
    assert LocalObjectStore(str(tmp_path), LocalFileSystem()).list("") == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_failure_after_the_name_exists_is_an_unknown_outcome(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(UnknownOutcome):
        LocalObjectStore(str(tmp_path), FailingFileSystem("sync_directory", errno.EIO)).put_new("a/b", b"1")


def test_a_link_that_was_reported_as_failed_and_was_made_is_an_unknown_outcome() -> None:
    fs = FaultFileSystem(SimFileSystem(), [Fault("link", 1, errno.EIO, after=True)])
    store = LocalObjectStore("/root", fs)
    with pytest.raises(UnknownOutcome, match="may have been created"):
        store.put_new("a/b", b"1")
    assert store.get("a/b") == b"1"
    with pytest.raises(AlreadyExists):
        store.put_new("a/b", b"1")


class FlakyObstore:
    """Stands in for the obstore module: fails the first attempts of `put`, before or after they take effect."""

    def __init__(self, failures: list[str]) -> None:
        self.failures = failures
        self.puts = 0

    def put(self, store: Any, key: str, data: bytes, **options: Any) -> Any:
        self.puts += 1
        failure = self.failures.pop(0) if self.failures else "none"
        if failure == "before":
            raise exceptions.GenericError("503 slow down https://host/key?X-Amz-Signature=secret")
        result = obstore.put(store, key, data, **options)
        if failure == "after":
            raise exceptions.GenericError("connection reset")
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(obstore, name)


def flaky(
    monkeypatch: pytest.MonkeyPatch, failures: list[str], **budget: Any
) -> tuple[RemoteObjectStore, Any, list[float]]:
    client, slept = FlakyObstore(failures), []
    monkeypatch.setattr(remote_objects, "obstore", client)
    store = RemoteObjectStore(
        MemoryStore(), ManualClock(), budget=RetryBudget(**budget), sleep=slept.append, jitter=lambda: 1.0
    )
    return store, client, slept


@pytest.mark.parametrize(
    "failures", [["before"], ["after"], ["before", "before"], ["after", "before"], ["before", "after"]]
)
def test_an_ambiguous_create_of_ours_succeeds(monkeypatch: pytest.MonkeyPatch, failures: list[str]) -> None:
    store, client, slept = flaky(monkeypatch, list(failures))
    store.put_new("k", b"ours")
    assert store.get("k") == b"ours"
    assert client.puts == len(failures) + 1
    assert slept == [0.05, 0.1][: len(failures)]


def test_an_ambiguous_create_that_another_won_is_a_conflict(monkeypatch: pytest.MonkeyPatch) -> None:
    store, client, _ = flaky(monkeypatch, [])
    store.put_new("k", b"theirs")
    client.failures = ["before"]
    with pytest.raises(AlreadyExists):
        store.put_new("k", b"ours")
    assert store.get("k") == b"theirs"


def test_a_spent_budget_leaves_an_unknown_outcome_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    store, client, _ = flaky(monkeypatch, ["before"] * 3, attempts_max=3)
    with pytest.raises(UnknownOutcome, match="3 attempts") as caught:
        store.put_new("k", b"ours")
    assert client.puts == 3
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["seaweedfs", "moto"])
def test_a_missing_bucket_is_a_setting_to_correct(name: str, servers: Callable[[str], s3.S3Server]) -> None:
    store = open_object_store("s3://no-such-bucket-here", LocalFileSystem(), servers(name).options())
    with pytest.raises(InvalidSettings):
        store.list("")
    if name == "moto":
        with pytest.raises(InvalidSettings, match="create the bucket"):
            store.put_new("k", b"")


def test_a_server_that_is_down_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = s3.free_ports(1)
    options = {"endpoint": f"http://127.0.0.1:{port}", "allow_http": "true", "secret_access_key": "hidden"}
    monkeypatch.setattr(remote_objects, "RetryBudget", lambda: RetryBudget(attempts_max=2))
    store = open_object_store("s3://bucket", LocalFileSystem(), {**options, "access_key_id": "x", "region": "r"})
    with pytest.raises(Unavailable, match="2 attempts") as caught:
        store.get("k")
    assert "hidden" not in str(caught.value) and "hidden" not in repr(store)


@pytest.mark.parametrize(
    ("url", "options", "told"),
    [
        ("ftp://x", {}, "not known"),
        ("s3://", {}, "lacks a bucket"),
        ("s3://user:secret@b", {}, "storage_options"),
        ("s3://b?x=secret", {}, "storage_options"),
        ("s3://b", {"endpont": "x"}, "did you mean 'endpoint'"),
        ("memory://", {"region": "x"}, "not known"),
        ("file://elsewhere/x", {}, "elsewhere"),
    ],
)
def test_wrong_urls_are_refused(url: str, options: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidSettings, match=told) as caught:
        open_object_store(url, LocalFileSystem(), options)
    assert "secret" not in str(caught.value)


def test_paths_and_file_urls_are_local(tmp_path: Path) -> None:
    for url in (str(tmp_path), f"{tmp_path}/", f"file://{tmp_path}"):
        assert open_object_store(url, LocalFileSystem()).local_path("a/b") == f"{tmp_path}/a/b"
