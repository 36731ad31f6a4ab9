"""Value lists and string zone maps: they hold every value, and are what their descriptions say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.columns import ColumnKey, field_of
from core.errors import Corrupt
from storage.envelope import unseal
from storage.segment_index_format import (
    FORMAT_VERSION,
    MAGIC,
    ColumnIndex,
    IndexContents,
    decode_index,
    encode_index,
)
from storage.segment_index_writer import build_index
from storage.string_zone_maps import (
    ANYTHING,
    SOMETHING,
    TEXTS_MAX,
    TRANSITIONS_MAX,
    State,
    decode_string_zone_map,
    string_zone_map,
)
from storage.value_lists import TEXT_BYTES_MAX, VALUES_MAX, value_list

# --- value lists ------------------------------------------------------------------------------------------------------


@given(st.lists(st.one_of(st.none(), st.integers(-20, 20)), max_size=80))
@settings(max_examples=200, deadline=None)
def test_a_list_is_of_all_values_or_there_is_none(values: list[int | None]) -> None:
    distinct = sorted({value for value in values if value is not None})
    for kind, type_, made in (("int", pa.int64(), int), ("str", pa.string(), lambda value: chr(100 + value))):
        array = pa.array([None if value is None else made(value) for value in values], type_)
        expected = tuple(sorted(map(made, distinct))) if len(distinct) <= VALUES_MAX else None
        assert value_list(array, kind) == expected
        assert value_list(pa.concat_arrays([pa.nulls(7, type_), array]).slice(7), kind) == expected


def test_values_that_come_late_are_seen() -> None:
    assert value_list(pa.array([1] * 5_000 + [2]), "int") == (1, 2)
    assert value_list(pa.array([1] * 5_000 + list(range(VALUES_MAX + 1))), "int") is None
    assert value_list(pa.array([*range(VALUES_MAX), None] * 2), "int") == tuple(range(VALUES_MAX))


def test_long_texts_and_other_kinds_are_not_listed() -> None:
    assert value_list(pa.array(["x" * TEXT_BYTES_MAX]), "str") == ("x" * TEXT_BYTES_MAX,)
    assert value_list(pa.array(["x" * TEXT_BYTES_MAX, "y"]), "str") is None
    assert value_list(pa.array([1.5]), "float") is None and value_list(pa.array(["1.50"]), "decimal") is None
    assert value_list(pa.array([2**64 - 1], pa.uint64()), "uint") == (2**64 - 1,)


# --- string zone maps -------------------------------------------------------------------------------------------------

TEXTS = st.lists(
    st.one_of(st.none(), st.text("ab", max_size=12), st.text(max_size=4), st.integers(0, 300).map("node-{:04}".format)),
    max_size=120,
)


def transitions(state: State) -> int:
    return len(state.next) + sum(transitions(following) for following in state.next.values())


def reference(texts: list[bytes]) -> State:
    """The published algorithm in plain Python: the state that most texts pass is looked at first."""
    passing = {b"": texts}
    waiting, used = [b""], 0
    found: dict[bytes, list[bytes] | None] = {}  # what is open: what leads on, None where there was no room
    while waiting:
        prefix = max(waiting, key=lambda candidate: len(passing[candidate]))  # the first of equals: the oldest
        waiting.remove(prefix)
        following = sorted({text[len(prefix) : len(prefix) + 1] for text in passing[prefix]} - {b""})
        if used + len(following) > TRANSITIONS_MAX:
            found[prefix] = None
            continue
        used += len(following)
        found[prefix] = [prefix + byte for byte in following]
        for child in found[prefix] or ():
            passing[child] = [text for text in passing[prefix] if text.startswith(child)]
            waiting.append(child)

    def state(prefix: bytes) -> State:
        children = found[prefix]
        return State(prefix in passing[prefix], children is None, {c[-1]: state(c) for c in children or ()})

    return state(b"")


@given(TEXTS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_string_zone_map_is_that_of_the_published_algorithm(texts: list[str | None], sliced: bool) -> None:
    array = pa.array(["before", *texts, "behind"]).slice(1, len(texts)) if sliced else pa.array(texts, pa.string())
    encoded = string_zone_map(array)
    present = [text for text in texts if text is not None]
    expected = reference([text.encode() for text in present])
    if encoded is None:
        assert not present or expected.more
        return
    root = decode_string_zone_map(encoded)
    assert root == expected and transitions(root) <= TRANSITIONS_MAX
    assert all(root.accepts(text) for text in present)


def test_few_texts_are_told_apart_exactly() -> None:
    root = decode_string_zone_map(string_zone_map(pa.array(["reader", "writer", "write", "compactor"])) or b"")
    taken = [text for text in ("reader", "write", "writer", "writ", "writers", "metadata", "") if root.accepts(text)]
    assert taken == ["reader", "write", "writer"]


def test_of_many_texts_the_beginnings_stay() -> None:
    root = decode_string_zone_map(string_zone_map(pa.array([f"node-{n:04}" for n in range(200)])) or b"")
    assert root.accepts("node-0123") and not root.accepts("node-2") and not root.accepts("other")


def test_what_would_accept_everything_is_left_out() -> None:
    assert string_zone_map(pa.array([chr(n) for n in range(33, 127)])) is None
    assert string_zone_map(pa.array([None, None], pa.string())) is None
    assert string_zone_map(pa.array([], pa.string())) is None
    root = decode_string_zone_map(string_zone_map(pa.array([""])) or b"")
    assert root == State(True, False, {})


def test_of_very_many_texts_there_is_none() -> None:
    assert string_zone_map(pa.array(["a"] * TEXTS_MAX + [None])) is not None
    assert string_zone_map(pa.array(["a"] * (TEXTS_MAX + 1))) is None


@pytest.mark.parametrize(
    "encoded",
    [
        b"",
        bytes([2]),
        bytes([2, 97]),
        bytes([1, 1]),
        bytes([2, 97, SOMETHING, 0]),
        bytes([2 * 65]),
        bytes([2, 97] * 65),
    ],
)
def test_damage_is_not_taken_for_a_map(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="string zone map"):
        decode_string_zone_map(encoded)
    assert decode_string_zone_map(bytes([ANYTHING])).more


# --- in an index ------------------------------------------------------------------------------------------------------


def table_of(**columns: list[Any]) -> pa.Table:
    fields = [field_of(name, ColumnKey(name, "int" if name == "n" else "str")) for name in columns]
    return pa.Table.from_arrays(
        [pa.array(v, f.type) for v, f in zip(columns.values(), fields, strict=True)], schema=pa.schema(fields)
    )


def test_an_index_has_them_where_a_row_group_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.segment_index_writer.INDEX_VALUES_ROWS_MIN", 40)
    rows = 100
    table = table_of(
        level=["info", "warn"] * 50, host=[f"node-{n:04}" for n in range(rows)], n=[n % 3 for n in range(rows)]
    )
    contents = build_index(table, 40)
    level, host, n = contents.columns
    assert level.lists == (("info", "warn"), ("info", "warn"), None) and level.string_zones == ()
    assert n.lists == ((0, 1, 2), (0, 1, 2), None) and n.string_zones == ()
    assert host.lists == () and host.string_zones[0] is not None and host.string_zones[2] is None
    assert decode_index(encode_index(contents)) == contents
    assert build_index(table, 39).columns[0].lists == ()
    encoded = table.set_column(
        0,
        table.schema.field(0).with_type(pa.dictionary(pa.int32(), pa.string())),
        table.column(0).combine_chunks().dictionary_encode(),
    )
    assert build_index(encoded, 40).columns[0].lists == level.lists


@pytest.mark.parametrize(
    ("lists", "string_zones"),
    [
        ((tuple(range(VALUES_MAX + 1)),), ()),
        (((1, "a"),), ()),
        (((1.5,),), ()),
        (((True,),), ()),
        ((("a",), ("b",)), ()),
        ((), (b"\xff" * 200,)),
        ((), (b"",)),
        ((), ("text",)),
    ],
)
def test_parts_of_another_shape_are_corrupt(lists: Any, string_zones: Any) -> None:
    contents = IndexContents((5,), (ColumnIndex("m", (5,), lists=lists, string_zones=string_zones),))
    with pytest.raises(Corrupt, match="unexpected shape"):
        decode_index(encode_index(contents))


def test_the_example_of_the_page() -> None:
    encoded = string_zone_map(pa.array(["web", "we"]))
    assert encoded == bytes.fromhex("02 77 02 65 03 62 01")


def test_a_release_that_does_not_know_them_finds_the_rest_where_it_was() -> None:
    known = ColumnIndex("m", (5,), ("a",), ("b",), (bytes(32),))
    more = replace(known, lists=(("a", "b"),), string_zones=(string_zone_map(pa.array(["a", "b"])),))
    headers = []
    for column in (known, more):
        data = encode_index(IndexContents((5,), (column,)))
        _, header = unseal(MAGIC, FORMAT_VERSION, data[: len(data) - 32], "index")
        headers.append(header)
        assert data[-32:] == bytes(32)
    added = headers[1].keys() - headers[0].keys()
    assert added == {"lists", "string_zones"}
    assert {key: part for key, part in headers[1].items() if key not in added} == headers[0]
