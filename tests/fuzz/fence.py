"""Owns an electric fence: the shredder's tables end at memory that may not be touched, and are full of rubbish.

Kernels do not check indexes. Behind a fence, one that reads or writes past the end of a table kills the process, and
one that relies on what it has not written gives another answer. What lies before a table is not watched.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable
from typing import Any

import numpy as np

from ingest.compiled import arrays, condense, events, hand, tape
from ingest.compiled.paths import Paths
from ingest.compiled.tape import EMPTY_TEXTS, Tape

_PAGE = mmap.PAGESIZE
_PROT_NONE = 0
_libc = ctypes.CDLL(None, use_errno=True)
_mprotect = _libc.mprotect
_mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


def raise_fence(rubbish: Callable[[], int]) -> None:
    """Fence in every table of this process from now on; `rubbish` gives the byte that unused memory is filled with."""
    new_tape, new_paths, grown, with_arena = tape.new_tape, events.new_paths, hand.grown, tape.with_arena

    def fenced_tape(data: bytes, entry_bytes_min: int) -> Tape:
        made = new_tape(data, entry_bytes_min)
        return Tape(*(_filled(name, array, made, rubbish()) for name, array in made._asdict().items()))

    def fenced_arena(made: Tape, more: int) -> Tape:
        grown_tape = with_arena(made, more)
        return made if grown_tape is made else grown_tape._replace(src=fenced(grown_tape.src))

    for module in (condense, events, hand):
        for name, value in {
            "new_tape": fenced_tape,
            "give_back": lambda made: None,
            "with_arena": fenced_arena,
            "new_paths": lambda: _fenced_paths(new_paths()),
            "grown": lambda paths, key_bytes: _fenced_paths(grown(paths, key_bytes)),
        }.items():
            if hasattr(module, name):
                setattr(module, name, value)
    arrays.np = FencedNumpy(rubbish)  # type: ignore[assignment]
    arrays.roomy = lambda count, type_: fenced(np.zeros(count, type_))


class FencedNumpy:
    """numpy, but memory that is not initialized is fenced in, and full of rubbish."""

    def __init__(self, rubbish: Callable[[], int]) -> None:
        self._rubbish = rubbish

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def empty(self, size: int, dtype: Any) -> np.ndarray:
        array = fenced(np.empty(size, dtype))
        array.view(np.uint8)[:] = self._rubbish()
        return array


def fenced(array: np.ndarray) -> np.ndarray:
    """A copy whose last byte is followed by a page that may not be touched."""
    size = -(-array.nbytes // _PAGE) * _PAGE
    memory = mmap.mmap(-1, size + _PAGE)
    copy: Any = np.frombuffer(memory, array.dtype, len(array), size - array.nbytes)
    copy[:] = array
    guard = np.frombuffer(memory, np.uint8, _PAGE, size).ctypes.data
    if _mprotect(guard, _PAGE, _PROT_NONE):
        raise OSError(ctypes.get_errno(), "mprotect failed")
    return copy


def _fenced_paths(paths: Paths) -> Paths:
    return Paths(*map(fenced, paths))


def _filled(name: str, array: np.ndarray, made: Tape, byte: int) -> np.ndarray:
    copy = fenced(array)
    if name == "src":
        copy[int(made.state[EMPTY_TEXTS]) + 4 :] = byte
    elif name != "state":
        copy.view(np.uint8)[:] = byte
    return copy
