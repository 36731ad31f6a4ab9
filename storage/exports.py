"""Owns where an export of a stream may go: never between the files of the store. Not what is in it."""

from __future__ import annotations

import os
from collections.abc import Sequence

from core.errors import InvalidRequest, InvalidSettings
from storage.deployment import ShardConfig
from storage.fs import LocalFileSystem
from storage.iceberg.exported import Exported
from storage.keys import exports_prefix
from storage.open_objects import object_address, open_object_store
from storage.snapshot import Segment


def export_iceberg(
    config: ShardConfig, tenant: str, stream: str, segments: Sequence[Segment], location: str | None
) -> Exported:
    """Make the Iceberg table at `location` show `segments`; None is `<storage>/iceberg/<tenant>/<stream>`.

    `location` is an absolute path or a URL; on the storage's own kind of object store its options count too. Raises
    InvalidRequest (a place that the export may not have), InvalidSettings, Corrupt, Unavailable.
    """
    try:
        from storage.iceberg.export import export
    except ImportError as error:
        raise InvalidSettings(
            f"an export to iceberg needs PyIceberg where the deployment runs: pip install 'malamute[iceberg]' ({error})"
        ) from error
    place = _place(config, tenant, stream, location)
    options = config.options if _scheme(place) == _scheme(config.url) else {}
    objects = open_object_store(place, LocalFileSystem(), options)
    return export(
        segments,
        lambda segment: _as_url(object_address(config.url, segment.name)),
        objects,
        _as_url(place),
        f"{tenant}/{stream}",
    )


def _place(config: ShardConfig, tenant: str, stream: str, location: str | None) -> str:
    root = object_address(config.url, "")
    exports = object_address(config.url, exports_prefix(tenant))
    if location is None:
        return f"{exports}{stream}"
    place = object_address(location, "")
    if _scheme(place) == "" and not os.path.isabs(place):
        raise InvalidRequest(f"the location {location!r} is relative: give an absolute path or a URL")
    if f"{place}/".startswith(f"{root}/") and not place.startswith(exports):
        raise InvalidRequest(
            f"{location!r} lies between the files of the store: export to another place, or leave the location out "
            f"for {exports}{stream}"
        )
    return place


def _scheme(address: str) -> str:
    return address.partition("://")[0] if "://" in address else ""


def _as_url(address: str) -> str:
    return address if _scheme(address) else f"file://{address}"
