"""Which tests run beside each other under `make test`: unit tests file by file, all others in one process.

Those share one Ray, or measure what a kill or a power cut leaves.
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling


class DeploymentsInOneProcess(LoadScopeScheduling):
    """Gives the processes files of unit tests, and to one of them everything else."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if file.startswith("tests/unit/") else "deployment"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> DeploymentsInOneProcess:
    """How pytest-xdist spreads the tests, whatever `--dist` says."""
    return DeploymentsInOneProcess(config, log)
