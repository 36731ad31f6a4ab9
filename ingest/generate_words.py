"""Owns the words that synthetic log events are made of. Holds no randomness and no state.

A message template has exactly three slots of fixed width, so that a template's length never changes and fresh
values can be written over old ones in place: `{id}` 8 lower-case hex digits, `{n}` and `{m}` 4 decimal digits each.
"""

from __future__ import annotations

from typing import Final, NamedTuple


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LEVELS: Final = ("info", "warn", "debug", "error")
LEVEL_SHARES: Final = (0.80, 0.09, 0.06, 0.05)

SERVICES: Final = _words(
    """checkout web-frontend api-gateway auth search catalog cart payments inventory orders shipping pricing
    recommendations profile notifications email-sender sms-sender image-resizer ledger invoicing fraud-check
    feature-flags session-store geo-lookup reviews wishlist returns tax-engine loyalty partner-sync webhook-relay
    report-builder data-export audit-trail rate-limiter edge-proxy job-scheduler cache-warmer media-upload
    support-desk"""
)
REGIONS: Final = ("us-east-1", "eu-west-1", "us-west-2", "ap-southeast-2", "eu-central-1")
ENVIRONMENTS: Final = ("prod", "staging", "dev")
METHODS: Final = ("GET", "POST", "PUT", "DELETE", "PATCH")
STATUS_CODES: Final[dict[str, tuple[int, ...]]] = {
    "info": (200, 304, 201, 204, 302),
    "warn": (404, 401, 429, 400, 409),
    "debug": (200, 206, 304),
    "error": (500, 503, 502, 504),
}

_RESOURCES: Final = _words(
    """products carts orders users sessions payments invoices shipments reviews images prices offers stores tokens
    devices reports messages coupons addresses returns"""
)
_ENDINGS: Final = (
    "",
    "/:id",
    "/:id/items",
    "/search",
    "/:id/status",
    "/batch",
    "/:id/history",
    "/count",
    "/top",
    "/export",
)
PATHS: Final = tuple(f"/v2/{resource}{ending}" for ending in _ENDINGS for resource in _RESOURCES)

_COMPONENTS: Final = _words(
    """database cache queue gateway index ledger scheduler session-store upstream replica bucket broker template
    token-service rate-limiter storage resolver worker-pool partner-api mailer"""
)

# (level, tells of an HTTP request, text); `{c}` is a component. 15 texts x 20 components = 300 templates.
_TEXTS: Final = (
    ("info", True, "request {id} served by {c} in {n} us, {m} rows"),
    ("info", False, "job {id} done on {c}: {n} ms, {m} items"),
    ("info", True, "{c} answered {id}: {n} bytes, node {m}"),
    ("info", False, "{c} pool {n} of {m}, opened {id}"),
    ("info", False, "accepted {id} by {c}, step {n}, try {m}"),
    ("info", False, "{c} hit {id} after {n} probes, gen {m}"),
    ("info", False, "sent {id} to {c} part {n} lag {m}"),
    ("info", True, "done trace={id} via {c} size={n} took={m}us"),
    ("warn", True, "slow call {id} to {c}: {n} ms, budget {m} ms"),
    ("warn", False, "{c} queue is filling up: {n} of {m}, oldest {id}"),
    ("warn", True, "retrying {id} on {c} after {n} ms, code {m}"),
    ("debug", True, "{c} evicted {id}, age {n} s, weight {m}"),
    ("debug", False, "{c} heartbeat {id}: load {n}, peers {m}"),
    ("error", True, "connection reset by {c} while handling {id} after {n} ms (errno {m})"),
    ("error", True, "unhandled exception in {c} worker {n}: timeout on {id} at line {m}"),
)

_SLOTS: Final = {"{id}": "00000000", "{n}": "0000", "{m}": "0000"}


class Template(NamedTuple):
    """One message text with zeros in its slots, and the byte positions at which the slots begin."""

    level: str
    is_request: bool
    text: bytes
    id_at: int
    n_at: int
    m_at: int


def _template(level: str, is_request: bool, text: str, component: str) -> Template:
    text = text.replace("{c}", component)
    positions = {}
    for slot in sorted(_SLOTS, key=text.index):  # from left to right: filling one slot moves only those after it
        positions[slot] = text.index(slot)
        text = text.replace(slot, _SLOTS[slot])
    return Template(level, is_request, text.encode("ascii"), positions["{id}"], positions["{n}"], positions["{m}"])


# From common to rare within a level; every text appears before the second component does.
TEMPLATES: Final = tuple(_template(*text, component) for component in _COMPONENTS for text in _TEXTS)
