"""Backup, restore and clone by their commands, beside a deployment that runs and after it."""

from __future__ import annotations

import pytest

import malamute
from malamute.commands import backup
from malamute.commands.places import open_place
from malamute.commands.store import Choice
from malamute.commands.verify import place_of
from storage.backup import backups
from storage.verify import verify_storage

COUNT = "SELECT count(*) AS n, sum(v) AS s FROM logs"


def test_what_was_acknowledged_before_a_backup_is_in_it_and_a_clone_goes_its_own_way(ray_session, tmp_path):
    storage, url, second, third = (str(tmp_path / name) for name in ("data", "backups", "second", "third"))
    with malamute.connect(storage=storage) as store:
        with store.producer("importer", stream="logs") as producer:
            producer.send_batch([{"v": v} for v in range(100)], position=b"line 100")
        store.write("logs", [{"v": v} for v in range(100, 150)])
        backup.run(Choice(storage=storage), url)
        store.write("logs", [{"v": v} for v in range(150, 200)])
        backup.run(Choice(storage=storage), url)
        assert store.snapshots() == []
        assert store.sql(COUNT).to_pylist() == [{"n": 200, "s": sum(range(200))}]
    first, newest = (found.name for found in backups(open_place(url, None)))
    backup.show(url, None, as_json=False, check=True)

    backup.bring_back(url, second, first, None)
    assert sound(second) == 150
    with malamute.connect(storage=second) as store:
        assert store.sql(COUNT).to_pylist() == [{"n": 150, "s": sum(range(150))}]
        with store.producer("importer", stream="logs") as producer:
            assert producer.position() == b"line 100"
        store.write("logs", [{"v": 1_000}])
        backup.copy(second, third, None)
        store.write("logs", [{"v": 1_000}])
    assert sound(second) == 152
    assert sound(third) == 151
    with pytest.raises(malamute.InvalidRequest, match="not empty"):
        backup.bring_back(url, third, newest, None)


def sound(storage: str) -> int:
    """The events of a storage in which nothing is wrong."""
    report = verify_storage(place_of(storage, None, None), deep=True)
    assert not report.findings, report.findings
    return int(report.to_plain()["events"])
