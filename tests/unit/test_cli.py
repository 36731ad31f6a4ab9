"""The command line without a deployment: names, exit codes, what is imported when, and the formats of rows."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from core.errors import NotFound, Unavailable
from malamute import cli, display
from malamute.commands import sql
from malamute.result import Result

COMMANDS = (
    "up", "down", "status", "ingest", "sql", "load", "inspect", "verify", "audit", "launcher", "demo",
    "snapshot", "backup", "backups", "restore", "clone",
)  # fmt: skip


def _main(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["malamute", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0)


@pytest.fixture(autouse=True)
def _own_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let every test begin with nothing taken and nothing recorded."""
    monkeypatch.setattr(display, "_results", None)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("MALAMUTE_STORAGE", raising=False)
    monkeypatch.delenv("MALAMUTE_DEBUG", raising=False)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)


def test_help_names_every_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _main("--help", monkeypatch=monkeypatch) == 0
    text = capsys.readouterr().out
    assert all(f" {command} " in text for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(command, "--help", monkeypatch=monkeypatch) == 0
    assert f"malamute {command}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, malamute.cli; print([m for m in ('ray', 'pyarrow', 'duckdb', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_python_m_malamute_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "malamute", "--help"], capture_output=True, text=True, check=True)
    assert "ingest" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("status",), "there is no malamute in"),
        (("sql", "SELECT 1"), "there is no malamute in"),
        (("sql", "SELECT 1", "--format", "xml"), "format 'xml' is not known"),
        (("sql", "SELECT 1", "--name", "other"), "no deployment named 'other'"),
        (("ingest", "logs", "nowhere.ndjson"), "there is no file 'nowhere.ndjson'"),
        (("inspect", "wal", "nowhere"), "there is no file 'nowhere'"),
        (("inspect", "page", "nowhere"), "there is no file kind 'page'"),
        (("backup", "backups"), "there is no malamute in"),
        (("clone", "nowhere", "copy"), "there is no malamute in"),
        (("restore", "nowhere", "--to", "new"), "there is no backup there"),
        (("snapshot", "list"), "there is no malamute in"),
        (("launcher", "-c", "nowhere.yaml"), "settings file 'nowhere.yaml' is not there"),
        (("load", "--address", "ray://far:10001"), "a load test runs on the cluster"),
        (("load", "--seconds", "0"), "for 0.0 s"),
        (("load", "--durability", "paper"), "durability 'paper' is not known"),
        (("demo", "nowhere.ndjson"), "there is no file 'nowhere.ndjson'"),
        (("up", "--shards", "0"), "shards: 0 is not allowed"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(
    arguments: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main(*arguments, monkeypatch=monkeypatch) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert message in captured.err


def test_debug_shows_where_an_error_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["malamute", "--debug", "inspect", "wal", "nowhere"])
    monkeypatch.setenv("MALAMUTE_DEBUG", "")  # set by the command, taken back by the test
    with pytest.raises(NotFound):
        cli.main()


def test_wrong_usage_is_exit_code_2(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _main("nonsense", monkeypatch=monkeypatch) == 2
    assert _main("ingest", monkeypatch=monkeypatch) == 2


@pytest.mark.parametrize("command", ["status", "load", "demo"])
def test_half_a_success_is_exit_code_1(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"malamute.commands.{command}.run", lambda *arguments: False)
    assert _main(command, monkeypatch=monkeypatch) == 1
    monkeypatch.setattr(f"malamute.commands.{command}.run", lambda *arguments: True)
    assert _main(command, monkeypatch=monkeypatch) == 0


def test_down_of_nothing_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("malamute.commands.down.ray_of_this_machine", lambda: None)
    assert _main("down", monkeypatch=monkeypatch) == 2
    assert "no deployment was launched on" in capsys.readouterr().err


def test_a_file_that_is_damaged_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "broken").write_bytes(b"not one of ours " * 100)
    for kind in ("segment", "manifest", "wal", "catalog", "snapshot"):
        assert _main("inspect", kind, "broken", monkeypatch=monkeypatch) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_a_report_that_cannot_be_written_is_refused_before_the_load(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _main("load", "--report", "nowhere/report.json", monkeypatch=monkeypatch) == 2
    assert "nowhere" in capsys.readouterr().err


def test_a_refusal_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("malamute.commands.status.run", refuse)
    assert _main("status", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr().err == "error: /somewhere: permission denied\n"


def _result() -> Result:
    when = datetime(2026, 1, 2, 3, 4, 5, 600_000, UTC)
    return Result(
        pa.table(
            {
                "n": pa.array([1, None], pa.int64()),
                "ratio": pa.array([0.5, 12.25]),
                "text": ['say "hi", you', None],
                "tags": [["a", "b"], None],
                "at": pa.array([when, None], pa.timestamp("us", "UTC")),
            }
        )
    )


def _printed(format_: str, capfdbinary: Any) -> bytes:
    sql.FORMATS[format_](_result())
    display.results().flush()
    out: bytes = capfdbinary.readouterr().out
    return out


def test_json_and_ndjson_hold_every_value(capfdbinary: Any) -> None:
    rows = json.loads(_printed("json", capfdbinary))
    assert rows == [
        {"n": 1, "ratio": 0.5, "text": 'say "hi", you', "tags": ["a", "b"], "at": "2026-01-02T03:04:05.600000+00:00"},
        {"n": None, "ratio": 12.25, "text": None, "tags": None, "at": None},
    ]
    assert [json.loads(line) for line in _printed("ndjson", capfdbinary).splitlines()] == rows


def test_json_of_no_rows_is_a_list(capfdbinary: Any) -> None:
    sql.FORMATS["json"](Result(pa.table({"n": pa.array([], pa.int64())})))
    display.results().flush()
    assert json.loads(capfdbinary.readouterr().out) == []


def test_csv_can_be_read_back(capfdbinary: Any) -> None:
    rows = list(csv.DictReader(io.StringIO(_printed("csv", capfdbinary).decode())))
    assert rows[0]["text"] == 'say "hi", you'
    assert (rows[0]["n"], rows[1]["n"]) == ("1", "")
    assert json.loads(rows[0]["tags"]) == ["a", "b"]


def test_arrow_is_the_table(capfdbinary: Any) -> None:
    with pa.ipc.open_stream(_printed("arrow", capfdbinary)) as reader:
        assert reader.read_all().equals(_result().to_arrow())


def test_a_table_in_a_pipe_is_plain_and_never_wrapped(capfdbinary: Any) -> None:
    sql.show(Result(pa.table({"x" * 50: ["y" * 200], "z": ["w" * 200]})))
    display.results().flush()
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert len(lines) == 3
    assert "y" * 200 + "   " + "w" * 200 in lines[2]
    assert "\x1b" not in "".join(lines)


def test_what_others_print_does_not_end_up_among_results(capsys: pytest.CaptureFixture[str]) -> None:
    display.results().write("result\n")
    print("a notice")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("result\n", "a notice\n")


def test_a_failed_connection_closes_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    from malamute.commands import store

    def refuse(*arguments: object, **options: object) -> None:
        raise Unavailable("not now")

    monkeypatch.setattr(store, "connect", refuse)
    with (
        pytest.raises(Unavailable, match="not now"),
        store.open_store(store.Choice(address="auto"), display.remarks(), create=True),
    ):
        raise AssertionError("the store opened")


def test_an_embedded_store_takes_its_settings_from_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from malamute.commands import store

    asked: dict[str, object] = {}

    def refuse(*arguments: object, **options: object) -> None:
        asked.update(options)
        raise Unavailable("not now")

    monkeypatch.setattr(store, "connect", refuse)
    (tmp_path / "config.yaml").write_text("shards: 1\n")
    choice = store.Choice(storage=str(tmp_path / "data"), config=str(tmp_path / "config.yaml"))
    with pytest.raises(Unavailable), store.open_store(choice, display.remarks(), create=True):
        raise AssertionError("the store opened")
    assert (asked["config"], asked["storage"]) == (choice.config, choice.storage)
