"""One Ray for the whole test session, in a directory of its own, on the loopback interface."""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

import malamute
from cluster.ray_environment import loopback_only, quiet_environment, use_new_token
from cluster.transport import NAMESPACE

pytestmark = pytest.mark.ray


@pytest.fixture(scope="session")
def ray_session() -> Iterator[str]:
    """The directory of a running Ray with enough logical CPUs for several deployments."""
    # Unix socket paths are limited to 107 bytes, so not below pytest's own directory.
    directory = tempfile.mkdtemp(prefix="mlm-")
    quiet_environment()
    forget_token = use_new_token()
    with loopback_only():
        ray.init(
            address="local",
            namespace=NAMESPACE,
            num_cpus=16,
            object_store_memory=512 * 1024 * 1024,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _temp_dir=directory,
            _node_ip_address="127.0.0.1",
        )
    yield directory
    ray.shutdown()
    forget_token()
    crashed = crashes(Path(directory))
    shutil.rmtree(directory, ignore_errors=True)
    assert not crashed, crashed


def crashes(directory: Path) -> str:
    """What processes of Ray wrote as they crashed: shards come back by themselves, so that no test would notice."""
    logs = [path.read_text("utf-8", "replace") for path in sorted(directory.glob("session_*/logs/worker-*.err"))]
    return "\n\n".join(log for log in logs if "Fatal Python error" in log)


_numbers = itertools.count()


@pytest.fixture
def storage(tmp_path) -> str:
    return str(tmp_path / "data")


@pytest.fixture
def store(ray_session, storage) -> Iterator[malamute.Client]:
    """An embedded deployment of two shards, stopped at the end of the test."""
    client = malamute.connect(storage=storage)
    yield client
    client.close()


@pytest.fixture(scope="module")
def shared_store(ray_session, tmp_path_factory) -> Iterator[malamute.Client]:
    """A deployment for a whole module of tests that do not disturb each other: each uses streams of its own."""
    client = malamute.connect(storage=str(tmp_path_factory.mktemp("shared") / "data"))
    yield client
    client.close()


@pytest.fixture
def stream() -> str:
    """A stream name that no other test has."""
    return f"stream{next(_numbers)}_{os.getpid()}"
