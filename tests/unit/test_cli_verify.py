"""`malamute verify` and `malamute audit producer`: what they print, their exit codes, and that they change nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from malamute import cli, display
from storage.fs import LocalFileSystem
from storage.local_objects import LocalObjectStore
from storage.open_objects import open_object_store
from storage.verify_audit import UNTOLD, audit_producer
from tests.support.s3 import moto
from tests.support.verify_store import SmallStore, begin, fill, place_of


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(display, "_results", None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.chdir(tmp_path)
    for name in ("STORAGE", "WAL_DIRECTORY", "ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "DEBUG"):
        monkeypatch.delenv(f"MALAMUTE_{name}", raising=False)


@pytest.fixture(params=[False, True], ids=["directory", "objects"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SmallStore:
    return SmallStore(tmp_path / "malamute-data", request.param).make()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code; stdout and what display keeps of it are as before afterwards."""
    monkeypatch.setattr(sys, "argv", ["malamute", *arguments])
    stdout = sys.stdout
    with pytest.raises(SystemExit) as ended:
        cli.main()
    monkeypatch.setattr(display, "_results", None)
    monkeypatch.setattr(sys, "stdout", stdout)
    return int(ended.value.code or 0)


def test_a_sound_storage_is_exit_code_0(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.files()
    assert run(monkeypatch, "verify") == 0
    text = capsys.readouterr().out
    assert "140 events: sound" in text and "shard" in text
    assert run(monkeypatch, "verify", str(store.root), "--deep", "--json") == 0
    plain = json.loads(capsys.readouterr().out)
    assert (plain["sound"], plain["deep"], plain["events"], plain["findings"]) == (True, True, 140, [])
    assert store.files() == before


def test_findings_are_exit_code_1_and_say_what_to_do(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = store.one("**/*.parquet")
    lost.unlink()
    (lost.parent / "left-00000001-00000077.index").write_bytes(b"")
    assert run(monkeypatch, "verify", str(store.root)) == 1
    text = capsys.readouterr().out
    assert f"missing shards/0000/segments/default/logs/{lost.name}" in text and "restore it from a backup" in text
    assert "NOT SOUND, 1 findings, 1 warnings" in text
    assert run(monkeypatch, "verify", str(store.root), "--json") == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert [(finding["kind"], finding["warning"]) for finding in found] == [("missing", False), ("orphan", True)]


def test_what_cannot_be_verified_is_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(monkeypatch, "verify") == 2
    assert "there is no malamute in" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "verify", "empty") == 2
    assert "format.json is not there" in capsys.readouterr().err
    assert run(monkeypatch, "audit", "producer", "a", "--stream", "logs", "empty") == 2


def test_a_wal_directory_elsewhere_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = SmallStore(tmp_path / "store").make()
    (store.root / "wal").rename(tmp_path / "logs")
    assert run(monkeypatch, "verify", "store") == 1
    assert run(monkeypatch, "verify", "store", "--wal-directory", "logs") == 0
    assert run(monkeypatch, "verify", "store", "--no-wal") == 0
    capsys.readouterr()


def test_a_storage_that_is_served_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store = SmallStore(tmp_path / "store")
    shard = begin(store.objects, str(store.wal))
    fill(shard)
    assert run(monkeypatch, "verify", "store") == 0
    assert "shard 0 is being served right now" in capsys.readouterr().out
    shard.close()


def test_audit_shows_where_every_batch_is(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = store.files()
    assert run(monkeypatch, "audit", "producer", "a", "--stream", "logs") == 0
    text = capsys.readouterr().out
    assert "a is in epoch 1, last sequence 6, position 'at 6'" in text
    assert "sequence 0-1: stored, in segments; their offsets are not known any more" in text and UNTOLD in text
    assert run(monkeypatch, "audit", "producer", "a", "--stream", "logs", "--json") == 0
    (trace,) = json.loads(capsys.readouterr().out)
    told = {batch["sequence"]: batch for batch in trace["batches"]}
    assert sorted(told) == [2, 4, 5, 6]
    assert (told[2]["first_offset"], told[2]["last_offset"], told[2]["position"]) == (40, 49, "at 2")
    assert told[2]["source"] == "manifest version 2" and told[2]["stored"][0]["events"] == 10
    assert told[2]["stored"][0]["where"].endswith(".parquet") and ".parquet" not in told[6]["stored"][0]["where"]
    assert told[6]["source"].startswith("WAL ")
    assert store.files() == before


def test_audit_of_an_unknown_producer_is_exit_code_2(
    store: SmallStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "audit", "producer", "nobody", "--stream", "logs") == 2
    assert "no shard knows producer 'nobody' of stream default/logs" in capsys.readouterr().err


def test_audit_without_the_wal_or_with_a_damaged_one_says_so(tmp_path: Path) -> None:
    store = SmallStore(tmp_path / "store").make()
    (trace,) = audit_producer(place_of(store.objects, None), "default", "logs", "a")
    assert "the WAL is on a local disk that was not named" in trace.untold[0]
    assert [batch.sequence for batch in trace.batches] == [2, 4]
    store.one("wal/0000/*.wal").write_bytes(b"damage")
    place = place_of(LocalObjectStore(str(store.root), LocalFileSystem()), str(store.root / "wal"))
    (trace,) = audit_producer(place, "default", "logs", "a")
    assert "the WAL could not be read to its end" in trace.untold[0]


@pytest.mark.slow
def test_verify_and_audit_of_a_storage_on_s3(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with moto(tmp_path) as server:
        url = f"s3://{server.bucket}/store"
        objects = open_object_store(url, LocalFileSystem(), server.options())
        shard = begin(objects, None)
        fill(shard, "object")
        shard.abandon()
        options = {name: value for name, value in server.options().items() if name != "allow_http"}
        lines = [f"  {name}: {value}" for name, value in options.items()]
        (tmp_path / "s3.yaml").write_text("\n".join(["storage_options:", "  allow_http: true", *lines, ""]))
        assert run(monkeypatch, "verify", url, "-c", "s3.yaml", "--deep") == 0
        assert "140 events: sound" in capsys.readouterr().out
        assert run(monkeypatch, "audit", "producer", "b", "--stream", "spans", url, "-c", "s3.yaml") == 0
        assert "last sequence 6" in capsys.readouterr().out
        objects.delete([next(info.key for info in objects.list("") if info.key.endswith(".index"))])
        assert run(monkeypatch, "verify", url, "-c", "s3.yaml") == 1
