"""A Ray head as somebody starts it with `ray start`: dashboard and client server, on loopback, with a token.

It lies beside every other Ray of the machine: own directory, own ports, and it is ended as a whole.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

from cluster.ray_environment import LOOPBACK
from tests.support.ports import free_ports

START_S_MAX = 90.0
END_S_MAX = 30.0
CPUS = 4


@dataclass(frozen=True, slots=True)
class RayHead:
    """Where it answers, and the environment of a process that may use it."""

    address: str
    dashboard: str
    client: str
    environment: dict[str, str]


@contextmanager
def ray_head() -> Iterator[RayHead]:
    """Start a head, wait until it takes jobs, and end it."""
    directory = tempfile.mkdtemp(prefix="mlm-", dir="/tmp" if Path("/tmp").is_dir() else None)
    gcs, dashboard, client, agent = free_ports(4)
    head = _head(directory, gcs, dashboard, client)
    options = {
        "port": gcs,
        "node-ip-address": "127.0.0.1",
        "temp-dir": f"{directory}/ray",
        "min-worker-port": 0,
        "max-worker-port": 0,
        "num-cpus": CPUS,
        "object-store-memory": 256 * 1024 * 1024,
        "include-dashboard": "true",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
    }
    arguments = [f"--{name}={value}" for name, value in options.items()]
    log = Path(directory, "start.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *arguments],
            cwd=directory,
            env={name: value for name, value in head.environment.items() if name != "RAY_ADDRESS"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline_s = time.monotonic() + START_S_MAX
        while not _takes_jobs(head):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"ray did not start: {log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.2)
        yield head
    finally:
        process.terminate()
        process.wait(END_S_MAX)
        shutil.rmtree(directory, ignore_errors=True)


def _head(directory: str, gcs: int, dashboard: int, client: int) -> RayHead:
    address, url = f"127.0.0.1:{gcs}", f"http://127.0.0.1:{dashboard}"
    own = {
        **LOOPBACK,
        "RAY_ADDRESS": address,
        "RAY_API_SERVER_ADDRESS": url,
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
        "GRPC_ENABLE_FORK_SUPPORT": "0",  # see cluster/ray_process.py
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": f"{directory}/state",
    }
    return RayHead(address, url, f"ray://127.0.0.1:{client}", {**os.environ, **own})


def _takes_jobs(head: RayHead) -> bool:
    token = head.environment["RAY_AUTH_TOKEN"]
    try:
        with urlopen(Request(f"{head.dashboard}/api/jobs/", headers={"Authorization": f"Bearer {token}"}), timeout=5):
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False
