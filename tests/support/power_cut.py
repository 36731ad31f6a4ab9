"""An ext4 file system in a file, on a loop device, whose power can be cut: what was not synced is gone. Needs root."""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IMAGE_BYTES = 256 << 20  # sparse
SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN
NO_LOG_FLUSH = struct.pack("I", 2)  # neither data nor the journal are written out first


class NotPossible(Exception):
    """This machine does not let us mount; the message says why."""


class PowerCutDisk:
    """A mounted ext4 at `root`."""

    def __init__(self, image: Path, root: Path) -> None:
        self._image = image
        self.root = root

    def mount(self) -> None:
        _run("mount", "-o", "loop", str(self._image), str(self.root))

    def unmount(self) -> None:
        _run("umount", str(self.root))

    def cut_power(self) -> None:
        """From now on nothing reaches the disk, and every operation fails; the disk stays mounted."""
        descriptor = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(descriptor)


@contextmanager
def power_cut_disk(directory: Path) -> Iterator[PowerCutDisk]:
    """A new mounted disk below `directory`; NotPossible without root, the tools or the right to mount."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        raise NotPossible("mounting a loop device needs root")
    missing = [tool for tool in ("mkfs.ext4", "mount", "umount") if shutil.which(tool) is None]
    if missing:
        raise NotPossible(f"not installed: {', '.join(missing)}")
    image, root = directory / "disk.img", directory / "disk"
    root.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    _run("mkfs.ext4", "-q", "-F", str(image))
    disk = PowerCutDisk(image, root)
    try:
        disk.mount()
    except subprocess.CalledProcessError as error:
        raise NotPossible(f"a loop device cannot be mounted here: {error.stderr.strip()}") from error
    try:
        yield disk
    finally:
        if os.path.ismount(root):
            disk.unmount()


def _run(*command: str) -> None:
    subprocess.run(command, capture_output=True, text=True, check=True)
