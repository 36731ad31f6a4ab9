"""Which processes are below another, and where they listen, from /proc."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from pathlib import Path

_LISTEN = "0A"


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, also those that have become leaders of sessions of their own."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _text(thread).split():
            found += [int(child), *descendants(int(child))]
    return found


def command(pid: int) -> str:
    """The command line of a process, "" when it is gone."""
    return _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ").strip()


def listening(pids: Iterable[int]) -> dict[tuple[str, int], str]:
    """The command of the process that listens on each (address, TCP port)."""
    sockets = {**_listening_inodes("tcp", socket.AF_INET), **_listening_inodes("tcp6", socket.AF_INET6)}
    return {sockets[inode]: command(pid) for pid in pids for inode in _socket_inodes(pid) if inode in sockets}


def _listening_inodes(table: str, family: socket.AddressFamily) -> dict[str, tuple[str, int]]:
    found = {}
    for line in _text(Path(f"/proc/net/{table}")).splitlines()[1:]:
        fields = line.split()
        if fields[3] == _LISTEN:
            address, _, port = fields[1].partition(":")
            words = bytes.fromhex(address)  # 32-bit words, each in the machine's little-endian order
            packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
            found[fields[9]] = (socket.inet_ntop(family, packed), int(port, 16))
    return found


def _socket_inodes(pid: int) -> set[str]:
    found = set()
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
            if target.startswith("socket:["):
                found.add(target[len("socket:[") : -1])
    except FileNotFoundError:
        return found  # the process or the descriptor went away meanwhile
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
