"""Everything works over ray:// as well, from a process that did not start the cluster."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import ray

from cluster.launch import launch, stop
from cluster.settings import load_settings
from tests.support.client_server import client_server

REPOSITORY = Path(__file__).resolve().parents[2]
REMOTE = """
import sys
import malamute
store = malamute.connect(sys.argv[1], name="remote")
receipt = store.write("logs", [{"service": "web", "n": n} for n in range(100)])
assert receipt.accepted == 100, receipt
with store.producer("outside", stream="logs") as producer:
    producer.send({"service": "db", "n": 100})
    producer.send_batch([{"service": "db", "n": 101}], position=b"p")
    producer.flush()
    assert producer.position() == b"p"
rows = store.sql("SELECT service, count(*) AS c FROM logs GROUP BY 1 ORDER BY 1").to_pylist()
assert rows == [{"service": "db", "c": 2}, {"service": "web", "c": 100}], rows
assert store.flush() == 102
assert store.status().events == 102
try:
    store.sql("SELECT * FROM nothing")
except malamute.NotFound as error:
    assert "nothing" in str(error)
else:
    raise AssertionError("no error")
store.close()
print("done")
"""


def test_the_whole_surface_over_ray_client(ray_session, storage):
    launch(load_settings(None, {"storage": storage, "name": "remote"}, {}))
    try:
        with client_server(ray.get_runtime_context().gcs_address) as address:
            outcome = subprocess.run(
                [sys.executable, "-c", REMOTE, address],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        assert outcome.returncode == 0 and "done" in outcome.stdout, outcome.stderr[-3000:]
    finally:
        assert stop("remote") == []


def test_nothing_at_the_address_is_a_typed_error():
    code = "import malamute; malamute.connect('ray://127.0.0.1:1')"
    outcome = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert "NotFound" in outcome.stderr or "Unavailable" in outcome.stderr, outcome.stderr[-2000:]
