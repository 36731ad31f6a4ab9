"""What `up` remembers, and that `down` ends exactly the process that was started."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cluster.ray_process import RayProcess, _began
from core.errors import InvalidRequest
from malamute.recorded import Recorded, Records, user_records

SLEEP = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    started = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, start_new_session=True)
    assert started.stdout is not None
    started.stdout.readline()
    yield started
    started.kill()
    started.wait()


def _ray(process: subprocess.Popen[bytes], directory: Path) -> RayProcess:
    return RayProcess("127.0.0.1:1", str(directory), process.pid, _began(process.pid))


def test_records_come_back(tmp_path: Path) -> None:
    records = Records(tmp_path / "state")
    assert records.of_storage("/data") is None
    assert records.named("malamute") is None
    one = Recorded("malamute", "/data", 2, "127.0.0.1:1", RayProcess("127.0.0.1:1", "/tmp/x", 1, "7"))
    two = Recorded("other", "s3://bucket/x", 3, "10.0.0.1:6379", None)
    records.save(one)
    records.save(two)
    assert records.of_storage("/data") == one
    assert records.named("other") == two
    records.save(replace(one, shards=4))
    assert records.of_storage("/data") == replace(one, shards=4)
    records.remove(one)
    assert list(records.all()) == [two]


def test_a_name_that_is_taken_twice_has_to_be_told_apart(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for storage in ("/a", "/b"):
        records.save(Recorded("malamute", storage, 1, "127.0.0.1:1", None))
    with pytest.raises(InvalidRequest, match="/a, /b: say --storage"):
        records.named("malamute")


def test_a_record_of_another_version_is_refused(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.save(Recorded("malamute", "/a", 1, "127.0.0.1:1", None))
    path = next(tmp_path.glob("*.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(InvalidRequest, match="another version"):
        records.of_storage("/a")


def test_records_lie_where_the_user_keeps_state(tmp_path: Path) -> None:
    records = user_records({"XDG_STATE_HOME": str(tmp_path)})
    records.save(Recorded("malamute", "/a", 1, "127.0.0.1:1", None))
    assert len(list((tmp_path / "malamute").glob("*.json"))) == 1


def test_a_ray_that_is_there_is_alive_and_ends(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    directory = tmp_path / "ray"
    directory.mkdir()
    ray = _ray(process, directory)
    assert ray.alive
    ray.end()
    assert not ray.alive
    assert not directory.exists()
    ray.end()


def test_another_process_with_the_same_id_is_left_alone(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ray = replace(_ray(process, tmp_path / "ray"), began="1")
    assert not ray.alive
    ray.end()
    assert process.poll() is None


def test_nothing_is_alive_under_an_id_that_is_free(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    ray = _ray(process, tmp_path)
    process.kill()
    process.wait()
    assert not ray.alive
