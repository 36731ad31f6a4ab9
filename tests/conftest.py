"""Which tests run beside each other under `make test`: file by file, but those on Ray all in one process.

They share one cluster, or begin a deployment of their own, and take longest: they come first.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


def _needs_ray(nodeid: str) -> bool:
    return nodeid.startswith(("tests/ray/", "tests/test_readme"))


class DeploymentsInOneProcess(LoadScopeScheduling):
    """Gives the processes files of tests, and to one of them all that need Ray."""

    def _split_scope(self, nodeid: str) -> str:
        return "deployment" if _needs_ray(nodeid) else nodeid.partition("::")[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests on Ray first."""
    items.sort(key=lambda item: not _needs_ray(item.nodeid))


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> DeploymentsInOneProcess:
    """How pytest-xdist spreads the tests, whatever `--dist` says."""
    config.option.loadscopereorder = False
    return DeploymentsInOneProcess(config, log)
