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
_TABLE_SLOTS_MIN: Final = 4_096
_TABLE_SLOTS_MAX: Final = 1 << 20  # over 8/5 of TOKENS_MAX, a power of four times the least


class BloomBuilder:
    """Makes filters, one after another, in the same memory: 12 MB where a column needs the largest."""

    def __init__(self) -> None:
        # Imported here: only a process that writes segments pays for numba.
        from storage.compiled import token_scan

        self._kernels = token_scan
        self._scratch: Any = np.empty(token_scan.SCRATCH, np.uint64)
        self._table: Any = np.empty(_TABLE_SLOTS_MAX, np.uint64)
        self._distinct: Any = np.empty(TOKENS_MAX, np.uint64)

    def bloom_of(self, texts: pa.Array) -> bytes | None:
        """The filter of all tokens of a string array (nulls hold none): whole blocks, none when there is no token.

        None when there are too many of them, or when somebody chose them to collide: then any token may be in.
        """
        hashes = self.hashes_of(texts)
        if hashes is None:
            return None
        blocks = -(-len(hashes) * BITS_PER_TOKEN // (8 * BLOCK_BYTES))
        words = np.zeros(blocks * BLOCK_WORDS, np.uint32)
        self._kernels.fill_blocks(hashes, words)
        return words.astype("<u4", copy=False).tobytes()

    def hashes_of(self, texts: pa.Array) -> Any | None:
        """The distinct hashes of all tokens (numpy, until the next call); None as bloom_of has it."""
        count, slots = 0, _TABLE_SLOTS_MIN
        self._table[:slots] = 0
        for data, offsets in _readable_parts(texts):
            slots, count = self._kernels.find_tokens(
                data, offsets, self._scratch, self._table, slots, self._distinct, count
            )
            if count == self._kernels.TOO_MANY:
                return None
        return self._distinct[:count]


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


def _readable_parts(texts: pa.Array) -> list[tuple[Any, Any]]:
    """(bytes, offsets) of the texts, PADDING readable bytes behind each: the last of a buffer are copied."""
    from storage.compiled.vectors import PADDING

    _, offset_buffer, data_buffer = texts.buffers()
    if len(texts) == 0 or data_buffer is None:
        return []
    offsets = np.frombuffer(offset_buffer, np.int32)[texts.offset : texts.offset + len(texts) + 1]
    data = np.frombuffer(data_buffer, np.uint8)
    safe = int(np.searchsorted(offsets[1:], len(data) - PADDING, side="right"))
    parts = [(data, offsets[: safe + 1])]
    if safe < len(texts):
        first, last = int(offsets[safe]), int(offsets[-1])
        tail = np.zeros(last - first + PADDING, np.uint8)
        tail[: last - first] = data[first:last]
        parts.append((tail, offsets[safe:] - offsets[safe]))
    return [(_read_only(data), _read_only(offsets)) for data, offsets in parts]


def used_entries(array: pa.DictionaryArray) -> Any:
    """Which entries of its dictionary an array of dictionary<int32> uses, as a numpy array of bools."""
    from storage.compiled.token_scan import mark_used

    validity, codes = array.indices.buffers()
    used = np.zeros(len(array.dictionary), np.bool_)
    bits = np.frombuffer(validity if validity and array.null_count else b"", np.uint8)
    # Not sliced: bits have no address of their own.
    mark_used(_read_only(np.frombuffer(codes, np.int32)), _read_only(bits), array.offset, len(array), used)
    return used


def _read_only(array: Any) -> Any:
    """A view that cannot be written: kernels are compiled for such ones only, whatever Arrow says of its buffers."""
    seen = array[:]
    seen.flags.writeable = False
    return seen
