"""Owns random inputs for the shredders: events from a grammar of awkward parts, and changes to what there is."""

from __future__ import annotations

import math
from random import Random
from typing import Any

import msgpack

INTERESTING = (
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\n",
        b"\r\n",
        b" ",
        b"\t",
        b"\0",
        b"\x1f",
        b"\x7f",
        b"-",
        b".",
    ),
    *(b"e", b"E", b"0", b"9", b"\x80", b"\xbf", b"\xc2", b"\xe0\xa0", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80"),
    *(
        b"\xff",
        b"\xef\xbb\xbf",
        b"\xf4\x90\x80\x80",
        b"\xc0\x80",
        b'\\"',
        b"\\/",
        b"\\b",
        b"\\n",
        b"\\u0000",
        b"\\u00e9",
    ),
    *(b"\\ud83d\\ude00", b"\\ud800", b"\\udc00", b"\\u12", b"\\x", b"true", b"false", b"null", b"NaN", b"nul", b"{}"),
    *(b"[]", b'{"a":1}', b'"a":', b'"a.b":', b'"timestamp":', b'"@timestamp":', b"[1,2]", b"[[1.0e5]]", b"[1.5,2.50]"),
    *(b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"-9223372036854775809"),
    *(b"18446744073709551615", b"18446744073709551616", b"99999999999999999999", b"1e400", b"-1e-400", b"1E15", b"-0"),
    *(b"-0.0", b"0.1", b"1e22", b"9007199254740993", b"4.9e-324", b"2.2250738585072011e-308", b"00", b"1.", b".5"),
    *(b"123456789012345678901234567890.123456789", b'"2024-02-29T23:59:60.123456789+05:30"', b'"1700000000.5"'),
    *(b"1700000000", b"1700000000123", b"1700000000123456789", b"1700000000.123456", b'"2024-13-01"', b'"0001-01-01"'),
)
INTERESTING_PACKED = (
    *(bytes([head]) for head in (*range(0x80, 0x84), *range(0x90, 0x94), *range(0xA0, 0xA3), *range(0xC0, 0xE0))),
    *(b"\xcf" + b"\xff" * 8, b"\xd3\x80" + b"\0" * 7, b"\xcb\x7f\xf8" + b"\0" * 6, b"\xca\x7f\x80\0\0", b"\xa1a"),
    *(b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(
        b"\xc9\xff\xff\xff\xff\xff",
        b"\xd6\xff\x65\x00\x00\x00",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\x80" * 12,
    ),
    *(
        b"\xd4\x01\x37",
        b"\xc7\x03\x01-1e",
        b"\xd7\x02" + b"\x7f" * 8,
        b"\xd6\x05abcd",
        b"\xa9timestamp",
        b"\xd9\x01a",
        b"\xda\0\x01b",
    ),
)
KEYS = ("a", "b", "a.b", "c", "", ".", "timestamp", "@timestamp", "é", "k" * 31, "k" * 33, 'q"\\\n', "\x7f", "\0")


def events(rng: Random) -> bytes:
    """A few lines of JSON events with the conflicts and the spelling that shredders get wrong."""
    ends = (b"\n", b"\n", b"\r\n", b"\n\n", b" \n")
    lines = b"".join(_object(rng, 1, 5) + rng.choice(ends) for _ in range(rng.randint(1, 6)))
    return lines if rng.random() < 0.8 else lines.rstrip()


def packed_events(rng: Random) -> bytes:
    """A few packed maps with the conflicts and the encodings that shredders get wrong."""
    events = ({rng.choice(KEYS): _plain(rng, 1) for _ in range(rng.choice((0, 1, 2, 5)))} for _ in range(4))
    return b"".join(_pack(rng, event) for event in events)


def mutated(rng: Random, data: bytes, other: bytes, interesting: tuple[bytes, ...] = INTERESTING) -> bytes:
    """`data` with one to four changes; `other` is an input to take parts from, `interesting` are parts to put in."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randint(0, len(changed))
        kind = rng.randrange(8)
        if kind == 0:
            changed[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 2:
            del changed[at : at + rng.choice((1, 1, 2, 8, 40))]
        elif kind == 3:
            changed[at:at] = rng.choice(interesting)
        elif kind == 4:
            part = rng.choice(interesting)
            changed[at : at + len(part)] = part
        elif kind == 5:
            begin = rng.randint(0, len(other))
            changed[at:at] = other[begin : begin + rng.choice((4, 16, 64, 256))]
        elif kind == 6:
            changed[at:at] = changed[at : at + rng.choice((1, 8, 33, 64))] * rng.choice((1, 2, 9))
        else:
            del changed[at:]
    return bytes(changed)


def _object(rng: Random, depth: int, members_max: int) -> bytes:
    count = rng.choice((0, 1, 2, members_max))
    members = (_text(rng, rng.choice(KEYS)) + _space(rng) + b":" + _value(rng, depth) for _ in range(count))
    return b"{" + _space(rng) + b",".join(members) + b"}"


def _value(rng: Random, depth: int) -> bytes:
    kind = rng.randrange(10)
    if kind == 0 and depth < 6:
        value = _object(rng, depth + 1, 3)
    elif kind == 1 and depth < 6:
        one_kind = rng.choice((b"1", b"1.5", b"true", b'"x\\n"', b"null", b"18446744073709551615"))
        items = [one_kind if rng.random() < 0.9 else _value(rng, depth + 1) for _ in range(rng.choice((0, 1, 3, 9)))]
        value = b"[" + (_space(rng) + b",").join(items) + b"]"
    elif kind < 4:
        value = _text(rng, "".join(rng.choice('aé\n"\\/\0\x1f\x7f€😀 x') for _ in range(rng.choice((0, 1, 8, 40)))))
    elif kind < 6:
        value = rng.choice((b"true", b"false", b"null", b"{}", b"[]", b"[null]"))
    elif kind < 8:
        value = _number(rng)
    else:
        value = rng.choice(INTERESTING[-22:])
    return _space(rng) + value + _space(rng)


def _number(rng: Random) -> bytes:
    whole = str(rng.getrandbits(rng.choice((1, 8, 53, 63, 64, 65, 100)))) if rng.random() < 0.9 else "0"
    fraction = "." + "".join(rng.choices("0123456789", k=rng.choice((1, 3, 9, 25)))) if rng.random() < 0.5 else ""
    exponent = rng.choice(("e", "E", "e+", "e-")) + str(rng.choice((0, 5, 22, 300, 324))) if rng.random() < 0.2 else ""
    return f"{rng.choice(('', '-'))}{whole}{fraction}{exponent}".encode()


def _text(rng: Random, text: str) -> bytes:
    """A JSON string, some of its characters escaped that need not be."""
    parts = []
    for char in text:
        code = ord(char)
        if char in '"\\':
            parts.append("\\" + char)
        elif code < 0x20 or (code < 0x10000 and rng.random() < 0.1):
            parts.append(rng.choice((f"\\u{code:04x}", f"\\u{code:04X}")))
        elif code >= 0x10000 and rng.random() < 0.5:
            parts.append(f"\\ud{0x800 + (code - 0x10000 >> 10):03x}\\ud{0xC00 + (code & 0x3FF):03x}")
        else:
            parts.append(char)
    return ('"' + "".join(parts) + '"').encode()


def _space(rng: Random) -> bytes:
    return rng.choice((b"", b"", b"", b"", b" ", b"\t", b" \r "))


def _plain(rng: Random, depth: int) -> Any:
    kind = rng.randrange(12)
    if kind == 0 and depth < 6:
        return {rng.choice(KEYS): _plain(rng, depth + 1) for _ in range(rng.choice((0, 1, 3)))}
    if kind == 1 and depth < 6:
        same = _plain(rng, 6)
        return [same if rng.random() < 0.8 else _plain(rng, depth + 1) for _ in range(rng.choice((0, 1, 3, 20)))]
    if kind < 4:
        return rng.choice(
            ("", "é€😀", "x" * 31, "x" * 32, "y" * 300, "2024-01-01T00:00:00Z", "1700000000.5", b"", b"\xff" * 9)
        )
    if kind < 6:
        return rng.choice((None, True, False, 0.0, -0.0, 1.5, 5e-324, 1e38, math.inf, math.nan, 1700000000.123))
    if kind < 8:
        return rng.choice((1, -1)) * rng.getrandbits(rng.choice((1, 7, 8, 16, 32, 53, 62, 63)))
    if kind == 8:
        return rng.choice((-(2**63), 2**63 - 1, 2**63, 2**64 - 1, -33, -32, 127, 128, 255, 256, 1700000000))
    if kind == 9:
        return msgpack.Timestamp(rng.choice((0, -1, 1700000000, 2**32, 2**34, -(2**40), 2**62)), rng.randrange(10**9))
    number = msgpack.ExtType(1, rng.choice((b"1e400", b"-12345678901234567890123", b"1E5", b"--", b"")))
    return rng.choice((number, msgpack.ExtType(2, rng.randbytes(8)), msgpack.ExtType(rng.randrange(128), b"abc")))


def _pack(rng: Random, event: dict[str, Any]) -> bytes:
    """The event packed, now and then with 32-bit floats or with text in the old way."""
    packed: bytes = msgpack.packb(
        event, use_single_float=rng.random() < 0.1, use_bin_type=rng.random() < 0.9, unicode_errors="strict"
    )
    return packed
