"""Owns a Ray that outlives the command which started it: starting it, recognizing it again, ending exactly it.

Everything that Ray starts is in the process group of one `ray start --block`, which ends them when it is told to end.
Never ends a process that is not the one it started, never touches another Ray on the machine.
"""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cluster.ray_environment import LOOPBACK, QUICK_FAILOVER, quiet_environment, token_environment, use_token_file
from cluster.ray_session import OBJECT_STORE_BYTES_DEFAULT, attach_ray, is_connected
from cluster.settings import Settings
from core.errors import Unavailable

START_WAIT_S_MAX = 120.0  # measured: 9 s on two busy cores
STOP_WAIT_S_MAX = 30.0
POLL_S = 0.1

_RAY_DIRECTORY = "ray"  # Ray opens its own directory to all users: what is private lies beside it
_ADDRESS_FILE = "ray_current_cluster"  # written by `ray start` when it is ready
_LOG_FILE = "ray_start.log"
_TOKEN_FILE = "auth_token"  # whoever reads it may run code on this Ray

_ENVIRONMENT = {
    **LOOPBACK,
    **QUICK_FAILOVER,
    # Ray's client server starts processes while its gRPC threads run. gRPC's own handling of forks then crashes some of
    # them before they are another program (measured: 1 of 12 connections over ray://, without it 0 of 24).
    "GRPC_ENABLE_FORK_SUPPORT": "0",
    # There is nothing to wait for: `down` has stopped the actors, and no other node takes over.
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}


@dataclass(frozen=True, slots=True)
class RayProcess:
    """A Ray started here: its GCS address, its own directory, its leading process and when that began."""

    address: str
    directory: str
    pid: int
    began: str

    @property
    def alive(self) -> bool:
        """Whether the leading process is still the one that was started: process ids come back."""
        return _began(self.pid) == self.began

    def attach(self) -> Callable[[], None]:
        """Connect this process to it; returns how to disconnect. NotFound, Unavailable."""
        if is_connected():
            return attach_ray(self.address)
        forget_token = use_token_file(_token_path(self.directory))
        try:
            disconnect = attach_ray(self.address)
        except BaseException:
            forget_token()
            raise

        def detach() -> None:
            disconnect()
            forget_token()

        return detach

    def end(self) -> None:
        """End all of it and remove its directory; Unavailable when it does not end."""
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)
            if not self._ended_within(STOP_WAIT_S_MAX):
                os.killpg(self.pid, signal.SIGKILL)
                if not self._ended_within(STOP_WAIT_S_MAX):
                    raise Unavailable(f"ray at {self.address} (process {self.pid}) does not end: end it by hand")
        shutil.rmtree(self.directory, ignore_errors=True)

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.alive:
            if time.monotonic() > deadline:
                return False
            _reap(self.pid)
            time.sleep(POLL_S)
        return True


def start_ray(settings: Settings) -> RayProcess:
    """Start Ray on this machine as settings.ray says and wait until it is ready; Unavailable when it does not start."""
    # Ray's sockets lie below: their paths may have 107 characters, so no long directory of the user's will do.
    quiet_environment()
    base = "/tmp" if Path("/tmp").is_dir() else None
    directory = tempfile.mkdtemp(prefix="malamute-ray-", dir=base)  # only its user may enter
    Path(_token_path(directory)).write_text(secrets.token_hex(32))
    log = Path(directory) / _LOG_FILE
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "ray.scripts.scripts", *_arguments(settings, directory)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={**_ENVIRONMENT, **token_environment(_token_path(directory))},
            start_new_session=True,
        )
    address_file = Path(directory) / _RAY_DIRECTORY / _ADDRESS_FILE
    deadline = time.monotonic() + START_WAIT_S_MAX
    while not (address_file.exists() and address_file.read_text().strip()):
        if process.poll() is not None or time.monotonic() > deadline:
            reason = _last_line(log)
            RayProcess("?", directory, process.pid, _began(process.pid)).end()
            raise Unavailable(f"ray did not start: {reason}")
        time.sleep(POLL_S)
    address = address_file.read_text().strip()
    # The group goes on after this command; without this, Python would warn that it was left behind.
    process.returncode = 0
    return RayProcess(address, directory, process.pid, _began(process.pid))


def _arguments(settings: Settings, directory: str) -> list[str]:
    options = settings.ray
    needed = settings.shards * settings.shard.num_cpus + settings.coordinator.num_cpus
    arguments = {
        # 0 = any free port: other Rays on this machine keep theirs.
        "port": 0,
        "min-worker-port": 0,
        "max-worker-port": 0,
        "node-ip-address": "127.0.0.1",
        "temp-dir": f"{directory}/{_RAY_DIRECTORY}",
        "num-cpus": options.num_cpus or max(os.cpu_count() or 1, math.ceil(needed)),
        "object-store-memory": options.object_store_memory or OBJECT_STORE_BYTES_DEFAULT,
        "include-dashboard": str(options.include_dashboard).lower(),
    }
    if options.include_dashboard:
        arguments |= {"dashboard-host": options.dashboard_host, "dashboard-port": options.dashboard_port}
    if options.num_gpus is not None:
        arguments["num-gpus"] = options.num_gpus
    if options.resources:
        arguments["resources"] = json.dumps(dict(options.resources))
    given = [f"--{name}={value}" for name, value in arguments.items()]
    return ["start", "--head", "--block", "--disable-usage-stats", *given]


def _token_path(directory: str) -> str:
    return str(Path(directory) / _TOKEN_FILE)


def _began(pid: int) -> str:
    """When the process began, in words that no other process with the same id has; "" when there is none."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        # Fields after the command in parentheses: the first is the state, the twentieth the start in clock ticks.
        fields = stat.read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip()


def _reap(pid: int) -> None:
    """Let a child of this process that has ended go."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return  # not a child: started by an earlier command


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def ray_of_this_machine() -> str | None:
    """The address of the Ray to join when none was named: $RAY_ADDRESS, or what `ray start` left running; or None."""
    from ray._private import services

    if os.environ.get("RAY_ADDRESS"):
        return os.environ["RAY_ADDRESS"]
    known: str | None = services.find_bootstrap_address(None)
    return known if known in services.find_gcs_addresses() else None
