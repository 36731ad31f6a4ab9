"""Owns the numbers of the token hash and of the filter's blocks: kernels are compiled with them, so that they lie here.

Never imports numba.
"""

from __future__ import annotations

from typing import Final

# The constants of MurmurHash3's finalizer (Appleby, public domain) and the golden ratio.
HASH_LENGTH: Final = 0x9E3779B97F4A7C15
HASH_WORD: Final = 0xFF51AFD7ED558CCD
HASH_END: Final = 0xC4CEB9FE1A85EC53
HASH_SHIFT: Final = 32

# Those of Parquet's split block bloom filter (BloomFilter.md of apache/parquet-format).
BLOCK_WORDS: Final = 8  # of 32 bits each, one bit set in each per token
SALTS: Final = (
    0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31,
)  # fmt: skip
