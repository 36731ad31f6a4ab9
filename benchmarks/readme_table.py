"""Owns docs/measurements.md and the table "Measured" of README.md: made from benchmarks/results/*.json, never by hand.

Measures nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
README = REPOSITORY / "README.md"
ALL = REPOSITORY / "docs" / "measurements.md"
BEGIN, END = "<!-- measured:begin -->", "<!-- measured:end -->"
NOTHING = "Not measured yet."
NOT_SHOWN = {"kernels"}  # many figures, for those who change a kernel

# What README.md shows: the beginnings of names, by benchmark.
HEADLINES = (
    ("write", "write() of NDJSON"),
    ("write", "write() of a list of dicts"),
    ("shred", "generated logs: NDJSON"),
    ("shred", "generated logs: msgpack"),
    ("ingest", "sustained (as fast"),
    ("replay", "WAL replay until"),
    ("failover", "shard killed: next acknowledgement, p50"),
    ("failover", "node killed: next acknowledgement, p50"),
    ("dedup", "index of 10 M ids"),
    ("scaling", "longest flush of a writer, 2 to 4 shards, plain stream, p50"),
    ("sources", "kafka source"),
    ("compaction", "merge of 16 segments"),
    ("query", "48 queries"),
    ("query", "rare words and ids: malamute / DuckDB"),
    ("query", "fixed cost"),
    ("query", "questions that failed"),
)


class Figure(NamedTuple):
    """One row: the words of the table, and the sentence about the machine it was measured on."""

    benchmark: str
    name: str
    value: str
    target: str
    commit: str
    machine: str


def main() -> None:
    every = figures(RESULTS)
    for path, rows in ((README, headlines(every)), (ALL, every)):
        path.write_text(replaced(path.read_text(encoding="utf-8"), table(rows)), encoding="utf-8")


def figures(directory: Path) -> list[Figure]:
    """Every figure of the result files in `directory`, by file name. Raises ValueError for a file of another form."""
    return [
        figure
        for path in sorted(directory.glob("*.json"))
        if path.stem not in NOT_SHOWN
        for figure in _figures_of(path)
    ]


def headlines(rows: list[Figure]) -> list[Figure]:
    """Those that README.md shows, in its order. Raises ValueError for one that nothing measured."""
    found = []
    for benchmark, name in HEADLINES:
        shown = [row for row in rows if row.benchmark == benchmark and row.name.startswith(name)]
        if not shown:
            raise ValueError(f"no result of {benchmark} begins with {name!r}: mend HEADLINES or measure it")
        found += shown
    return list(dict.fromkeys(found))


def table(rows: list[Figure]) -> str:
    """The figures as Markdown, with a sentence for each machine."""
    if not rows:
        return NOTHING
    machines = list(dict.fromkeys(row.machine for row in rows))
    marks = {machine: f" [{number}]" if len(machines) > 1 else "" for number, machine in enumerate(machines, start=1)}
    lines = ["| benchmark | figure | measured | target | commit |", "|---|---|---|---|---|"]
    for row in rows:
        cells = (row.benchmark, row.name, f"{row.value}{marks[row.machine]}", row.target, row.commit)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"{marks[machine].strip()} {machine}".strip() for machine in machines]
    return "\n".join([*lines, "", "Machine: " + "; ".join(notes) + "."])


def replaced(text: str, new: str) -> str:
    """`text` with `new` between the two comments, each of which must be there once."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"the text needs {BEGIN} and then {END}, once each")
    return f"{text.partition(BEGIN)[0]}{BEGIN}\n{new}\n{END}{text.partition(END)[2]}"


def _figures_of(path: Path) -> Iterator[Figure]:
    content = json.loads(path.read_text(encoding="utf-8"))
    for result in content if isinstance(content, list) else [content]:
        if not isinstance(result, dict) or not any(key in result for key in ("values", "value", "report_version")):
            raise ValueError(f"{path} is no result of a benchmark: see benchmarks/README.md")
        values = _load_values(result) if "report_version" in result else result.get("values", [result])
        for item in values:
            yield Figure(
                benchmark=str(result.get("benchmark", path.stem)),
                name=str(item["name"]),
                value=f"{_number(item['value'])} {item.get('unit', '')}".strip(),
                target=str(item.get("target") or ""),
                commit=_commit(str(result.get("commit", "unknown"))),
                machine=_machine(result),
            )


def _load_values(report: dict[str, Any]) -> list[dict[str, Any]]:
    plan = report["plan"]
    offered = f"{plan['rate_per_s']:,.0f} events/s offered" if plan["rate_per_s"] else "as fast as possible"
    load = f"{offered}, {plan['producers']} producers, {plan['shards']} shards, level {plan['level']}"
    exact = "exact" if report["verification"]["exact"] else "NOT EXACT"
    return [
        {"name": f"sustained ({load})", "value": report["events_per_s"], "unit": "events/s"},
        {"name": "the same as JSON", "value": report["json_bytes_per_s"] / 1e6, "unit": "MB/s"},
        {"name": "acknowledged after, p50", "value": report["ack_ms"]["p50"], "unit": "ms"},
        {"name": "acknowledged after, p99", "value": report["ack_ms"]["p99"], "unit": "ms"},
        {"name": f"events acknowledged and counted: {exact}", "value": report["events"], "unit": "events"},
    ]


def _number(value: Any) -> str:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _commit(commit: str) -> str:
    identity, plus, rest = commit.partition("+")
    identity, dash, dirty = identity.partition("-")
    return f"{identity[:12]}{plus}{rest}{dash}{dirty}"


def _machine(result: dict[str, Any]) -> str:
    own = result.get("machine", {})
    cpus, processor = result.get("cpu_count", own.get("cpus")), result.get("cpu", own.get("processor"))
    python = result.get("python", result.get("versions", {}).get("python"))
    versions = {name: text for name, text in result.get("versions", {}).items() if name in ("ray", "pyarrow", "duckdb")}
    parts = [f"{cpus} cores {processor or ''}".strip() if cpus else "", f"Python {python}" if python else ""]
    parts += [f"{name} {version}" for name, version in versions.items()]
    return ", ".join(part for part in (*parts, str(result.get("date", result.get("began", "")))[:10]) if part)


if __name__ == "__main__":
    main()
