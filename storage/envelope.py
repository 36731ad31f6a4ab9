"""Owns the frame around small metadata objects (manifests, catalogs): magic, version, sizes, checksum, lz4 msgpack.

    offset size  field (little-endian)
    0      8     magic
    8      2     format version
    10     2     zero
    12     4     bytes of the body before compression
    16     4     bytes of the body as it follows
    20     4     crc32c of bytes 0-19 and the body as it follows
    24     …     body: one lz4 block of msgpack

Never interprets a body.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import google_crc32c
import lz4.block
import msgpack

from core.errors import Corrupt
from core.limits import GIB

_HEADER: Final = struct.Struct("<8sHHIII")
_CHECKED_HEADER_BYTES: Final = 20
# A larger size field is damage, not a manifest: measured, 5,000 segments of 20 columns and 100,000 producers take
# 4 MB compressed.
_BODY_BYTES_MAX: Final = 1 * GIB


def seal(magic: bytes, version: int, body: Any) -> bytes:
    """`body` (what msgpack can hold) framed as above; `magic` has 8 bytes."""
    raw: bytes = msgpack.packb(body, use_bin_type=True)
    block: bytes = lz4.block.compress(raw, store_size=False)
    head = _HEADER.pack(magic, version, 0, len(raw), len(block), 0)[:_CHECKED_HEADER_BYTES]
    return head + struct.pack("<I", google_crc32c.value(head + block)) + block


def unseal(magic: bytes, version_max: int, data: bytes, what: str) -> tuple[int, Any]:
    """(format version, body) of seal(); raises Corrupt on any damage and on versions above `version_max`.

    `what` names the object in messages.
    """
    if len(data) < _HEADER.size:
        raise Corrupt(f"{what} has {len(data)} bytes, fewer than its header of {_HEADER.size}: restore it")
    found, version, zero, raw_bytes, block_bytes, crc = _HEADER.unpack_from(data)
    if found != magic:
        raise Corrupt(f"{what} begins with {found!r}, not {magic!r}: it is damaged or not ours")
    block = data[_HEADER.size :]
    if google_crc32c.value(data[:_CHECKED_HEADER_BYTES] + block) != crc:
        raise Corrupt(f"{what} fails its checksum: restore it")
    if version > version_max:
        raise Corrupt(f"{what} has format version {version}, this release reads up to {version_max}: upgrade")
    if zero or len(block) != block_bytes or raw_bytes > _BODY_BYTES_MAX:
        raise Corrupt(f"{what} has a header that does not fit its {len(data)} bytes: restore it")
    try:
        raw = lz4.block.decompress(block, uncompressed_size=raw_bytes)
        # Keys are only strings that seal() wrote; lists stay lists.
        body = msgpack.unpackb(raw, raw=False, strict_map_key=False)
    except (lz4.block.LZ4BlockError, ValueError, msgpack.UnpackException) as error:
        raise Corrupt(f"{what} has a body that cannot be read: {error}") from error
    return version, body
