"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import malamute
from malamute._lazy import PUBLIC


def test_every_public_name_is_there_and_no_other():
    assert sorted(malamute.__all__) == sorted(PUBLIC)
    for name in malamute.__all__:
        assert getattr(malamute, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = malamute.nothing


def test_importing_malamute_imports_neither_ray_nor_arrow():
    code = "import sys, malamute; print({'ray', 'pyarrow', 'duckdb'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
