"""Owns what a token is and its hash, in plain Python: the reference of the kernels. Never reads Arrow.

A token is a maximal run of word characters: ASCII letters, digits, underscore, and every character that is not ASCII
(every byte from 0x80 on). ASCII letters are lowered, nothing else is. The hash is described in
docs/formats/segment_index.md.
"""

from __future__ import annotations

import functools
import re
from typing import Final

from storage.compiled.constants import HASH_END, HASH_LENGTH, HASH_SHIFT, HASH_WORD

_TOKEN: Final = re.compile(r"[A-Za-z0-9_\u0080-\U0010ffff]+")
_LOWER: Final = {upper: upper + 0x20 for upper in range(ord("A"), ord("Z") + 1)}

_MASK: Final = (1 << 64) - 1


def tokens(text: str) -> list[str]:
    """The tokens of `text`, lowered, in order, with repetitions."""
    return [found.translate(_LOWER) for found in _TOKEN.findall(text)]


@functools.lru_cache(maxsize=4_096)
def token_hash(token: str) -> int:
    """64 bits of a token as tokens() gives it; never 0."""
    data = token.encode("utf-8", "surrogatepass")
    state = len(data) * HASH_LENGTH & _MASK
    for start in range(0, len(data), 8):
        state = (state ^ int.from_bytes(data[start : start + 8], "little")) * HASH_WORD & _MASK
        state ^= state >> HASH_SHIFT
    state = state * HASH_END & _MASK
    return state ^ state >> HASH_SHIFT or 1
