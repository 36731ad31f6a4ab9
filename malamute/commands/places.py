"""Owns opening the places that commands name beside a deployment's storage: a backup, a new storage."""

from __future__ import annotations

import os
from pathlib import Path

from cluster.settings import Settings, load_settings
from core.errors import InvalidSettings
from storage.fs import LocalFileSystem
from storage.objects import ObjectStore
from storage.open_objects import open_object_store


def open_place(url: str, config: str | None) -> ObjectStore:
    """The object store at `url`, a directory or s3://bucket/prefix, with the storage_options of `config`."""
    settings = settings_at(url, config)
    if not settings.storage_is_remote:
        return open_object_store(str(Path(settings.storage).absolute()), LocalFileSystem())
    from cluster.launch import storage_options  # imports ray

    return open_object_store(settings.storage, LocalFileSystem(), storage_options(settings))


def settings_at(url: str | None, config: str | None, wal_directory: str | None = None) -> Settings:
    """The settings of a storage at `url`; None: where `config`, the environment or the default say."""
    given = {"storage": url, "wal_directory": wal_directory}
    try:
        return load_settings(config, given, os.environ)
    except InvalidSettings:
        if wal_directory is not None:
            raise
        # Where no disk is named, the WAL of a remote storage can only be on the storage itself.
        return load_settings(config, {**given, "durability": "object"}, os.environ)
