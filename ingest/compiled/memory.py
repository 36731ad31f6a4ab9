"""Owns memory of which only what is written to is taken. Never decides what lies in it."""

from __future__ import annotations

import mmap

import numpy as np


def roomy(count: int, type_: type) -> np.ndarray:
    """Zeros of which only the pages that are written to take memory.

    numpy asks for huge pages, of 2 MiB: a dozen arrays with room to spare would take ten more than they need.
    """
    size = max(1, count * np.dtype(type_).itemsize)
    memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, type_, count)
