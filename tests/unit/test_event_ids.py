"""What the id of an event is: kinds, equality by value, `_rest`, dictionaries, and the hash itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from core.compiled.id_hash import hash_texts
from core.event_ids import event_ids, shards_of
from ingest.shred import ShredSettings, shred_dicts


def batch_of(*ids: Any, path: str = "id", max_paths: int = 1_000, **more: Any) -> pa.RecordBatch:
    events = [{"n": number, **more} | ({} if value is None else {path: value}) for number, value in enumerate(ids)]
    batch = shred_dicts(events, ShredSettings(max_paths=max_paths), ingest_time_us=0).batch
    assert batch is not None
    return batch


def hashes(batch: pa.RecordBatch, path: str = "id") -> list[tuple[int, int] | None]:
    ids = event_ids(batch, path)
    pairs = zip(ids.high.tolist(), ids.low.tolist(), ids.present.tolist(), strict=True)
    return [(high, low) if present else None for high, low, present in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [  # published test vectors of MurmurHash3_x64_128 with seed 0
        (b"", "00000000000000000000000000000000"),
        (b"hello", "cbd8a7b341bd9b025b1e906a48ae1d19"),
        (b"The quick brown fox jumps over the lazy dog", "e34bbc7bbc071b6c7a433ca9c49a9347"),
    ],
)
def test_the_hash_is_murmur3(text: bytes, expected: str) -> None:
    high, low = np.zeros(1, np.uint64), np.zeros(1, np.uint64)
    hash_texts(np.frombuffer(text or b"\0", np.uint8), np.array([0, len(text)]), 0, high, low)
    assert f"{high[0]:016x}{low[0]:016x}" == expected


def test_a_text_is_no_number_and_numbers_are_equal_by_value() -> None:
    one, text, whole, fraction, large, as_float = hashes(batch_of(1, "1", 1.0, 1.5, 2**63, float(2**63)))
    assert one == whole and large == as_float
    assert len({one, text, fraction, large}) == 4
    assert hashes(batch_of(-(2**63)))[0] != large  # the same bits
    assert hashes(batch_of(0))[0] == hashes(batch_of(-0.0))[0]


def test_what_cannot_be_an_id_is_none() -> None:
    assert hashes(batch_of(None, True, [1], {"a": 1}, float("nan"))) == [None] * 5
    assert hashes(batch_of(1, 2), path="absent") == [None, None]


def test_ids_beyond_the_columns_are_found_in_rest() -> None:
    many = {f"p{i}": i for i in range(5)}
    plain = hashes(batch_of("a", 7, 2**64 - 1, "b\"'ü"))
    squeezed = batch_of("a", 7, 2**64 - 1, "b\"'ü", max_paths=2, **many)
    assert squeezed.schema.get_field_index("_rest") >= 0
    assert hashes(squeezed) == plain


def test_a_dictionary_has_the_ids_of_its_texts() -> None:
    batch = batch_of("a", "b", None, "a")
    place = batch.schema.get_field_index("id")
    encoded = batch.column(place).cast(pa.string()).dictionary_encode()
    field = batch.schema.field(place).with_type(encoded.type)
    assert hashes(batch.set_column(place, field, encoded)) == hashes(batch)


def test_a_slice_has_the_ids_of_its_rows() -> None:
    batch = batch_of(*(f"id {i}" * (i % 7) for i in range(50)))
    assert hashes(batch.slice(13, 20)) == hashes(batch)[13:33]


def test_lengths_around_the_blocks_of_the_hash_all_differ() -> None:
    found = hashes(batch_of(*("x" * length for length in range(70))))
    assert None not in found and len(set(found)) == 70


def test_shards_are_equally_filled() -> None:
    ids = event_ids(batch_of(*(f"{i}" for i in range(4_000))), "id")
    assert np.bincount(shards_of(ids.low, range(4))).min() > 900
