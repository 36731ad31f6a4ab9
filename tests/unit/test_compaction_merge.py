"""T22: merges keep the multiset of rows, whatever the columns, sort keys, row groups and slices."""

from __future__ import annotations

import pytest

from tests.support.merges import random_merge


@pytest.mark.parametrize("seed", range(40))
def test_random_merges_keep_every_row(seed: int) -> None:
    assert random_merge(seed) > 0
