"""`python -m tests.fuzz.guided TARGET SECONDS DIRECTORY SEED`: one target under atheris (libFuzzer), behind the fence.

Compiled kernels do not say what they cover. What guides the search instead is the Python that reads the same input: the
reference, and Python's own JSON scanner in its pure form. A crash, a hang or a difference ends the process with an
error and leaves the input in DIRECTORY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from random import Random
from typing import Any

import atheris

with atheris.instrument_imports(include=["ingest"]):
    import ingest.reference  # noqa: F401 (what is imported first, here, is what is instrumented)

from tests.fuzz.fence import raise_fence
from tests.fuzz.mutate import INTERESTING, INTERESTING_PACKED, mutated
from tests.fuzz.replay import CORPUS
from tests.fuzz.targets import TARGETS

INPUT_BYTES_MAX = 4096
INPUT_SECONDS_MAX = 120  # the first one compiles kernels


def main(name: str, seconds: int, directory: Path, seed: int) -> None:
    target = TARGETS[name]
    rubbish = Random(seed)
    raise_fence(lambda: rubbish.choice(b'"{[,:}\xff\x00\x5a'))
    probe = None if name == "packed" else _json_probe()

    def one_input(data: bytes) -> None:
        if probe is not None:
            probe(data)
        found = target(data)
        if found is not None:
            raise AssertionError(f"{name}: {found}\n{data!r}")

    stored = CORPUS / name
    others = [path.read_bytes() for path in sorted(stored.iterdir())]
    parts = INTERESTING_PACKED if name == "packed" else INTERESTING

    def mutate(data: bytes, size_max: int, seed: int) -> bytes:
        rng = Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, size_max))
        return mutated(rng, data, rng.choice(others), parts)[:size_max]

    found = directory / f"{name}-corpus"
    found.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-timeout={INPUT_SECONDS_MAX}",
        f"-artifact_prefix={directory}/{name}-",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(found), str(stored)], one_input, custom_mutator=mutate)
    atheris.Fuzz()


def _json_probe() -> Any:
    """A function that reads lines with Python's pure JSON scanner, instrumented."""
    decoder = json.JSONDecoder()
    decoder.parse_string = atheris.instrument_func(json.decoder.py_scanstring)
    decoder.parse_object = atheris.instrument_func(json.decoder.JSONObject)
    decoder.parse_array = atheris.instrument_func(json.decoder.JSONArray)
    decoder.scan_once = atheris.instrument_func(json.scanner.py_make_scanner)(decoder)

    def probe(data: bytes) -> None:
        for line in data[1:].split(b"\n"):
            try:
                decoder.decode(line.decode(errors="replace"))
            except (ValueError, RecursionError):
                continue

    return probe


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
