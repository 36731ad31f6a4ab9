"""Owns getting the shredder ready while something else is waited for. Importing this imports no compiler."""

from __future__ import annotations

import threading
from contextlib import suppress


def get_ready() -> threading.Thread:
    """Begin to load the compiled shredder on another thread; whoever shreds before waits for what it needs."""
    # Not a daemon: a process that ended while compiled code is being loaded would abort.
    thread = threading.Thread(target=_warm_up, name="get ready")
    thread.start()
    return thread


def _warm_up() -> None:
    # A process that ends meanwhile lets nothing be imported any more; a real failure comes again at the first use.
    with suppress(RuntimeError):
        from ingest.compiled.warm_up import warm_up

        warm_up()
