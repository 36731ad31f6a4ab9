"""Owns where values go in JSON: the keys in front of each slot, and which objects they are in. Never sees a value.

A *slot* is what one column (or one path of `_rest`) fills; slots are in the order of their paths, so that all slots of
an object are neighbours. A *node* is an object that paths lead through, number 0 the event itself. Slots, nodes and
levels are rows of int64 for kernels, which know their fields as bytes from the first one.
"""

from __future__ import annotations

import functools
import json
from typing import Final, NamedTuple

import numpy as np

from core.limits import NESTING_DEPTH_MAX
from ingest.compiled.vectors import PADDING

# Fields of a slot.
PARENT: Final = 0  # the node that it is in
NODE: Final = 8  # the node with the same path, -1 = none
MAY_BE_BLOCKED: Final = 16  # whether a node that it is in has a slot of its own
MAY_BE_REPLACED: Final = 24  # whether the next slot has the same path: the last one that has a value counts
LEVELS: Final = 32  # its first level
KEY_END: Final = 40  # where its keys end in `texts`, written as objects
DOTTED_END: Final = 48  # where its keys end, written as one
KEY_BYTES_MAX: Final = 56
SLOT_BYTES: Final = 64

# Fields of a node.
ABOVE: Final = 0  # the node that it is in
DEPTH: Final = 8  # how many nodes it is in
FIRST: Final = 16  # the slots in it and below
LAST: Final = 24
STAMP: Final = 32  # changed by kernels: the row, counted from 1, that had a value that is no object in its place
NODE_BYTES: Final = 40

# Fields of a level: where the keys of a slot begin in `texts` when that many nodes are open.
KEY_START: Final = 0  # written as objects, from a quote on
DOTTED_START: Final = 8  # written as one, without the opening quote
LEVEL_BYTES: Final = 16

_PARENTS_MAX: Final = NESTING_DEPTH_MAX - 1  # the event is a level too; what is nested deeper could not be read again
_CLOSING_BYTES: Final = 8  # quotes, colon, comma


class Layout(NamedTuple):
    """Tables over slots, nodes and levels, and the bytes of all keys."""

    slots: np.ndarray
    nodes: np.ndarray
    levels: np.ndarray
    texts: np.ndarray


@functools.lru_cache(maxsize=16)
def layout_of(paths: tuple[str, ...], nested: bool) -> Layout:
    """The layout of slots with these paths, which are sorted; without nesting each path is one key of the event."""
    nodes = _Nodes()
    parents = [nodes.below_which(slot, path) if nested else 0 for slot, path in enumerate(paths)]
    nodes.last[0] = len(paths) - 1
    blocked = nodes.blocked(paths)
    slots: list[tuple[int, ...]] = []
    levels: list[tuple[int, int]] = []
    texts = bytearray()
    for path, following, parent in zip(paths, [*paths[1:], None], parents, strict=False):
        own_levels = len(levels)
        start = len(texts)
        dotted_end = _write_keys(path, nodes.depth[parent], texts, levels)
        node = nodes.numbers.get(path, -1)
        longest = max(dotted_end - start, len(texts) - dotted_end) + _CLOSING_BYTES
        slots.append(
            (parent, node, blocked[parent], path == following, own_levels, len(texts), dotted_end, longest)
        )  # fmt: skip
    return Layout(
        np.array(slots, np.int64).reshape(-1, SLOT_BYTES // 8),
        np.array([nodes.above, nodes.depth, nodes.first, nodes.last, [0] * len(nodes.above)], np.int64).T.copy(),
        np.array(levels, np.int64).reshape(-1, LEVEL_BYTES // 8),
        np.frombuffer(bytes(texts) + bytes(PADDING), np.uint8),
    )


def _write_keys(path: str, depth: int, texts: bytearray, levels: list[tuple[int, int]]) -> int:
    """Append the keys of a slot below `depth` nodes, as one and as objects; returns the end of the first form."""
    # A dot is written as itself, so escaping may come before cutting.
    keys = [key.encode() for key in json.dumps(path, ensure_ascii=False)[1:-1].split(".", depth)]
    dotted = len(texts) + 1
    texts += b'"' + b".".join(keys) + b'":'
    dotted_end = key_start = len(texts)
    for key in keys:
        levels.append((key_start, dotted))
        key_start += len(key) + 4
        dotted += len(key) + 1
    texts += b'"' + b'":{"'.join(keys) + b'":'
    return dotted_end


class _Nodes:
    """The nodes, found slot by slot."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}  # path of a node → its number
        self.above = [0]
        self.depth = [0]
        self.first = [0]
        self.last = [0]

    def below_which(self, slot: int, path: str) -> int:
        """The innermost node that a path leads through, made when it is new; takes the slot into it and all above."""
        above = 0
        end = path.find(".")
        while end >= 0 and self.depth[above] < _PARENTS_MAX:
            node = self.numbers.setdefault(path[:end], len(self.above))
            if node == len(self.above):
                self.above.append(above)
                self.depth.append(self.depth[above] + 1)
                self.first.append(slot)
                self.last.append(slot)
            self.last[node] = slot
            above = node
            end = path.find(".", end + 1)
        return above

    def blocked(self, paths: tuple[str, ...]) -> list[bool]:
        """For each node whether it, or one that it is in, has a slot of its own."""
        with_slot = {self.numbers.get(path) for path in paths}
        found = [False]
        for node in range(1, len(self.above)):  # what a node is in comes before it
            found.append(node in with_slot or found[self.above[node]])
        return found
