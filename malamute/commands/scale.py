"""Owns `malamute scale`: changes the number of shards, or says what a change would do. Decides nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidRequest
from malamute.client import Client
from malamute.commands.store import Choice, open_store
from malamute.display import FAINT, bytes_text, count_text, output, remarks, results


def run(choice: Choice, shards: int | None, auto: bool, dry_run: bool, as_json: bool) -> None:
    """Change to `shards` shards and wait until it is done, or explain. Raises what Client.scale raises."""
    if auto == (shards is not None):
        raise InvalidRequest("say how many with --shards N, or --auto --dry-run to see what automatic scaling would do")
    if auto and not dry_run:
        raise InvalidRequest(
            "automatic scaling goes on by itself once autoscale.enabled is true in ray_config.yaml: "
            "--auto --dry-run explains what it decides"
        )
    with open_store(choice, remarks(), create=False) as store:
        if shards is None:
            _print(_decision(store.client), as_json)
        elif dry_run:
            _print(_plan(store.client, shards), as_json)
        else:
            with remarks().status(f"[{FAINT}]changing to {shards} shards …", spinner="dots"):
                placement = store.client.scale(shards)
            said = f"{store.where} has {len(placement['shards'])} shards: {_numbers(placement['shards'])}"
            _print({**placement, "said": [said]}, as_json)


def _print(told: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        json.dump(told, results(), indent=2)
        results().write("\n")
        return
    for line in told["said"]:
        output().print(line, soft_wrap=True, markup=False)


def _plan(client: Client, shards: int) -> dict[str, Any]:
    planned = client.scale_plan(shards)
    now, after = planned["shards"], planned["next"]
    if after is None:
        return {**planned, "said": [f"nothing to do: there are {len(now)} shards, {_numbers(now)}"]}
    held = {shard["shard"]: shard for shard in client.status().shards}
    said = [f"from {len(now)} shards ({_numbers(now)}) to {len(after['shards'])} ({_numbers(after['shards'])})"]
    fresh = [shard for shard in after["shards"] if shard not in now]
    if fresh:
        said.append(f"begins: {_numbers(fresh)}; segments stay where they are, new events are spread over all")
    for shard, heir in after["heirs"].items():
        segments, size = (held.get(int(shard), {}).get(key, 0) for key in ("segments", "segment_bytes"))
        said.append(
            f"retires: {shard}; its {count_text(segments)} segments ({bytes_text(size)}) go to shard {heir}, by name "
            "only: nothing is copied"
        )
    said.append("producers go on at their new shards with sequence and position; they wait some tenths of a second")
    return {**planned, "said": said}


def _decision(client: Client) -> dict[str, Any]:
    told = client.scale_decision()
    now = len(told["now"])
    verb = f"stay at {now}" if told["shards"] == now else f"change from {now} to {told['shards']}"
    is_on = "is on" if told["enabled"] else "is off (autoscale.enabled)"
    return {**told, "said": [f"automatic scaling {is_on}; it would {verb} shards", told["reason"]]}


def _numbers(shards: Sequence[int]) -> str:
    return ", ".join(map(str, shards))
