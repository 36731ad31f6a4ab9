"""The demo's sources without a deployment: following log files, reading a git history, naming streams."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from core.ids import check_name
from malamute import tail
from malamute.commands.demo import stream_name
from malamute.demo_queries import QUERIES, file_query
from malamute.git_history import commits
from malamute.tail import Tail, component


def _messages(follower: Tail, *, at_end: bool = False) -> list[str]:
    return [event["message"] for event in follower.lines(at_end=at_end)]


def test_each_line_comes_once_and_only_when_it_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "raylet.out"
    follower = Tail(tmp_path)
    file.write_bytes(b"one\ntwo\nthr")
    assert _messages(follower) == ["one", "two"]
    assert _messages(follower) == []
    with file.open("ab") as more:
        more.write(b"ee\r\n\n\xff four\n")
    assert _messages(follower) == ["three", "\ufffd four"]
    with file.open("ab") as more:
        more.write(b"last")
    assert _messages(follower) == []
    assert _messages(follower, at_end=True) == ["last"]
    assert _messages(follower, at_end=True) == []


def test_new_files_are_found_and_others_passed_over(tmp_path: Path) -> None:
    follower = Tail(tmp_path)
    assert follower.lines() == []
    (tmp_path / "monitor.log").write_text("hello\n")
    (tmp_path / "data.bin").write_text("nothing\n")
    (tmp_path / "old.log").mkdir()
    assert follower.lines() == [{"message": "hello", "file": "monitor.log", "service": "monitor"}]


def test_lines_longer_than_a_read_are_cut_but_never_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "CHUNK_BYTES", 8)
    (tmp_path / "a.log").write_text("ab\n" + "x" * 20 + "\ncd\n")
    messages = _messages(Tail(tmp_path))
    assert "".join(messages) == "ab" + "x" * 20 + "cd"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("raylet.out", "raylet"),
        ("dashboard_agent.log", "dashboard_agent"),
        ("worker-22e4cb6669fdd16e9b5a4464193aee591a9f91255549cf8b525b2272-ffffffff-11095.err", "worker"),
        ("python-core-driver-01000000ffffffffffffffffffffffffffffffffffffffffffffffff_10508.log", "python-core-driver"),
        ("12345.log", "12345"),
    ],
)
def test_the_component_is_in_the_file_name(file: str, name: str) -> None:
    assert component(file) == name


def _git(directory: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Ada Example", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True)


def test_a_history_becomes_events(tmp_path: Path) -> None:
    assert commits(tmp_path, 10) == []
    _git(tmp_path, "init")
    (tmp_path / "a b.txt").write_text("one\ntwo\n")
    (tmp_path / "b.bin").write_bytes(b"\0\1\2")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-m", "First: a tab\tand |pipes|")
    (tmp_path / "a b.txt").write_text("one\n")
    _git(tmp_path, "commit", "-a", "-m", "Second", "--date", "2026-01-02T03:04:05+01:00")
    second, first = commits(tmp_path, 10)
    assert second["timestamp"] == "2026-01-02T03:04:05+01:00"
    assert (second["insertions"], second["deletions"], second["files"]["paths"]) == (0, 1, ["a b.txt"])
    assert first["subject"] == "First: a tab\tand |pipes|"
    assert first["author"] == {"name": "Ada Example", "email": "ada@example.org"}
    assert (first["insertions"], first["files"]["changed"], first["merge"]) == (2, 2, False)
    assert len(commits(tmp_path, 1)) == 1


@pytest.mark.parametrize(
    ("file", "name"),
    [("logs/Web-1.ndjson.gz", "web-1"), ("2024 data.json", "file_2024_data"), ("ü.log", "file_"), ("a.b", "a")],
)
def test_streams_are_named_after_files(file: str, name: str) -> None:
    assert stream_name(file) == name
    check_name("stream", stream_name(file))


def test_every_query_has_words_and_streams() -> None:
    for query in (*QUERIES, file_query("mine")):
        assert query.title.endswith(".")
        assert all(stream in query.sql for stream in query.streams)
