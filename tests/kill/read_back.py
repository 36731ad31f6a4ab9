"""A process that recovers a shard and prints (offset, n) of everything in it as JSON; its end lets go of every file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.kill.ingest_child import open_real
from tests.kill.lives import REPOSITORY
from tests.support.shards import stored_rows


def read_back(root: Path) -> list[tuple[int, int]]:
    """Recover the shard below `root` in another process; what is there in offset order."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill.read_back", str(root)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(offset, n) for offset, n in json.loads(done.stdout)]


if __name__ == "__main__":
    print(json.dumps(stored_rows(*open_real(sys.argv[1]))))
