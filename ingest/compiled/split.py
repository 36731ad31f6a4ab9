"""Owns finding where JSON objects end, without reading what is in them: for cutting a stream and for going on."""

from __future__ import annotations

from typing import Final

import numpy as np

from core.kernels import kernel

# Places in the state of a stream.
DEPTH: Final = 0  # open objects and arrays, the arrays around the objects not counted
IN_STRING: Final = 1
ESCAPED: Final = 2


@kernel
def object_end(data: np.ndarray, begin: int, end: int, state: np.ndarray, first: bool) -> int:
    """End of the first or last object that closes in `data` from `begin` to `end`, -1 when none does.

    `state` moves on to the end of the data, or of the first object.
    """
    depth, in_string, escaped = state[DEPTH], state[IN_STRING], state[ESCAPED]
    found = -1
    for pos in range(begin, end):
        char = data[pos]
        if in_string:
            if escaped:
                escaped = 0
            elif char == 92:
                escaped = 1
            elif char == 34:
                in_string = 0
        elif char == 34:
            in_string = 1
        elif char == 123 or (char == 91 and depth):
            depth += 1
        elif (char == 125 or char == 93) and depth:
            depth -= 1
            if depth == 0:
                found = pos + 1
                if first:
                    break
    state[DEPTH], state[IN_STRING], state[ESCAPED] = depth, in_string, escaped
    return found


@kernel
def value_end(data: np.ndarray, begin: int, end: int) -> int:
    """End of the value that begins at `begin`: of an object where it closes, of anything else before a separator."""
    depth, in_string, escaped = 0, False, False
    for pos in range(begin, end):
        char = data[pos]
        if in_string:
            if escaped:
                escaped = False
            elif char == 92:
                escaped = True
            elif char == 34:
                in_string = False
        elif char == 34:
            in_string = True
        elif char == 123 or char == 91:
            depth += 1
        elif char == 125 or char == 93:
            depth -= 1
            if depth <= 0:
                return pos + 1 if depth == 0 else max(pos, begin + 1)
        elif depth == 0 and (char <= 32 or char == 44) and pos > begin:
            return pos
    return end
