"""T16 on Ray: a Ray of its own loses requests and answers of actor calls while producers write; then all is counted.

Ray chooses which calls fail, by a seed of its own: what this seeds is the work. Run as a program, this is the driver.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import malamute

REPOSITORY = Path(__file__).resolve().parents[2]
PRODUCERS = 4
FAILURE_PERCENT = 8  # of each kind
DRIVER_S_MAX = 600
# How Ray pushes a call to the process of an actor.
PUSH = "CoreWorkerService.grpc_client.PushTask"

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the producers were told, and what is there. `duplicates`: events whose first answer was lost."""

    acknowledged: int
    duplicates: int
    stored: int
    distinct: int
    sums_match: bool


def campaign(seed: int, batches: int, failures_max: int) -> Outcome:
    """Let each of PRODUCERS producers send `batches`; of each process at most `failures_max` calls fail, -1 = no limit.

    Raises AssertionError when an acknowledged event is not there exactly once.
    """
    directory = tempfile.mkdtemp(prefix="mlm-", dir="/tmp" if Path("/tmp").is_dir() else None)
    kinds = ("req_failure_prob", "resp_failure_prob", "in_flight_failure_prob")
    failures = {"num_failures": failures_max, **dict.fromkeys(kinds, FAILURE_PERCENT)}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "RAY_TMPDIR": directory,
        "RAY_ADDRESS": "local",
        "RAY_testing_rpc_failure": json.dumps({PUSH: failures}),
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.torture.rpc_failures", directory, str(seed), str(batches)],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DRIVER_S_MAX,
            check=False,
        )
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    outcome = Outcome(**json.loads(done.stdout.splitlines()[-1]))
    assert outcome.stored == outcome.distinct == outcome.acknowledged and outcome.sums_match, outcome
    return outcome


def drive(directory: str, seed: int, batches: int) -> Outcome:
    """Write and count, in this process, on a Ray that it starts."""
    with malamute.connect(storage=f"{directory}/data") as store:
        with ThreadPoolExecutor(PRODUCERS) as pool:
            receipts = list(pool.map(lambda n: _produce(store, seed, n, batches), range(PRODUCERS)))
        rows = _settled(
            lambda: store.sql(
                "SELECT producer, count(*) AS stored, count(DISTINCT n) AS uniques, sum(n) AS total "
                "FROM numbers GROUP BY producer ORDER BY producer"
            ).to_pylist()
        )
    accepted = [receipt.accepted for receipt in receipts]
    return Outcome(
        acknowledged=sum(accepted),
        duplicates=sum(receipt.duplicates for receipt in receipts),
        stored=sum(row["stored"] for row in rows),
        distinct=sum(row["uniques"] for row in rows),
        sums_match=[row["total"] for row in rows] == [count * (count - 1) // 2 for count in accepted],
    )


def _produce(store: malamute.Client, seed: int, number: int, batches: int) -> malamute.Receipt:
    rng = random.Random(f"{seed} {number}")
    producer = _settled(lambda: store.producer(f"p{number}", stream="numbers"))
    sent = 0
    for _ in range(batches):
        rows = rng.randrange(1, 200)
        if rng.random() < 0.05:
            _settled(store.status)
        producer.send_batch([{"producer": number, "n": n} for n in range(sent, sent + rows)])
        sent += rows
    receipt = producer.flush()
    producer.close()
    return receipt


def _settled(question: Callable[[], _Answer]) -> _Answer:
    """The answer to a question that may be put again."""
    while True:
        try:
            return question()
        except (malamute.UnknownOutcome, malamute.Unavailable) as error:
            print(f"asked again: {error}", file=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(asdict(drive(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))))
