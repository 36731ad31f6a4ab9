"""Owns `malamute status`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.clock import SystemClock
from malamute.commands.store import Choice, open_store
from malamute.display import bytes_text, count_text, output, remarks, results, shards_table
from malamute.display_compaction import compaction_lines, compactor_lines
from malamute.display_scrub import scrub_lines
from malamute.status import Status
from storage.object_requests import KINDS


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
        if status.requests:
            out.print(_requests_text(status), soft_wrap=True)
        out.print(placement_text(status.placement), soft_wrap=True, markup=False)
        for text in automatic_texts(status.placement["automatic"]):
            out.print(text, soft_wrap=True, markup=False)
        for text in keeper_texts(status.keeper):
            out.print(text, soft_wrap=True, markup=False)
        for text in erasing_texts(status):
            out.print(text, soft_wrap=True, markup=False)
        for line in compaction_lines(status.compaction):
            out.print(line, soft_wrap=True)
        for line in compactor_lines(status.compactors):
            out.print(line, soft_wrap=True)
        for line in scrub_lines(status.scrub, SystemClock().now_us()):
            out.print(line, soft_wrap=True)
        out.print(f"{store.where}: {count_text(status.events)} events; streams: {names}", soft_wrap=True)
    return all(shard["state"] == "serving" and not shard.get("poisoned") for shard in status.shards)


def keeper_texts(keeper: Mapping[str, Any]) -> Iterator[str]:
    """What was done for shards since the coordinator began, a line each; nothing where nothing was."""
    if keeper["ended"]:
        yield f"shards that hung and were ended: {count_text(keeper['ended'])}"
    if keeper["moved"]:
        yield f"shards that were brought to their disks: {count_text(keeper['moved'])}"
    if keeper["failure"]:
        yield f"looking after the shards failed at last: {keeper['failure']}"


def erasing_texts(status: Status) -> Iterator[str]:
    """What deletes and retention are at, a line each; nothing where nothing is."""
    running, held, failure = (status.deletes[name] for name in ("running", "held", "failure"))
    if running or held:
        yield f"deletes: {running} under way, {held} held by named snapshots; see 'malamute deletes'"
    if failure:
        yield f"a delete does not go on: {failure}"
    if status.retention["failure"]:
        yield f"retention does not go on: {status.retention['failure']}"


def placement_text(placement: Mapping[str, Any]) -> str:
    """The placement in force, and the change that is under way."""
    shards = ", ".join(map(str, placement["shards"]))
    text = f"placement {placement['version']}: shards {shards}"
    if placement["next"] is not None:
        following = ", ".join(map(str, placement["next"]["shards"]))
        text += f"; changing to {following} ({placement['state']})"
    return text if placement["failure"] is None else f"{text}; it does not go on: {placement['failure']}"


def automatic_texts(automatic: Mapping[str, Any]) -> Iterator[str]:
    """What automatic scaling is at, and what it did last; nothing where it is off."""
    if automatic["enabled"]:
        yield f"automatic scaling: {automatic['reason']}"
        if (last := automatic["last"]) is not None:
            yield f"its last change, to {last['shards']} shards: {last['reason']}"


def _requests_text(status: Status) -> str:
    numbers = status.requests
    kinds = ", ".join(f"{count_text(numbers[kind])} {kind.upper()}" for kind in KINDS if numbers[kind])
    again = f"{count_text(numbers['retries'])} retries, {count_text(numbers['hedges'])} second requests for late reads"
    size = f"{bytes_text(numbers['bytes_read'])} read, {bytes_text(numbers['bytes_written'])} written"
    price = f"about ${status.requests_usd:.4f} at the list price of S3"
    return f"object store since its processes started: {kinds} ({again}); {size}; {price}"
