"""Owns how compaction and compactors are said in `malamute status`. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from malamute.display import BAD, FAINT, bytes_text, count_text, seconds_text, short_text


def compaction_lines(compaction: Mapping[str, Any]) -> Iterator[Text]:
    """What a person has to know of it, a line each: nothing while no shard answers."""
    if not compaction:
        return
    levels = compaction["segments_by_level"]
    files = ", ".join(f"{count_text(count)} on level {level}" for level, count in levels.items()) or "none"
    text = Text(f"segments: {files}")
    if compaction["compactions"]:
        rate = compaction["compacted_rows"] / max(compaction["compaction_s"], 1e-9)
        files_in, files_out = compaction["compacted_files_in"], compaction["compacted_files_out"]
        text.append(
            f"; {count_text(files_in)} merged into {count_text(files_out)} "
            f"({bytes_text(compaction['compacted_bytes_in'])} into {bytes_text(compaction['compacted_bytes_out'])}, "
            f"{short_text(rate)} events/s in {seconds_text(compaction['compaction_s'])}), "
            f"each event written {compaction['write_amplification']:.1f} times",
            FAINT,
        )
    waiting = compaction["compactions_waiting"] + compaction["compactions_running"]
    if waiting or compaction["garbage_waiting"]:
        text.append(
            f"; {count_text(waiting)} merges to do, {count_text(compaction['garbage_waiting'])} files to delete", FAINT
        )
    yield text
    troubles = {"failed": compaction["compactions_failed"], "refused": compaction["compactions_refused"]}
    if any(troubles.values()):
        said = ", ".join(f"{count_text(count)} {what}" for what, count in troubles.items() if count)
        style = BAD if troubles["failed"] else FAINT
        yield Text(f"compaction: {said}; the last: {compaction['last_compaction_error']}", style)


def compactor_lines(compactors: Sequence[Mapping[str, Any]]) -> Iterator[Text]:
    """What the compactors are at, a line for all of them and one for each that does not answer; nothing without any."""
    if not compactors:
        return
    answered = [one for one in compactors if one.get("state") != "unavailable"]
    total = {name: sum(one[name] for one in answered) for name in ("merges", "refused", "failed")}
    did = ", ".join(f"{count_text(count)} {name}" for name, count in total.items() if count or name == "merges")
    at_work = [one for one in answered if one["merging"]]
    text = Text(f"compactors: {len(at_work)} of {len(compactors)} at work; {did}")
    for one in at_work:
        merging = one["merging"]
        what = f"{merging['segments']} segments of {merging['tenant']}/{merging['stream']} of shard {merging['shard']}"
        rows, since = short_text(merging["rows"]), seconds_text(merging["s"])
        text.append(f"; compactor {one['compactor']}: {what}, {rows} events, for {since}", FAINT)
    yield text
    for one in compactors:
        if one.get("state") == "unavailable":
            yield Text(f"compactor {one['compactor']} does not answer: {one['reason']}", BAD)
        elif one["last_error"]:
            yield Text(f"compactor {one['compactor']} failed at last: {one['last_error']}", BAD)
