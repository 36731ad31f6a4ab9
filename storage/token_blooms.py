"""Owns the token bloom: which tokens a set of texts holds, as a split block bloom filter. Never knows a segment.

The filter is that of Parquet (BloomFilter.md of apache/parquet-format, after Putze, Sanders and Singler, "Cache-, Hash-
and Space-Efficient Bloom Filters", 2007): blocks of 256 bits, the upper half of a hash picks the block, the lower half
one bit in each of its eight words. Sized by the distinct tokens.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import pyarrow as pa

from core.limits import INDEX_FILTER_BYTES_MAX
from storage.compiled.constants import BLOCK_WORDS, SALTS
from storage.tokens import token_hash

BLOCK_BYTES: Final = 4 * BLOCK_WORDS
# About 1 % false positives (measured: see docs/formats/segment_index.md).
BITS_PER_TOKEN: Final = 10
TOKENS_MAX: Final = INDEX_FILTER_BYTES_MAX * 8 // BITS_PER_TOKEN

# Room for the distinct tokens of a usual column, in 32 KiB: what a core has at hand.
_TABLE_SLOTS: Final = 4_096
_GROWTH: Final = 4


def bloom_of(texts: pa.Array) -> bytes | None:
    """The filter of all tokens of a string array (nulls hold none): whole blocks, none when there is no token.

    None when there are too many of them, or when somebody chose them to collide: then any token may be in.
    """
    table = _distinct(texts)
    if table is None:
        return None
    # Imported here: only a process that writes segments pays for numba.
    from storage.compiled.token_scan import fill_blocks

    count = int(np.count_nonzero(table))
    blocks = -(-count * BITS_PER_TOKEN // (8 * BLOCK_BYTES))
    words = np.zeros(blocks * BLOCK_WORDS, np.uint32)
    if blocks:
        fill_blocks(table, words)
    return words.astype("<u4", copy=False).tobytes()


def may_hold(bloom: bytes, token: str) -> bool:
    """Whether a filter of bloom_of() may hold `token` (as storage.tokens gives it); never False for one it holds."""
    blocks = len(bloom) // BLOCK_BYTES
    upper, bits = _probe(token)
    start = (upper * blocks >> 32) * BLOCK_BYTES
    return blocks > 0 and int.from_bytes(bloom[start : start + BLOCK_BYTES], "little") & bits == bits


@functools.lru_cache(maxsize=4_096)
def _probe(token: str) -> tuple[int, int]:
    """(upper half of the hash, the token's eight bits in a block of 256)."""
    hashed = token_hash(token)
    upper, lower = hashed >> 32, hashed & 0xFFFF_FFFF
    bits = 0
    for word, salt in enumerate(SALTS):
        bits |= 1 << (32 * word + (lower * salt & 0xFFFF_FFFF) // (1 << 27))
    return upper, bits


def _distinct(texts: pa.Array) -> Any | None:
    """The hashes of all tokens, in a table with zeros between; None beyond TOKENS_MAX or when they are chosen."""
    from storage.compiled.token_scan import CROWDED, find_tokens, move_tokens

    table, count = np.zeros(_TABLE_SLOTS, np.uint64), 0
    for data, starts, ends in _readable_parts(texts):
        text = 0
        while text < len(starts):
            status, text, count = find_tokens(data, starts, ends, text, table, count)
            if status == CROWDED or count > TOKENS_MAX:
                return None
            if status >= 0:
                break
            larger = np.zeros(len(table) * _GROWTH, np.uint64)
            if not move_tokens(table, larger):
                return None
            table = larger
    return table


def _readable_parts(texts: pa.Array) -> list[tuple[Any, Any, Any]]:
    """(bytes, starts, ends) of the texts, PADDING readable bytes behind each: the last of a buffer are copied."""
    from storage.compiled.vectors import PADDING

    _, offset_buffer, data_buffer = texts.buffers()
    if len(texts) == 0 or data_buffer is None:
        return []
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer, np.uint8)
    starts, ends = offsets[:-1], offsets[1:]
    safe = int(np.searchsorted(ends, len(data) - PADDING, side="right"))
    parts = [(data, starts[:safe], ends[:safe])]
    if safe < len(ends):
        first, last = int(starts[safe]), int(ends[-1])
        tail = np.zeros(last - first + PADDING, np.uint8)
        tail[: last - first] = data[first:last]
        parts.append((tail, starts[safe:] - starts[safe], ends[safe:] - starts[safe]))
    return parts
