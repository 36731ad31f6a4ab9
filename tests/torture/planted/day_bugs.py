"""Owns the bugs in the life of segments that a simulated day met first. Data."""

from __future__ import annotations

from typing import Final

from tests.torture.planted.bug import Bug

_DAY: Final = "tests/unit/test_day.py"

DAY_BUGS: Final = (
    Bug(
        "garbage collection does not look at what named snapshots hold",
        "storage/garbage.py",
        "segment.at_us <= latest_us and segment.name not in leased",
        "segment.at_us <= latest_us",
        _DAY,
    ),
    Bug(
        "retention hides by the time at which an event came in",
        "query/hidden.py",
        'f"{_PREFIX}_before", TIMESTAMPTZ, system=TIMESTAMP)',
        'f"{_PREFIX}_before", TIMESTAMPTZ, system="_ingested_at")',
        _DAY,
    ),
    Bug(
        "named snapshots show what a delete that waits for them means",
        "query/hidden.py",
        "(in_snapshot or delete.state == RUNNING)",
        "delete.state == RUNNING",
        "tests/unit/test_query_hidden.py",
    ),
    Bug(
        "what a merge left that died is not deleted when the shard opens",
        "storage/recovery.py",
        "    objects.delete(older)\n",
        "",
        _DAY,
    ),
    Bug(
        "ids that are known are not looked for",
        "storage/dedup.py",
        "        duplicate = self.index.known(high, low)\n",
        "        duplicate = np.zeros(len(high), np.bool_)\n",
        _DAY,
    ),
)
