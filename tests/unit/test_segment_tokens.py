"""Tokens and their filters: the kernel finds what plain Python finds, and a filter never hides a token it holds."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.compiled.constants import HASH_END, HASH_LENGTH, HASH_SHIFT, HASH_WORD
from storage.token_blooms import BLOCK_BYTES, TOKENS_MAX, BloomBuilder, may_hold, used_entries
from storage.tokens import token_hash, tokens
from tests.fuzz.fence import fenced

PAGE = Path(__file__).resolve().parents[2] / "docs" / "formats" / "segment_index.md"
BUILDER = BloomBuilder()

# Characters around every border of the classes, and lengths around those of words (8) and blocks (64).
BORDERS = "@AZ[`az{/09:^_\x00\x7f\x80é€\U0001f600 -"
PIECES = st.one_of(
    st.text(alphabet=BORDERS, max_size=20),
    st.text(max_size=20),
    st.integers(0, 200).map(lambda length: "x" * length),
    st.integers(0, 70).map(lambda length: "-" * length),
)
TEXTS = st.lists(PIECES, max_size=4).map("".join)


def hashes(array: pa.Array) -> set[int]:
    found = BUILDER.hashes_of(array)
    assert found is not None and len(set(found.tolist())) == len(found)
    return set(found.tolist())


def expected(texts: list[str | None]) -> set[int]:
    return {token_hash(token) for text in texts if text for token in tokens(text)}


def test_what_a_token_is() -> None:
    assert tokens("GET /Api_v2/users?id=7f-3A HTTP/1.1") == [
        "get",
        "api_v2",
        "users",
        "id",
        "7f",
        "3a",
        "http",
        "1",
        "1",
    ]
    assert tokens("Ärger-Überfluß, 日本語。x\x7fy") == ["Ärger", "Überfluß", "日本語。x", "y"]
    assert tokens("") == tokens(" -;:\t\n") == []


def test_every_character_is_of_the_class_that_the_page_says() -> None:
    for code in range(0x100):
        word = (chr(code).isascii() and (chr(code).isalnum() or chr(code) == "_")) or code >= 0x80
        assert bool(tokens(chr(code))) == word
        assert hashes(pa.array([f"a{chr(code)}B"])) == expected([f"a{chr(code)}B"])


def test_hashes_that_the_format_page_names() -> None:
    named = {"error": "3d0196bef6a89fae", "7f3a9c": "8aea81a311aee645", "x" * 20: "435778e3672aa2f0"}
    assert {token: f"{token_hash(token):016x}" for token in named} == named
    page = PAGE.read_text()
    assert all(f"`{hashed}`" in page for hashed in named.values())


def test_a_text_that_is_no_utf8_in_python_has_tokens_too() -> None:
    assert tokens("a \ud800b") == ["a", "\ud800b"] and token_hash("\ud800b") > 0


@given(st.lists(st.one_of(st.none(), TEXTS), max_size=30), st.integers(0, 5), st.integers(0, 5))
@settings(max_examples=300, deadline=None)
def test_the_kernel_finds_what_plain_python_finds(texts: list[str | None], head: int, tail: int) -> None:
    array = pa.array(texts, pa.string())
    assert hashes(array) == expected(texts)
    end = max(head, len(texts) - tail)
    assert hashes(array.slice(head, end - head)) == expected(texts[head:end])


@given(st.lists(TEXTS, max_size=20))
@settings(max_examples=200, deadline=None)
def test_a_filter_holds_every_token_it_was_made_of(texts: list[str]) -> None:
    bloom = BUILDER.bloom_of(pa.array(texts, pa.string()))
    assert bloom is not None and len(bloom) % BLOCK_BYTES == 0
    assert all(may_hold(bloom, token) for text in texts for token in tokens(text))
    assert bool(bloom) == any(tokens(text) for text in texts)


def test_nothing_is_read_behind_the_buffers() -> None:
    """Behind them lies memory that may not be touched: one byte too many kills the process."""
    for size in range(1, 200):
        text = ("ab " * 100)[:size]
        for lengths in ([size], [1] * size, [size // 2, size - size // 2]):
            offsets = fenced(np.cumsum([0, *lengths], dtype=np.int32))
            data = fenced(np.frombuffer(text.encode(), np.uint8))
            array = pa.StringArray.from_buffers(len(lengths), pa.py_buffer(offsets), pa.py_buffer(data))
            assert hashes(array) == expected(array.to_pylist())
    for size in (1, 8, 9, 64, 100):
        array = pa.array(["a", "b", None] * size).slice(0, size).dictionary_encode()
        buffers = []
        for buffer, used in zip(array.indices.buffers(), (-(-size // 8), 4 * size), strict=True):
            buffers.append(buffer and pa.py_buffer(fenced(np.frombuffer(buffer, np.uint8)[:used])))
        codes = pa.Array.from_buffers(pa.int32(), size, buffers)
        entries = pa.DictionaryArray.from_arrays(codes, array.dictionary)
        assert used_entries(entries).tolist() == [True] * len(array.dictionary)


@pytest.mark.parametrize("room", [(1 << 14, 20_000), (1 << 16, 5_000)], ids=["table", "list of hashes"])
def test_nothing_is_written_behind_the_memory_of_a_builder(room: tuple[int, int], monkeypatch: Any) -> None:
    builder = BloomBuilder()
    monkeypatch.setattr(builder, "_table", fenced(np.zeros(room[0], np.uint64)))
    monkeypatch.setattr(builder, "_distinct", fenced(np.zeros(room[1], np.uint64)))
    for count in (10, 1_000, 3_900, 4_000, 5_000, 9_000, 9_100, 12_000, 40_000):
        texts = [f"x{number}" for number in range(count)]
        for array in (pa.array(texts), pa.array([" ".join(texts)])):
            found = builder.hashes_of(array)
            assert found is None or set(found.tolist()) == expected(texts)
            assert (found is not None) or count >= 4_000


def test_what_lies_under_a_null_does_no_harm() -> None:
    offsets = pa.py_buffer(np.array([0, 2, 6, 8], np.int32).tobytes())
    array = pa.StringArray.from_buffers(3, offsets, pa.py_buffer(b"aaXX\xffXcc"), pa.py_buffer(b"\x05"))
    assert array.to_pylist() == ["aa", None, "cc"]
    assert hashes(array) >= expected(["aa", "cc"])


def test_many_tokens_in_one_text_and_in_many() -> None:
    numbers = [str(number) for number in range(50_000)]
    assert hashes(pa.array([" ".join(numbers)])) == hashes(pa.array(numbers)) == {token_hash(n) for n in numbers}


def test_more_tokens_than_the_cap_drop_the_filter() -> None:
    # Counted a batch of the scan at a time: the last thousand may not be reached.
    assert BUILDER.bloom_of(pa.array([str(number) for number in range(TOKENS_MAX - 1_100)])) is not None
    assert BUILDER.bloom_of(pa.array([str(number) for number in range(TOKENS_MAX + 1)])) is None
    assert hashes(pa.array(["again"])) == expected(["again"])


def test_tokens_that_were_chosen_to_collide_drop_the_filter() -> None:
    """One word of eight bytes is hashed by steps that can be undone: whoever wants to, fills one place of the table."""
    texts: list[bytes] = []
    number = 0
    while len(texts) < 1_500:
        number += 1
        token = preimage(number << 32 | 77)
        if all(byte >= 0x80 or (chr(byte).isalnum() and not chr(byte).isupper()) for byte in token):
            texts.append(token)
    offsets = pa.py_buffer(np.arange(0, 8 * len(texts) + 1, 8, dtype=np.int32).tobytes())
    array = pa.StringArray.from_buffers(len(texts), offsets, pa.py_buffer(b"".join(texts)))
    assert BUILDER.bloom_of(array) is None


def preimage(hashed: int) -> bytes:
    """The 8 bytes whose hash it is, when they are a token."""
    word = 1 << 64
    state = hashed ^ hashed >> HASH_SHIFT
    state = state * pow(HASH_END, -1, word) % word
    state ^= state >> HASH_SHIFT
    state = state * pow(HASH_WORD, -1, word) % word
    return (state ^ 8 * HASH_LENGTH % word).to_bytes(8, "little")


@pytest.mark.parametrize(
    "make",
    [
        lambda rng, number: str(number),
        lambda rng, number: f"request{number:09d}",
        lambda rng, number: f"{rng.getrandbits(32):08x}",
        lambda rng, number: f"{rng.getrandbits(128):032x}",
    ],
    ids=["numbers", "padded", "8 digits", "32 digits"],
)
def test_false_positives_are_about_one_percent(make: Callable[[random.Random, int], str]) -> None:
    rng = random.Random(9)
    held = {make(rng, number) for number in range(20_000)}
    bloom = BUILDER.bloom_of(pa.array(sorted(held)))
    assert bloom is not None and len(bloom) <= 10 * len(held) / 8 + BLOCK_BYTES
    others = {make(rng, number) for number in range(20_000, 60_000)} - held
    assert 0.005 < sum(may_hold(bloom, token) for token in others) / len(others) < 0.018
