"""The Ray that Malamute starts listens on the loopback interface only and asks for a token."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.ray_environment import LOOPBACK
from cluster.ray_process import start_ray
from cluster.settings import load_settings
from tests.support.sockets import command, descendants, listening

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS", *LOOPBACK)

EMBEDDED = """
import os, sys
import malamute
before = dict(os.environ)
for number in range(2):
    store = malamute.connect(storage=sys.argv[1])
    assert store.write("logs", [{"n": number}]).accepted == 1
    assert store.sql("SELECT count(*) FROM logs").scalar() == number + 1
    if number == 1:
        import ray
        print(ray.get_runtime_context().gcs_address, flush=True)
        sys.stdin.read()
    store.close()
changed = {name for name in os.environ if os.environ[name] != before.get(name)}
assert not changed & set(sys.argv[2:]), changed
"""
STRANGER = """
import sys
from ray._raylet import GcsClient
print("let in, sees", GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10))
"""


@pytest.fixture
def environment() -> Iterator[dict[str, str]]:
    """An environment in which nothing is said about where Ray listens and whom it lets in."""
    directory = tempfile.mkdtemp(prefix="mlm-")
    clean = {name: value for name, value in os.environ.items() if name not in OURS}
    yield {**clean, "RAY_TMPDIR": directory, "PYTHONPATH": str(REPOSITORY)}
    shutil.rmtree(directory, ignore_errors=True)


def assert_loopback(pids: list[int]) -> None:
    found = listening(pids)
    elsewhere = {place: name for place, name in found.items() if place[0].removeprefix("::ffff:") != "127.0.0.1"}
    assert not elsewhere
    names = " ".join(found.values())
    assert all(process in names for process in ("gcs_server", "raylet", "DashboardAgent", "RuntimeEnvAgent")), names


def assert_stranger_is_refused(address: str, environment: dict[str, str]) -> None:
    stranger = subprocess.run(
        [sys.executable, "-c", STRANGER, address],
        env={**environment, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert stranger.returncode != 0 and "let in" not in stranger.stdout
    assert "uthenticat" in stranger.stderr, stranger.stderr[-2000:]


def test_the_embedded_ray_listens_on_loopback_only_and_lets_no_stranger_in(environment, storage):
    driver = subprocess.Popen(
        [sys.executable, "-c", EMBEDDED, storage, *OURS],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert driver.stdout is not None and driver.stderr is not None
    address = driver.stdout.readline().strip()
    assert address.startswith("127.0.0.1:"), driver.stderr.read()[-3000:]
    pids = [driver.pid, *descendants(driver.pid)]
    assert any("ShardActor" in command(pid) for pid in pids)
    assert_loopback(pids)
    assert_stranger_is_refused(address, environment)
    _, errors = driver.communicate("", timeout=60)
    assert driver.returncode == 0, errors[-3000:]


def test_the_ray_of_up_listens_on_loopback_only_and_lets_no_stranger_in(environment, storage, monkeypatch):
    for name in OURS:
        monkeypatch.delenv(name, raising=False)
    ray = start_ray(load_settings(None, {"storage": storage}, {}))
    try:
        assert ray.address.startswith("127.0.0.1:")
        assert_loopback([ray.pid, *descendants(ray.pid)])
        assert_stranger_is_refused(ray.address, environment)
    finally:
        ray.end()
    assert not Path(ray.directory).exists()
