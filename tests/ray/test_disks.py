"""Nodes with disks of their own: a shard waits for its WAL, and is begun again on the node that has it."""

from __future__ import annotations

import subprocess

import pytest

from tests.support.disks import FIRST, LATER
from tests.support.nodes import run_program


def test_a_shard_waits_for_its_disk_and_follows_it_to_another_node(tmp_path):
    asked = ["unshare", "--mount", "mount", "--bind", "/tmp", str(tmp_path)]
    tried = subprocess.run(asked, capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"a node cannot have mounts of its own here: {tried.stderr.strip()}")
    lines = run_program("tests.support.disks", str(tmp_path), timeout_s=150).splitlines()
    assert lines[-2:] == ["waited", f"exact {FIRST + LATER}"]
