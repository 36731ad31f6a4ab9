"""Owns getting the shredder ready while something else is waited for. Importing this imports no compiler."""

from __future__ import annotations

import threading


def get_ready() -> threading.Thread:
    """Begin to load the compiled shredder on another thread; whoever shreds before waits for what it needs."""
    thread = threading.Thread(target=_warm_up, name="get ready", daemon=True)
    thread.start()
    return thread


def _warm_up() -> None:
    from ingest.compiled.warm_up import warm_up

    warm_up()
