"""Owns `malamute launcher`."""

from __future__ import annotations

import os
import sys

from cluster.settings import launcher_yaml, load_settings


def run(config: str) -> None:
    """Print the cluster file for `ray up` that `config` holds."""
    sys.stdout.write(launcher_yaml(load_settings(config, {}, os.environ)))
