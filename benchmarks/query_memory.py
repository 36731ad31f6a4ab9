"""Owns what the query benchmark reads from /proc: the most memory that each process of a deployment has had."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.query_contenders import Malamute
from cluster.settings import Settings, load_settings

_RESET_PEAK = "5"  # of /proc/<pid>/clear_refs, see proc(5)


class Memory:
    """The processes of a deployment, from a moment at which they were idle and empty."""

    def __init__(self, ours: Malamute) -> None:
        self._ours = ours
        self._settings: Settings = load_settings(str(ours.config), {}, {})
        self._idle = {name: _bytes(pid, "VmRSS") for name, pid in self._processes().items()}

    def restart_peaks(self) -> None:
        """Forget the peaks so far: what comes now is counted."""
        for pid in self._processes().values():
            Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)

    def peaks(self) -> dict[str, dict[str, int]]:
        """By process: the peak, what it had when it was idle and empty, and how much the settings let it have.

        A query may use `query.memory_bytes_max`, a shard holds memtables of `limits.memtable_bytes_max` besides. Pages
        of Ray's object store, which `ray.object_store_memory` limits, are counted too where a process maps them.
        """
        peaks = {}
        for name, pid in self._processes().items():
            limit = self._settings.query.memory_bytes_max
            if name.startswith("shard"):
                limit += self._settings.limits.memtable_bytes_max
            idle = self._idle.get(name, 0)
            peaks[name] = {"peak": _bytes(pid, "VmHWM"), "idle": idle, "limit": idle + limit}
        return peaks

    def _processes(self) -> dict[str, int]:
        return dict(_pids("", self._ours.client.status().to_dict()))


def _pids(name: str, numbers: Any) -> list[tuple[str, int]]:
    """Every process that a status names, whatever kinds of them there are: (coordinator, shard 0 …; process id)."""
    if isinstance(numbers, list):
        return [found for index, item in enumerate(numbers) for found in _pids(f"{name.rstrip('s')} {index}", item)]
    if not isinstance(numbers, dict):
        return []
    own = [(name, numbers["pid"])] if isinstance(numbers.get("pid"), int) else []
    return own + [found for key, value in numbers.items() if key != "pid" for found in _pids(key, value)]


def _bytes(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} does not say its {field}")
