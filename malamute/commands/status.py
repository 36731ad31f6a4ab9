"""Owns `malamute status`."""

from __future__ import annotations

import json

from core.clock import SystemClock
from malamute.commands.store import Choice, open_store
from malamute.display import count_text, output, remarks, results, shards_table
from malamute.display_scrub import scrub_lines


def run(choice: Choice, as_json: bool) -> bool:
    """Print the numbers of every shard; returns whether all of them serve."""
    out = output()
    with open_store(choice, remarks(), create=False) as store:
        status = store.client.status()
        streams = sorted(store.client.streams())
    if as_json:
        json.dump({**status.to_dict(), "streams": streams}, results(), indent=2, default=str)
        results().write("\n")
    else:
        out.print(shards_table(status.shards))
        out.print()
        names = ", ".join(streams) or "none yet"
        hits = [f"{cache} {found / asked:.0%}" for cache, (found, asked) in status.cache_hits.items() if asked]
        if hits:
            out.print(f"answered by caches: {', '.join(hits)}", soft_wrap=True)
        for line in scrub_lines(status.scrub, SystemClock().now_us()):
            out.print(line, soft_wrap=True)
        out.print(f"{store.where}: {count_text(status.events)} events; streams: {names}", soft_wrap=True)
    return all(shard["state"] == "serving" and not shard.get("poisoned") for shard in status.shards)
