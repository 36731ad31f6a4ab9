"""Generated events: deterministic by seed, dense in sequence, skewed, and of the size and freshness documented."""

from __future__ import annotations

import re

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from core.batch import check_batch
from core.columns import key_of
from core.errors import InvalidRequest
from core.limits import BATCH_ROWS_MAX
from ingest import generate_words as words
from ingest.generate import LogGenerator, generator
from ingest.generate_pools import HOSTS, PIECE_ROWS_MAX
from ingest.shred import ShredSettings, shred_ndjson

NOW_US = 1_700_000_000_000_000
ROWS = 65_536


@pytest.fixture(scope="module")
def batch() -> pa.RecordBatch:
    return LogGenerator(seed=7, producer=3).batch(ROWS, NOW_US)


def _share(column: pa.Array, value: object) -> float:
    return pc.sum(pc.equal(column, value)).as_py() / (len(column) - column.null_count)


def test_batch_has_the_layout_of_core_batch(batch: pa.RecordBatch) -> None:
    batch.validate(full=True)
    assert check_batch(batch) is batch
    assert batch.num_rows == ROWS
    assert len(batch.schema) - 2 == 16


def test_same_seed_gives_the_same_events_and_another_does_not() -> None:
    first, again, other = LogGenerator(1), LogGenerator(1), LogGenerator(2)
    for rows in (1000, 1, 70_000):
        made = first.batch(rows, NOW_US)
        assert made.equals(again.batch(rows, NOW_US))
        assert not made.equals(other.batch(rows, NOW_US))


def test_producers_of_one_seed_differ() -> None:
    one, two = LogGenerator(1, producer=0).batch(100, NOW_US), LogGenerator(1, producer=1).batch(100, NOW_US)
    assert not set(one["trace_id"].drop_null().to_pylist()) & set(two["trace_id"].drop_null().to_pylist())
    assert set(two["load.producer"].to_pylist()) == {1}


@pytest.mark.parametrize("sizes", [(1, 2, 3), (PIECE_ROWS_MAX - 1, PIECE_ROWS_MAX + 1), (3 * PIECE_ROWS_MAX, 5)])
def test_sequence_is_dense_over_batches(sizes: tuple[int, ...]) -> None:
    source = LogGenerator(seed=5)
    batches = [source.batch(rows, NOW_US) for rows in sizes]
    assert [made.num_rows for made in batches] == list(sizes)
    sequences = np.concatenate([made["load.sequence"].to_numpy() for made in batches])
    assert np.array_equal(sequences, np.arange(sum(sizes)))


def test_cardinalities_and_skew(batch: pa.RecordBatch) -> None:
    distinct = {name: len(batch[name].drop_null().unique()) for name in batch.schema.names}
    assert distinct["service"] == len(words.SERVICES) == 40
    assert distinct["host"] == HOSTS == 400
    assert distinct["http.path"] == len(words.PATHS) == 200
    assert distinct["status"] == 4
    assert distinct["env"] == 3
    assert distinct["region"] == 5
    assert 5_000 < distinct["usr.id"] <= 100_000
    assert _share(batch["status"], "info") == pytest.approx(0.80, abs=0.01)
    services = pc.value_counts(batch["service"].cast(pa.string())).field("counts").to_numpy()
    assert services.max() > 20 * services.min()


def test_what_only_a_request_has_is_null_elsewhere(batch: pa.RecordBatch) -> None:
    names = ("http.method", "http.path", "http.status_code", "trace_id", "usr.id", "duration_ms", "bytes")
    validity = [pc.is_valid(batch[name]) for name in names]
    assert all(column.equals(validity[0]) for column in validity)
    assert 0.3 < pc.mean(validity[0]).as_py() < 0.7


def test_errors_have_server_error_codes(batch: pa.RecordBatch) -> None:
    failed = batch.filter(pc.equal(batch["status"], "error"))
    assert set(failed["http.status_code"].drop_null().to_pylist()) == {500, 502, 503, 504}


def test_timestamps_are_nearly_sorted_up_to_now(batch: pa.RecordBatch) -> None:
    times_us = batch["timestamp"].cast(pa.int64()).to_numpy()
    lateness_us = np.arange(NOW_US - ROWS + 1, NOW_US + 1) - times_us
    assert lateness_us.min() >= 0
    assert lateness_us.max() <= 60_000_000
    assert np.mean(lateness_us < 20_000) > 0.98
    assert np.mean(lateness_us > 100_000) > 0.005


def test_trace_ids_and_message_numbers_are_fresh_in_every_batch() -> None:
    source = LogGenerator(seed=9)
    batches = [source.batch(20_000, NOW_US) for _ in range(3)]
    traces = [trace for made in batches for trace in made["trace_id"].drop_null().to_pylist()]
    assert all(re.fullmatch(r"[0-9a-f]{32}", trace) for trace in traces)
    assert len(set(traces)) == len(traces)
    messages = [message for made in batches for message in made["message"].to_pylist()]
    assert len(set(messages)) == len(messages)


def test_every_message_is_a_template_with_its_slots_filled(batch: pa.RecordBatch) -> None:
    patterns = {
        re.sub(r"[0-9a-f]{8}|[0-9]{4}", lambda slot: "0" * len(slot[0]), item.text.decode()) for item in words.TEMPLATES
    }
    assert len(patterns) == 300
    found = {
        re.sub(r"\b[0-9a-f]{8}\b|[1-9][0-9]{3}(?![0-9a-f])", lambda slot: "0" * len(slot[0]), message)
        for message in batch["message"].to_pylist()
    }
    assert found == patterns


def test_no_value_needs_escaping_in_json() -> None:
    texts = [*words.SERVICES, *words.PATHS, *words.REGIONS, *(item.text.decode() for item in words.TEMPLATES)]
    assert all(orjson.dumps(text) == f'"{text}"'.encode() for text in texts)


def test_ndjson_holds_the_same_events_as_batch() -> None:
    made = LogGenerator(seed=11, producer=2).batch(2000, NOW_US)
    lines = LogGenerator(seed=11, producer=2).ndjson(2000, NOW_US).splitlines()
    assert len(lines) == 2000
    for line, row in zip(lines, made.to_pylist(), strict=True):
        flat = {}
        for name, value in orjson.loads(line).items():
            flat.update(
                {f"{name}.{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
            )
        expected = {name: value for name, value in row.items() if value is not None and name != "_timestamp_inferred"}
        expected["timestamp"] = expected["timestamp"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert flat == expected


def test_an_event_is_about_330_bytes_of_json() -> None:
    assert len(LogGenerator(seed=1).ndjson(20_000, NOW_US)) / 20_000 == pytest.approx(330, abs=15)


def test_shapes_are_known_by_name() -> None:
    assert generator("logs", 1, 2).batch(10, NOW_US).equals(LogGenerator(1, 2).batch(10, NOW_US))
    with pytest.raises(InvalidRequest, match=r"no generator 'log', did you mean 'logs'\?: use one of logs"):
        generator("log", 1)


@pytest.mark.parametrize("rows", [0, -1, BATCH_ROWS_MAX + 1])
def test_refuses_row_counts_that_no_batch_may_have(rows: int) -> None:
    with pytest.raises(InvalidRequest, match=f"a batch of {rows} rows is not allowed"):
        LogGenerator(1).batch(rows, NOW_US)


def test_shredding_the_json_gives_the_columns_of_the_batch():
    rows = 65_536
    shredded = shred_ndjson(generator("logs", 3).ndjson(rows, NOW_US), ShredSettings(), ingest_time_us=NOW_US).batch
    assert shredded is not None
    direct = generator("logs", 3).batch(rows, NOW_US)
    assert {key_of(field) for field in shredded.schema} == {key_of(field) for field in direct.schema}
