"""Which tests may run beside each other: those of tests/unit do; all others are one group, in one process.

They share one Ray, or measure what a kill or a power cut leaves. `make test` runs two processes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

UNIT = Path(__file__).parent / "unit"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the group of every test that is not a unit test."""
    for item in items:
        if UNIT not in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("deployment"))
