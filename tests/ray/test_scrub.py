"""The scrubber of a running deployment: it finds a damaged segment by itself, says so, and ends with the deployment."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

import malamute

WAIT_S = 60.0


@pytest.fixture
def scrubbed(ray_session, storage, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(f"name: scrubbed\nstorage: {storage}\nshards: 1\nscrub:\n  interval_s: 100ms\n")
    client = malamute.connect(config=config)
    yield client
    client.close()


def scrub_until(client: malamute.Client, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline_s = time.monotonic() + WAIT_S
    while not ((last := client.status().scrub["last_round"]) and condition(last)):
        assert time.monotonic() < deadline_s, client.status().scrub
        time.sleep(0.05)
    return last


def test_a_damaged_segment_is_found_and_said_until_it_is_mended(scrubbed, storage):
    scrubbed.write("logs", [{"n": n} for n in range(1000)])
    scrubbed.flush()
    assert scrub_until(scrubbed, lambda last: last["objects"] > 3)["findings"] == []
    (segment,) = Path(storage).glob("shards/0000/segments/**/*.parquet")
    sound = segment.read_bytes()
    segment.write_bytes(sound[:-100] + b"x" + sound[-99:])
    (finding,) = scrub_until(scrubbed, lambda last: last["errors"])["findings"]
    assert finding["kind"] == "corrupt" and finding["where"] == str(segment.relative_to(storage))
    json.dumps(scrubbed.status().to_dict())
    segment.write_bytes(sound)
    scrub_until(scrubbed, lambda last: not last["errors"])


def test_it_ends_with_its_deployment_and_is_off_when_asked(ray_session, storage, tmp_path):
    for interval in ("100ms", "0s"):
        config = tmp_path / f"{interval}.yaml"
        config.write_text(f"name: brief\nstorage: {storage}\nshards: 1\nscrub:\n  interval_s: {interval}\n")
        with malamute.connect(config=config) as client:
            if interval == "0s":
                assert client.status().scrub == {"state": "off"}
            else:
                scrub_until(client, lambda last: True)
                assert ray.get_actor("brief.scrubber", namespace="malamute")
    with pytest.raises(ValueError, match=r"brief\.scrubber"):
        ray.get_actor("brief.scrubber", namespace="malamute")
