"""Owns the switches that may not change an answer (T42): spreads of the rows, and parts of the engine left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from query import plan, tasks, worker
from query.executor import Executor
from tests.support.query_check import Answer, Switch, difference, from_shards, kind_of, report, shrink, spread
from tests.support.query_generator import Query, generate
from tests.unit.test_query_shards import Shards

# What the others are compared with: every answer is computed, by the shards themselves.
PLAIN: Final = Switch("plain", states=False)


@contextmanager
def without_pruning() -> Iterator[None]:
    """No segment and no batch is skipped, and no condition left out, whatever is known of the rows."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(tasks, "refuted_by", lambda *_: ""))
        stack.enter_context(patch.object(worker, "batch_may_match", lambda *_: True))
        stack.enter_context(patch.object(worker, "refuted_row_groups", lambda *of: [""] * len(of[-1].rows)))
        stack.enter_context(patch.object(worker, "open_conditions", lambda scan, _: list(scan.conditions)))
        yield


@contextmanager
def without_two_phases() -> Iterator[None]:
    """Every query is gathered: the coordinator answers it over all rows."""
    with patch.object(plan, "_split_plan", lambda *_: None):
        yield


@contextmanager
def without_either() -> Iterator[None]:
    """Neither pruning nor two phases."""
    with without_pruning(), without_two_phases():
        yield


SWITCHES: Final = (
    Switch("one shard with one segment", shards=1, parts=1, states=False),
    Switch("five shards in many pieces", shards=5, parts=6),
    Switch("four shards, all in segments", shards=4, parts=2, states=False, memtables=0),
    Switch("three shards, one memtable", shards=3, parts=2, memtables=1),
    Switch("no pruning", states=False, off=without_pruning),
    Switch("no two phases", off=without_two_phases),
    Switch("one shard, no pruning, no two phases", shards=1, parts=2, states=False, off=without_either),
    Switch("three readers", parts=4, readers=3, states=False),
    Switch("kept states", parts=3, asked=3),
    Switch("kept states of readers, no pruning", parts=3, readers=2, asked=3, off=without_pruning),
)


def switch_failures(seed: int, queries: int, directory: Path, executor: Executor) -> Iterator[str]:
    """Reports of the queries of `seed` that a switch answers otherwise."""
    data, templates = generate(seed, queries)
    plain = spread(data, directory / f"plain-{seed}", executor, PLAIN)
    for number, switch in enumerate(SWITCHES):
        shards = spread(data, directory / f"switch-{seed}-{number}", executor, switch)

        def said(query: Query, shards: Shards = shards, switch: Switch = switch) -> str:
            return difference(lambda text: switched(shards, switch, text), lambda text: from_shards(plain, text), query)

        for query in templates:
            if found := said(query):
                kind = kind_of(found)
                smaller = shrink(query, lambda tried, said=said, kind=kind: kind_of(said(tried)) == kind)
                yield f"{switch.name}: {report(seed, smaller, said(smaller))}"


def switched(shards: Shards, switch: Switch, template: str) -> Answer:
    """The answer with the switch, the last one of several."""
    with switch.off():
        for _ in range(switch.asked):
            answer: Any = from_shards(shards, template)
    return answer
