"""Every aggregate on the allow-list, over every type it takes, equals the plain aggregate after three leaves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest

from core.errors import InvalidQuery
from query.aggregates import EXPORTABLE, FRACTIONS, find_signature
from query.executor import Executor, Session

VALUES = {
    "BIGINT": "v",
    "DOUBLE": "v + 0.5",
    "HUGEINT": "v",
    "UBIGINT": "abs(v)",
    "INTEGER": "v",
    "DECIMAL(10,2)": "v * 1.25",
    "DECIMAL(21,1)": "v",
    "VARCHAR": "'k' || v",
    "BOOLEAN": "v > 10",
    "TIMESTAMP WITH TIME ZONE": "to_timestamp(v)",
    "DATE": "DATE '2020-01-01' + CAST(v AS INTEGER)",
    "VARCHAR[]": "['a' || v]",
}
SECOND = ("DOUBLE", "VARCHAR")
pytestmark = pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result")

GATHERED = {("avg", ("DATE",)), ("mean", ("DATE",))}  # the engine finishes these as another type
ANY_ROW = {"first", "last", "any_value", "arbitrary"}


@pytest.fixture(scope="module")
def executor() -> Iterator[Executor]:
    built = Executor(threads=1, memory_bytes=2**28)
    yield built
    built.close()


@pytest.fixture
def session(executor: Executor) -> Iterator[Session]:
    rng = random.Random(3)
    drawn = [rng.randrange(-50, 100) for _ in range(60)]
    table = pa.table({"row": range(60), "g": [n % 3 for n in range(60)], "v": [n if n % 7 else None for n in drawn]})
    with executor.session() as opened:
        opened.register("base", table)
        yield opened


def signatures(name: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], list[str]]]:
    """Types, constants and argument expressions to try `name` with."""
    for count in EXPORTABLE[name]:
        if name in FRACTIONS:
            of = FRACTIONS[name]
            for type_, sql in VALUES.items():
                one, several = f"CAST(0.5 AS {of})", f"CAST([0.5, 0.9] AS {of}[])"
                yield (type_, of), ("", one), [f"CAST({sql} AS {type_})", one]
                yield (type_, f"{of}[]"), ("", several), [f"CAST({sql} AS {type_})", several]
        elif count == 2:
            for type_, sql in VALUES.items():
                for other in SECOND:
                    yield (type_, other), ("", ""), [f"CAST({sql} AS {type_})", f"CAST({VALUES[other]} AS {other})"]
        else:
            for type_, sql in list(VALUES.items())[: None if count else 1]:
                yield (type_,) * count, ("",) * count, [f"CAST({sql} AS {type_})"] * count


def near(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-9, abs=1e-9, nan_ok=True)
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    return bool(one == other)


@pytest.mark.parametrize("name", sorted(EXPORTABLE))
def test_shipped_states_finish_as_the_plain_aggregate(name: str, executor: Executor, session: Session) -> None:
    tried = 0
    for types, constants, arguments in signatures(name):
        call = "count_star" if name == "count" and not types else name
        try:
            signature = find_signature(call, types, constants, session, executor.signatures)
        except InvalidQuery:
            continue  # the plain aggregate does not take these types either
        if signature is None:
            assert (name, types) in GATHERED
            continue
        tried += 1
        exported = f"SELECT g, {signature.export(arguments, '')} AS s FROM base WHERE row % 4 ="
        session.register("states", pa.concat_tables([session.table(f"{exported} {n} GROUP BY g") for n in range(4)]))
        merged = session.table(f"SELECT g, {signature.finish('s')} AS x FROM states GROUP BY g ORDER BY g")
        plain = session.table(f"SELECT g, {signature.call(arguments)} AS x FROM base GROUP BY g ORDER BY g")
        if name not in ANY_ROW:
            pairs = zip(merged.column("x").to_pylist(), plain.column("x").to_pylist(), strict=True)
            assert all(near(one, other) for one, other in pairs), (name, types)
        nothing = session.table(f"SELECT {signature.export(arguments, '')} AS s FROM base WHERE false")
        session.register("states", pa.concat_tables([nothing, nothing]))
        empty = session.table(f"SELECT {signature.finish('s')} AS x FROM states")
        assert empty.equals(session.table(f"SELECT {signature.call(arguments)} AS x FROM base WHERE false"))
    assert tried


def test_an_aggregate_without_states_has_no_signature(executor: Executor, session: Session) -> None:
    assert find_signature("mode", ("BIGINT",), ("",), session, executor.signatures) is None
    assert find_signature("entropy", ("BIGINT",), ("",), session, executor.signatures) is None
