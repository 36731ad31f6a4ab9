"""Owns `malamute audit producer`: what a storage can still tell of one producer, for people. Decides nothing."""

from __future__ import annotations

import json

from rich.console import Console

from malamute.display import FAINT, count_text, output, results, table
from storage.verify import StoragePlace
from storage.verify_audit import Batch, Trace, audit_producer, position_text


def run(place: StoragePlace, tenant: str, stream: str, producer: str, as_json: bool) -> None:
    """Print every batch that can be told apart and where it is stored. Raises NotFound for an unknown producer."""
    out = output()
    traces = audit_producer(place, tenant, stream, producer)
    if as_json:
        json.dump([trace.to_plain() for trace in traces], results(), indent=2)
        results().write("\n")
        return
    for trace in traces:
        _show(trace, producer, out)


def _show(trace: Trace, producer: str, out: Console) -> None:
    state = trace.state
    position = position_text(state.position)
    last = "no batch yet" if state.last_sequence < 0 else f"last sequence {count_text(state.last_sequence)}"
    told = "no position" if position is None else f"position '{position}'"
    out.print(
        f"shard {trace.shard}: {producer} is in epoch {state.epoch}, {last}, {told}", markup=False, soft_wrap=True
    )
    out.print(f"offsets below {count_text(trace.wal_floor)} are in segments", style=FAINT)
    numbers = ("epoch", "sequence", "offsets", "events")
    shown = table(*numbers, "position", "stored in", "told by", right=numbers)
    for batch in trace.batches:
        where = "\n".join(f"{held.where} ({count_text(held.events)})" for held in batch.stored)
        where = where or ("not found" if batch.first_offset >= 0 else "nothing: duplicates by id")
        shown.add_row(*_numbers(batch), position_text(batch.position) or "", where, batch.source)
    out.print(shown)
    for line in trace.untold:
        out.print(line, style=FAINT, markup=False, soft_wrap=True)
    out.print()


def _numbers(batch: Batch) -> tuple[str, str, str, str]:
    if batch.first_offset < 0:
        return str(batch.epoch), str(batch.sequence), "", "0"
    events = batch.last_offset - batch.first_offset + 1
    return str(batch.epoch), str(batch.sequence), f"{batch.first_offset}-{batch.last_offset}", count_text(events)
