"""Runs a Ray Client server in a process of its own beside a Ray that runs: in-process it would end that Ray."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cluster.ray_environment import LOOPBACK

START_S_MAX = 60.0


@contextmanager
def client_server(gcs_address: str) -> Iterator[str]:
    """The ray:// address of a client server for the Ray at `gcs_address`."""
    port = _free_port()
    command = [sys.executable, "-m", "ray.util.client.server", "--address", gcs_address, "--mode", "legacy"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, **LOOPBACK},
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + START_S_MAX
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(f"the ray client server did not start: exit code {process.poll()}")
            time.sleep(0.1)
        yield f"ray://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
