"""Owns how numba kernels are compiled and where the compiled code is kept. Never knows what a kernel does.

Compiled code lies in the user's cache directory, named by the content of all sources of the kernel's folder: copies of
the repository (a Ray working_dir, a fresh clone) share it, and a changed helper in one file can never leave a stale
caller in another. Importing this module imports numba: only folders named `compiled` do.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator

Function = TypeVar("Function", bound=Callable[..., Any])

KERNELS: Final[list[Any]] = []  # every compiled function, for tests that nothing is compiled late


def kernel(function: Function) -> Function:
    """Compile `function` at its first call (or load it from the cache); it runs without the interpreter lock.

    Integers divide by zero without an exception and indexes are not checked: a kernel must keep its own bounds.
    """
    compiled: Any = numba.njit(nogil=True, error_model="numpy")(function)
    if _cache_directory(Path(function.__code__.co_filename).parent) is not None:
        compiled._cache = _Cache(function)
    KERNELS.append(compiled)
    return cast(Function, compiled)


@functools.cache
def _cache_directory(sources: Path) -> Path | None:
    """Where the compiled code of a folder is kept, None when the user has no directory that can be written."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    directory = Path(home) / "malamute" / "kernels" / _digest(sources)
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        return None
    return directory if os.access(directory, os.W_OK) else None


@functools.cache
def _digest(sources: Path) -> str:
    digest = hashlib.sha256()
    for source in sorted(sources.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    return digest.hexdigest()[:32]


class _Locator(_CacheLocator):  # type: ignore[misc]
    """Tells numba the directory above; numba itself adds its version, the CPU and the argument types."""

    def __init__(self, function: Callable[..., Any], file: str) -> None:
        self._sources = Path(file).parent
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(_cache_directory(self._sources))

    def get_source_stamp(self) -> str:
        return _digest(self._sources)

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, function: Callable[..., Any], file: str) -> _Locator:
        return cls(function, file)


class _CacheImpl(CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes: Final = [_Locator]


class _Cache(FunctionCache):  # type: ignore[misc]
    _impl_class: Final = _CacheImpl
