"""Owns what this process tells Ray by its environment: where to listen, which token to ask for, what not to print.

Ray passes its environment on to everything that it starts. What the user has set is never changed.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config

# With "0" Ray keeps to one machine: it takes 127.0.0.1 as its own address and all its servers listen there and nowhere
# else. The name is from the systems on which Ray does so by itself; unset on Linux, it listens on every interface.
LOOPBACK: Mapping[str, str] = {ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}

# How soon a node counts as lost, and its actors begin elsewhere. A node whose processes died refuses connections: 4 x
# 0.5 s. One that is silent (no power, no network, stopped) has 4 x (0.5 + 2) s: less would take busy ones for dead, and
# what was on them is then begun anew. Ray's own are 5 x 3 s and 5 x (3 + 10) s.
QUICK_FAILOVER: Mapping[str, str] = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "500",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}

_TOKEN_NAMES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def quiet_environment() -> None:
    """Set, unless the user did, what keeps a local Ray from printing notices and from phoning home."""
    # Silences a notice about a coming change that does not concern processes without GPUs.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


@contextmanager
def loopback_only() -> Iterator[None]:
    """A Ray that is started inside listens on the loopback interface only; one that does can be joined inside.

    Without effect when the user has set the variable, to either value.
    """
    if LOOPBACK.keys() & os.environ.keys():
        yield
        return
    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ.update(LOOPBACK)
    ray_constants.ENABLE_RAY_CLUSTER = False  # Ray has read the environment when it was imported
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        for name in LOOPBACK:
            del os.environ[name]


def token_environment(path: str) -> dict[str, str]:
    """This process's environment, for a Ray that asks for the token in the file at `path`."""
    return {**_without_token(), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": path}


def use_token_file(path: str) -> Callable[[], None]:
    """Show the token in the file at `path` from now on; returns how to go back."""
    return _use(token_environment(path))


def use_new_token() -> Callable[[], None]:
    """Ask for a token that only this process and its children know, unless the user chose; returns how to go back.

    Left alone, Ray would keep one in the user's home, in a file that others may be able to read.
    """
    if any(name in os.environ for name in _TOKEN_NAMES):
        return _nothing
    return _use({**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})


def _without_token() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _TOKEN_NAMES}


def _use(environment: Mapping[str, str]) -> Callable[[], None]:
    before = {name: os.environ[name] for name in _TOKEN_NAMES if name in os.environ}
    _set_token_names(environment)
    return lambda: _set_token_names(before)


def _set_token_names(values: Mapping[str, str]) -> None:
    for name in _TOKEN_NAMES:
        if name in values:
            os.environ[name] = values[name]
        else:
            os.environ.pop(name, None)
    # Ray keeps what it has read.
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _nothing() -> None:
    """The user chose how Ray authenticates."""
