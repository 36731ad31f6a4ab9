"""Owns the pools of a log generator: columns that are drawn once and then read from changing positions.

Columns that belong together share a pool (`Pool.columns`), so that a row of it makes sense; different pools are read
from different positions, so that their combinations do not come back. Never makes a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa

from ingest import generate_words as words

POOL_ROWS: Final = 131_072
PIECE_ROWS_MAX: Final = 65_536  # rows readable at any position of a pool: its first rows stand at its end again

Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]

HOSTS: Final = 400
USERS: Final = 100_000
_VERSIONS_PER_SERVICE: Final = 3


@dataclass(frozen=True, slots=True)
class Pool:
    """Columns of POOL_ROWS + PIECE_ROWS_MAX rows that are read together."""

    columns: dict[str, pa.Array]


@dataclass(frozen=True, slots=True)
class Requests:
    """What the columns of the request pool's rows are made of beyond the pool itself.

    `text` holds the message texts one after another, `*_at` the absolute byte positions of their slots. An event
    `is_request` or has nothing that only a request has; `requests_before` counts them before each row.
    """

    text: np.ndarray[Any, np.dtype[np.uint8]]
    offsets: np.ndarray[Any, np.dtype[np.int32]]  # row r is text[offsets[r]:offsets[r + 1]]
    id_at: np.ndarray[Any, np.dtype[np.int64]]
    n_at: np.ndarray[Any, np.dtype[np.int64]]
    m_at: np.ndarray[Any, np.dtype[np.int64]]
    is_request: pa.Buffer  # a bitmap
    requests_before: np.ndarray[Any, np.dtype[np.int32]]


def zipf_shares(count: int, exponent: float) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Probabilities of `count` ranks, proportional to 1 / rank^exponent."""
    weights = 1.0 / np.arange(1, count + 1) ** exponent
    return np.asarray(weights / weights.sum())


def service_pool(rng: np.random.Generator) -> Pool:
    """service (40, Zipf 1.1) and version (3 releases a service, mostly the newest)."""
    service = rng.choice(len(words.SERVICES), POOL_ROWS, p=zipf_shares(len(words.SERVICES), 1.1))
    release = rng.choice(_VERSIONS_PER_SERVICE, POOL_ROWS, p=(0.9, 0.07, 0.03))
    versions = [
        f"{1 + number % 4}.{number % 17}.{9 - release}"
        for number in range(len(words.SERVICES))
        for release in range(_VERSIONS_PER_SERVICE)
    ]
    version, codes = _distinct(versions, service * _VERSIONS_PER_SERVICE + release)
    return Pool({"service": _dictionary(service, words.SERVICES), "version": _dictionary(codes, version)})


def host_pool(rng: np.random.Generator) -> Pool:
    """host (400, Zipf 0.6), and the environment and region that a host is in."""
    host = rng.choice(HOSTS, POOL_ROWS, p=zipf_shares(HOSTS, 0.6))
    names = [f"node-{number:04d}" for number in range(HOSTS)]
    environment = rng.choice(len(words.ENVIRONMENTS), HOSTS, p=(0.9, 0.07, 0.03))
    region = rng.choice(len(words.REGIONS), HOSTS, p=zipf_shares(len(words.REGIONS), 1.0))
    return Pool(
        {
            "host": _dictionary(host, names),
            "env": _dictionary(environment[host], words.ENVIRONMENTS),
            "region": _dictionary(region[host], words.REGIONS),
        }
    )


def request_pool(rng: np.random.Generator) -> tuple[Pool, Requests]:
    """status, http.* (null where the event tells of no HTTP request) and the message texts that go with them."""
    template = np.empty(POOL_ROWS, dtype=np.int64)
    code = np.empty(POOL_ROWS, dtype=np.int64)
    level = rng.choice(len(words.LEVELS), POOL_ROWS, p=words.LEVEL_SHARES)
    for number, name in enumerate(words.LEVELS):
        rows = np.flatnonzero(level == number)
        choices = np.array([index for index, item in enumerate(words.TEMPLATES) if item.level == name])
        template[rows] = rng.choice(choices, rows.size, p=zipf_shares(choices.size, 0.8))
        codes = words.STATUS_CODES[name]
        code[rows] = rng.choice(codes, rows.size, p=zipf_shares(len(codes), 2.0))
    is_request = np.array([item.is_request for item in words.TEMPLATES])[template]
    path = rng.choice(len(words.PATHS), POOL_ROWS, p=zipf_shares(len(words.PATHS), 0.9))
    method = rng.choice(len(words.METHODS), POOL_ROWS, p=zipf_shares(len(words.METHODS), 1.6))
    columns = {
        "status": _dictionary(level, words.LEVELS),
        "http.method": _dictionary(method, words.METHODS, ~is_request),
        "http.path": _dictionary(path, words.PATHS, ~is_request),
        "http.status_code": pa.array(_extended(code), mask=_extended(~is_request)),
    }
    return Pool(columns), _requests(_extended(template), _extended(is_request))


def user_numbers(rng: np.random.Generator) -> Numbers:
    """usr.id: 100,000 users, log-uniform rank (the density of Zipf 1)."""
    rank = np.exp(rng.random(POOL_ROWS) * np.log(USERS)).astype(np.int64)
    return _extended(1_000_000 + rank * 7919 % USERS)


def duration_numbers(rng: np.random.Generator) -> Numbers:
    """duration_ms: log-normal, median 12 ms, in steps of a microsecond."""
    return _extended(np.round(np.exp(rng.normal(np.log(12.0), 1.2, POOL_ROWS)), 3))


def size_numbers(rng: np.random.Generator) -> Numbers:
    """bytes: log-normal, median 1.8 kB."""
    return _extended(np.exp(rng.normal(np.log(1800.0), 1.5, POOL_ROWS)).astype(np.int64))


def lateness_numbers(rng: np.random.Generator) -> Numbers:
    """By how many µs an event is older than its place in the batch: mean 2 ms; one in a hundred 5 s, at most 60 s."""
    late_us = rng.exponential(2_000.0, POOL_ROWS)
    stragglers = rng.random(POOL_ROWS) < 0.01
    late_us[stragglers] = np.minimum(rng.exponential(5e6, int(stragglers.sum())), 60e6)
    return _extended(late_us.astype(np.int64))


def _requests(template: Numbers, is_request: Numbers) -> Requests:
    texts = [item.text for item in words.TEMPLATES]
    offsets = _running_total(np.array([len(text) for text in texts])[template])
    begin = offsets[:-1].astype(np.int64)
    return Requests(
        text=np.frombuffer(b"".join([texts[index] for index in template.tolist()]), dtype=np.uint8),
        offsets=offsets,
        id_at=begin + np.array([item.id_at for item in words.TEMPLATES])[template],
        n_at=begin + np.array([item.n_at for item in words.TEMPLATES])[template],
        m_at=begin + np.array([item.m_at for item in words.TEMPLATES])[template],
        is_request=pa.py_buffer(np.packbits(is_request, bitorder="little")),
        requests_before=_running_total(is_request),
    )


def _running_total(values: Numbers) -> np.ndarray[Any, np.dtype[np.int32]]:
    total = np.zeros(values.size + 1, dtype=np.int32)
    np.cumsum(values, out=total[1:])
    return total


def _distinct(values: list[str], codes: Any) -> tuple[list[str], Any]:
    """The distinct values and `codes` renumbered to them: a dictionary may not hold a value twice."""
    distinct = list(dict.fromkeys(values))
    position = {value: index for index, value in enumerate(distinct)}
    return distinct, np.array([position[value] for value in values])[codes]


def _dictionary(codes: Any, values: Any, null: Any = None) -> pa.Array:
    mask = None if null is None else _extended(null)
    indices = pa.array(_extended(codes).astype(np.int32), mask=mask)
    return pa.DictionaryArray.from_arrays(indices, pa.array(list(values), pa.string()))


def _extended(values: Numbers) -> Numbers:
    extended: Numbers = np.concatenate([values, values[:PIECE_ROWS_MAX]])
    return extended
