"""The string kernels beside Python's json, and the tables of paths while they grow."""

import json
from random import Random

import numpy as np
from numba import njit

from ingest.compiled.paths import FULL, ROOT, Paths, find_column, find_node, find_path, grown, hash_bytes, new_paths
from ingest.compiled.texts import BAD_STRING, scan_string
from ingest.compiled.vectors import PADDING, address_of

PIECES = [
    "a",
    "é",
    "€",
    "😀",
    " ",
    "/",
    "\x7f",
    '\\"',
    "\\\\",
    "\\/",
    "\\b",
    "\\n",
    "\\u0000",
    "\\u00e9",
    "\\u20AC",
    "x" * 31,
]
BROKEN = ["\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\u12", "\\x", "\\", "\n", "\0", "\\ud83d\\n", "\\uD83D\\u0041"]
RAW = [
    b"\xff",
    b"\x80",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe0\x80\x80",
    b"\xf0\x80\x80\x80",
    b"\xc0\x80",
]


@njit
def scan_all(src: np.ndarray, starts: np.ndarray, arena: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    texts, lengths, ends = np.empty_like(starts), np.empty_like(starts), np.empty_like(starts)
    for index in range(len(starts)):
        texts[index], lengths[index], ends[index], arena = scan_string(address_of(src), starts[index], arena)
    return texts, lengths, ends


@njit
def hashes_of(src: np.ndarray, starts: np.ndarray, lengths: np.ndarray, seed: int) -> np.ndarray:
    hashes = np.empty_like(starts)
    for index in range(len(starts)):
        hashes[index] = hash_bytes(address_of(src), starts[index], lengths[index], 0, seed)
    return hashes


def python_reads(string: bytes) -> bytes | None:
    """The text of the JSON string that `string` begins with as UTF-8, None where it is none."""
    try:
        text, _ = json.JSONDecoder().raw_decode(string.decode(errors="surrogateescape"))
        return str(text).encode()
    except ValueError:
        return None


def check(strings: list[bytes]) -> int:
    """Every string is read as Python reads it; returns how many are good."""
    data = b"\n".join(strings)
    sizes = np.array([len(string) + 1 for string in strings])
    starts = np.cumsum(sizes) - sizes
    src = np.frombuffer(data + bytes(PADDING) + bytes(len(data) + PADDING), np.uint8).copy()
    texts, lengths, ends = scan_all(src, starts + 1, len(data) + PADDING)
    memory = src.tobytes()
    good = 0
    for string, start, text, length, end in zip(
        strings, starts.tolist(), texts.tolist(), lengths.tolist(), ends.tolist(), strict=True
    ):
        expected = python_reads(string)
        found = None if end == BAD_STRING else memory[text : text + length]
        assert (string, found) == (string, expected)
        if end != BAD_STRING:
            assert memory[start:end].endswith(b'"')
            assert json.loads(memory[start:end]).encode() == expected
            good += 1
    return good


def test_strings_of_good_pieces() -> None:
    rng = Random(1)
    strings = [('"' + "".join(rng.choices(PIECES, k=rng.randint(0, 12))) + '"').encode() for _ in range(20_000)]
    assert check(strings) == len(strings)


def test_strings_with_something_broken() -> None:
    rng = Random(2)
    parts = [piece.encode() for piece in PIECES + BROKEN] + RAW
    strings = [b'"' + b"".join(rng.choices(parts, k=rng.randint(1, 6))) + b'"' for _ in range(20_000)]
    assert 1000 < check(strings) < 15_000


def test_every_escape_of_four_digits() -> None:
    strings = [f'"\\u{code:04x}"'.encode() for code in range(0x10000)]
    assert check(strings) == 0x10000 - 0x800


def test_pairs_of_escapes_around_the_surrogates() -> None:
    edges = (0x0000, 0xD7FF, 0xD800, 0xD801, 0xDBFF, 0xDC00, 0xDC01, 0xDFFF, 0xE000, 0xFFFF)
    strings = [f'"\\u{first:04X}\\u{second:04x}"'.encode() for first in edges for second in edges]
    assert check(strings) == 16 + 9  # neither is a surrogate, or they are a pair


def test_hashes_depend_on_the_text_alone() -> None:
    """Wherever it stands and whatever stands behind it; and they spread over a table's slots."""
    rng = Random(3)
    texts = [rng.randbytes(rng.randint(0, 70)) for _ in range(3000)] + [b"k" * size for size in range(70)]
    lengths = np.array([len(text) for text in texts])
    found = []
    for between in (b"", b"\0", b"\xff" * 7, rng.randbytes(13)):
        starts = np.cumsum(lengths + len(between)) - lengths
        data = b"".join(between + text for text in texts) + rng.randbytes(PADDING)
        found.append(hashes_of(np.frombuffer(data, np.uint8).copy(), starts, lengths, 12345))
    assert all(np.array_equal(found[0], others) for others in found)
    assert (found[0] >= 0).all()
    numbered = b"".join(b"key%05d" % number for number in range(8192))
    starts = np.arange(0, 8 * 8192, 8)
    slots = hashes_of(np.frombuffer(numbered + bytes(PADDING), np.uint8).copy(), starts, np.full(8192, 8), 7) & 16383
    assert np.bincount(slots).max() <= 8
    assert len(np.unique(slots)) > 6000


def padded(text: bytes) -> np.ndarray:
    return np.frombuffer(text + bytes(PADDING), np.uint8).copy()


def path_text(paths: Paths, path: int) -> bytes:
    start = int(paths.path_start[path])
    return bytes(paths.path_bytes[start : start + int(paths.path_length[path])])


def test_paths_and_nodes_stay_the_same_while_tables_grow() -> None:
    """Every (object, key) is one node with one path, every path and kind one column, however often they are asked."""
    rng = Random(4)
    paths = new_paths()
    nodes: dict[tuple[int, bytes], int] = {}
    columns: dict[tuple[int, int], int] = {}
    known: dict[int, bytes] = {ROOT: b""}
    for _ in range(12_000):
        parent = rng.choice(list(known)) if rng.random() < 0.3 else ROOT
        if len(known[parent]) > 400:
            parent = ROOT
        key = b"%d" % rng.randrange(3000) if rng.random() < 0.9 else b"long " * rng.randint(0, 60)
        src = padded(key)
        while (node := int(find_node(paths, parent, src.ctypes.data, 0, len(key)))) == FULL:
            paths = grown(paths, 1024)
        assert nodes.setdefault((parent, key), node) == node
        path = int(paths.node_path[node])
        text = key if parent == ROOT else known[parent] + b"." + key
        assert path_text(paths, path) == text
        assert int(find_path(paths, padded(text), len(text))) == path
        if len(known) < 50:
            known[node] = text
        kind = rng.randrange(14)
        while (column := int(find_column(paths, path, kind))) == FULL:
            paths = grown(paths, 0)
        assert columns.setdefault((path, kind), column) == column
    assert sorted(nodes.values()) == list(range(1, len(nodes) + 1))
    assert len(set(columns.values())) == len(columns)
    for (parent, key), node in nodes.items():
        assert int(find_node(paths, parent, padded(key).ctypes.data, 0, len(key))) == node
