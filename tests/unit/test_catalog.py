"""The catalog and format.json: idempotent, race-safe, clear refusals."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from core.clock import ManualClock
from core.errors import Corrupt, InvalidName, InvalidRequest, InvalidSettings, NotFound, UnknownOutcome
from storage.catalog import Catalog, CatalogStore, decode_catalog, encode_catalog
from storage.deletes import Delete
from storage.fs import LocalFileSystem
from storage.inspect_storage import inspect_catalog
from storage.keys import FORMAT_KEY
from storage.local_objects import LocalObjectStore
from storage.objects import ObjectStore
from storage.storage_format import open_storage
from storage.stream_settings import Placement, StreamSettings
from storage.windows import HOUR_US
from tests.support.flaky_objects import FlakyObjectStore


def catalog_of(objects: ObjectStore) -> CatalogStore:
    return CatalogStore(objects, ManualClock(1_000), shards=4)


def test_a_stream_is_made_once() -> None:
    objects = FlakyObjectStore()
    catalog = catalog_of(objects)
    made = catalog.ensure_stream("default", StreamSettings("logs"))
    assert made == StreamSettings("logs", created_at_us=1_000, placements=(Placement(1, 1_000, 4),))
    later = CatalogStore(objects, ManualClock(2_000), shards=8)
    assert later.ensure_stream("default", StreamSettings("logs")) == made
    assert later.get("default", "logs") == made
    assert len(objects.objects) == 1


def test_other_settings_are_refused_by_name() -> None:
    catalog = catalog_of(FlakyObjectStore())
    catalog.ensure_stream("default", StreamSettings("logs", sort_key=("host",), window=HOUR_US))
    with pytest.raises(InvalidRequest, match=r"sort_key: \('host',\), not \('service', 'timestamp'\)") as caught:
        catalog.ensure_stream("default", StreamSettings("logs"))
    assert "window: 3600000000, not 'auto'" in str(caught.value)


def test_tenants_are_apart() -> None:
    catalog = catalog_of(FlakyObjectStore())
    catalog.ensure_stream("one", StreamSettings("logs"))
    catalog.ensure_stream("two", StreamSettings("secret-project"))
    assert [s.name for s in catalog.streams("one")] == ["logs"]
    assert catalog.streams("three") == ()
    with pytest.raises(NotFound) as caught:
        catalog.get("one", "secret-projekt")
    assert "did you mean" not in str(caught.value)


def test_an_unknown_stream_names_the_nearest() -> None:
    catalog = catalog_of(FlakyObjectStore())
    catalog.ensure_stream("default", StreamSettings("nginx-logs"))
    with pytest.raises(NotFound, match="did you mean 'nginx-logs'"):
        catalog.get("default", "nginx-log")


def test_get_sees_streams_made_elsewhere() -> None:
    objects = FlakyObjectStore()
    reader = catalog_of(objects)
    with pytest.raises(NotFound):
        reader.get("default", "logs")
    catalog_of(objects).ensure_stream("default", StreamSettings("logs"))
    assert reader.get("default", "logs").name == "logs"


@pytest.mark.parametrize(
    "settings",
    [
        StreamSettings("logs", max_paths=0),
        StreamSettings("logs", max_paths=10_001),
        StreamSettings("logs", window=5),
        StreamSettings("logs", sort_key=("a", "a")),
        StreamSettings("logs", sort_key=("",)),
        StreamSettings("logs", sort_key=tuple("abcdefghi")),
        StreamSettings("logs", timestamp=""),
        StreamSettings("logs", dedup_key="timestamp"),
        StreamSettings("logs", dedup_key="at", timestamp="at"),
    ],
)
def test_settings_out_of_range_are_refused(settings: StreamSettings) -> None:
    objects = FlakyObjectStore()
    with pytest.raises(InvalidSettings):
        catalog_of(objects).ensure_stream("default", settings)
    assert objects.objects == {}


def test_illegal_names_are_refused() -> None:
    catalog = catalog_of(FlakyObjectStore())
    with pytest.raises(InvalidName):
        catalog.ensure_stream("../x", StreamSettings("logs"))
    with pytest.raises(InvalidName):
        catalog.ensure_stream("default", StreamSettings("Logs"))


def test_racing_makers_all_succeed_and_agree(tmp_path: Path) -> None:
    objects = LocalObjectStore(str(tmp_path), LocalFileSystem())
    found: list[StreamSettings] = []
    errors: list[BaseException] = []

    def make(number: int) -> None:
        try:
            catalog = CatalogStore(objects, ManualClock(number), shards=2)
            found.append(catalog.ensure_stream("default", StreamSettings("shared")))
            catalog.ensure_stream("default", StreamSettings(f"own-{number}"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(found) == 16 and len(set(found)) == 1
    assert len(catalog_of(objects).streams("default")) == 17
    assert len(list((tmp_path / "catalog").iterdir())) <= 17


@pytest.mark.parametrize("failure", ["after", "later"])
def test_a_lost_answer_is_settled_by_asking_again(failure: str) -> None:
    objects = FlakyObjectStore(lambda operation, _: failure if operation == "put_new" else None)
    catalog = catalog_of(objects)
    with pytest.raises(UnknownOutcome):
        catalog.ensure_stream("default", StreamSettings("logs"))
    objects.hook = None
    made = catalog.ensure_stream("default", StreamSettings("logs"))
    objects.deliver()
    assert catalog_of(objects).get("default", "logs") == made


def test_each_flipped_byte_is_detected() -> None:
    catalog = Catalog(3, {"default": {"logs": StreamSettings("logs", placements=(Placement(1, 5, 2),))}})
    data = encode_catalog(catalog)
    assert decode_catalog(data) == catalog
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 4
        with pytest.raises(Corrupt):
            decode_catalog(bytes(damaged))
    assert inspect_catalog(data)["tenants"]["default"][0]["placements"] == [[1, 5, 2]]


def test_a_storage_is_marked_once() -> None:
    objects = FlakyObjectStore()
    assert open_storage(objects, 4) == 4
    assert open_storage(objects, 2) == 4
    assert json.loads(objects.get(FORMAT_KEY)) == {"malamute_format": 1, "shards": 4}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b'{"malamute_format": 2, "shards": 4}', "format 2, this release reads up to 1"),
        (b"not json", "cannot be read"),
        (b"[]", "cannot be read"),
        (b'{"shards": 4}', "cannot be read"),
    ],
)
def test_a_storage_that_is_not_ours_is_refused(content: bytes, told: str) -> None:
    objects = FlakyObjectStore()
    objects.put_new(FORMAT_KEY, content)
    with pytest.raises(Corrupt, match=told):
        open_storage(objects, 4)


def test_racing_openers_agree() -> None:
    objects = FlakyObjectStore()

    def other_first(operation: str, key: str) -> str | None:
        if operation == "put_new":
            objects.hook = None
            open_storage(objects, 3)
        return None

    objects.hook = other_first
    assert open_storage(objects, 4) == 3


def test_a_delete_is_known_though_the_answer_of_its_beginning_was_lost() -> None:
    """Queries hide what it means, whether its caller asks again or not."""
    objects = FlakyObjectStore()
    catalog = catalog_of(objects)
    catalog.ensure_stream("default", StreamSettings("logs"))
    objects.hook = lambda operation, key: "after" if operation == "put_new" else None
    with pytest.raises(UnknownOutcome):
        catalog.add_delete(Delete(0, "default", "logs", "n = 1", {0: 7}, 0))
    (begun,) = catalog.deletes()
    assert (begun.id, begun.bounds, begun.created_at_us) == (1, {0: 7}, 1_000)
    objects.hook = None
    assert catalog.add_delete(replace(begun, where="n = 2")).id == 2
    assert catalog.update_delete(replace(begun, remaining=0)).remaining == 0
    assert CatalogStore(objects, ManualClock(), 4).deletes() == catalog.deletes()
    assert inspect_catalog(encode_catalog(catalog.load()))["deletes"][1]["where"] == "n = 2"


def test_a_tenant_has_so_many_deletes_at_a_time_and_keeps_so_many_proofs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.catalog.DELETES_PENDING_MAX", 2)
    monkeypatch.setattr("storage.catalog.DELETES_DONE_KEPT", 3)
    catalog = catalog_of(FlakyObjectStore())
    wanted = Delete(0, "default", "logs", "n = 1", {0: 7}, 0)
    for _ in range(6):
        begun = catalog.add_delete(wanted)
        catalog.update_delete(replace(begun, rewritten_at_us=1, done_at_us=2))
    assert [delete.id for delete in catalog.deletes()] == [3, 4, 5, 6]
    catalog.add_delete(wanted)
    catalog.add_delete(wanted)
    with pytest.raises(InvalidRequest, match="2 deletes are under way, 2 are allowed"):
        catalog.add_delete(wanted)
    assert catalog.add_delete(replace(wanted, tenant="other")).id == 9
