"""Owns how the verification in the background is said in `malamute status`. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from malamute.display import BAD, FAINT, bytes_text, count_text, seconds_text


def scrub_lines(scrub: Mapping[str, Any], now_us: int) -> Iterator[Text]:
    """What a person has to know of it, a line each: nothing where it is off. `now_us` is the time now."""
    if scrub["state"] == "off":
        return
    if scrub["state"] == "unavailable":
        yield Text(f"scrub: the scrubber does not answer: {scrub['reason']}", BAD)
        return
    last = scrub["last_round"]
    under_way = _progress(scrub)
    if last is None:
        yield Text(f"scrub: no round is complete yet{under_way}", FAINT)
    else:
        what = f"{count_text(last['objects'])} objects, {bytes_text(last['bytes'])} read"
        ago = age_text((now_us - last["ended_us"]) / 1e6)
        text = Text("scrub: ").append(*_verdict(last["errors"]))
        text.append(f"; the last round ended {ago} ago: {what} in {seconds_text(last['seconds'])}{under_way}", FAINT)
        yield text
        for finding in last["findings"]:
            if not finding["warning"]:
                yield Text(f"  {finding['kind']} ", BAD).append(f"{finding['where']}: {finding['message']}", "default")
        if last["errors"]:
            yield Text("  all of them, and what to do: malamute verify", FAINT)
        if last["unread"]:
            yield Text(f"  {count_text(last['unread'])} things could not be read, as logs on other nodes' disks", FAINT)
    if scrub["failure"]:
        yield Text(f"scrub: a round was cut off: {scrub['failure']}", BAD)


def _verdict(errors: int) -> tuple[str, str]:
    if not errors:
        return "nothing is wrong", ""
    return (f"{count_text(errors)} findings" if errors > 1 else "1 finding"), BAD


def age_text(seconds: float) -> str:
    """A span of time for people, in its largest unit: 90 → "1.5 min"."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(0.0, seconds):.0f} s"


def _progress(scrub: Mapping[str, Any]) -> str:
    progress = scrub.get("progress")
    if progress is None:
        return ""
    return f"; {count_text(progress['segments'])} of {count_text(progress['segments_all'])} segments of this one"
