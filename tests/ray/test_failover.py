"""With the WAL on the object store a shard serves again on another node when its own is lost, without a hand."""

from __future__ import annotations

from tests.support.failover import EACH, FIRST
from tests.support.nodes import run_program


def test_a_lost_node_is_ridden_through_and_its_shard_opens_elsewhere(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(
        f"name: failover\nstorage: {tmp_path}/data\ndurability: object\nshards: 1\n"
        "shard:\n  num_cpus: 1\ncoordinator:\n  num_cpus: 0\n"
    )
    lines = run_program("tests.support.failover", str(config), "node", "1", timeout_s=120).split("\n")
    assert len([line for line in lines if line.startswith("killed ")]) == 1 and f"exact {FIRST + EACH}" in lines
