"""Owns the settings of a deployment: every key with its default, range and reason, and the relations between them.

Never reads a file or the environment (cluster.settings does) and never imports ray. `ray_config.yaml` at the root of
the repository is the same tree for people; a test keeps the two equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, SecretStr, field_validator, model_validator

from cluster.units import parse_age, parse_size, size_text
from core import limits
from core.errors import InvalidName, InvalidSettings
from core.ids import check_name
from core.limits import GIB, KIB, MIB

REMOTE_SCHEMES: Final = ("s3", "gs", "az", "memory")  # what storage/objects.py opens besides paths and file://

Size = Annotated[int, BeforeValidator(parse_size), "size"]
Age = Annotated[float, BeforeValidator(parse_age), "age"]


class Section(BaseModel):
    """A mapping of settings: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class StorageOptions(Section):
    """How to reach a remote object store. Credentials that are null come from the environment of the processes."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    allow_http: bool = False


class Flush(Section):
    """When a shard turns its memtable into segments."""

    age_s: Age = Field(limits.FLUSH_AGE_S_DEFAULT, ge=0.1, le=3600.0)
    memtable_bytes_target: Size = Field(limits.MEMTABLE_BYTES_TARGET, ge=64 * KIB, le=limits.MEMTABLE_BYTES_TARGET)


class Limits(Section):
    """Caps of one shard; core.limits has the largest value of each and the reason."""

    memtable_bytes_max: Size = Field(limits.MEMTABLE_BYTES_MAX, ge=128 * KIB, le=limits.MEMTABLE_BYTES_MAX)
    batch_rows_max: int = Field(limits.BATCH_ROWS_MAX, ge=1, le=limits.BATCH_ROWS_MAX)
    batch_bytes_max: Size = Field(limits.BATCH_BYTES_MAX, ge=64 * KIB, le=limits.BATCH_BYTES_MAX)
    wal_file_bytes_target: Size = Field(limits.WAL_FILE_BYTES_TARGET, ge=64 * KIB, le=limits.WAL_FILE_BYTES_TARGET)
    row_group_rows: int = Field(limits.ROW_GROUP_ROWS, ge=128, le=limits.ROW_GROUP_ROWS)
    manifest_versions_kept: int = Field(limits.MANIFEST_VERSIONS_KEPT, ge=2, le=limits.MANIFEST_VERSIONS_KEPT)


class ActorResources(Section):
    """What Ray sets aside for one actor; memory_bytes 0 = nothing set aside."""

    num_cpus: float = Field(0.25, ge=0.0, le=256.0)
    memory_bytes: Size = Field(0, ge=0, le=1024 * GIB)


class Query(Section):
    """What one query may use."""

    threads: int = Field(2, ge=1, le=256)
    memory_bytes_max: Size = Field(GIB, ge=64 * MIB, le=1024 * GIB)
    timeout_s: Age = Field(limits.QUERY_SECONDS_DEFAULT, ge=0.1, le=86_400.0)


class RayOptions(Section):
    """The Ray cluster to join, or what to start on this machine; the names are those of ray.init."""

    STARTS: ClassVar[tuple[str, ...]] = (
        "num_cpus",
        "num_gpus",
        "object_store_memory",
        "resources",
        "include_dashboard",
        "dashboard_host",
        "dashboard_port",
    )

    address: str | None = Field(None, min_length=1)
    num_cpus: int | None = Field(None, ge=1, le=4096)
    num_gpus: int | None = Field(None, ge=0, le=1024)
    object_store_memory: Annotated[Size | None, "size"] = Field(None, ge=75 * MIB, le=1024 * GIB)
    resources: dict[str, Annotated[float, Field(ge=0.0)]] = {}
    include_dashboard: bool = False
    dashboard_host: str = "127.0.0.1"
    dashboard_port: int = Field(8265, ge=1, le=65_535)


class Settings(Section):
    """One deployment. Frozen; validated as a whole when made (InvalidSettings where values do not go together)."""

    name: str = "malamute"
    storage: str = Field("./malamute-data", min_length=1)
    storage_options: StorageOptions = StorageOptions()
    wal_directory: str | None = Field(None, min_length=1)
    shards: int = Field(2, ge=1, le=1024)
    durability: Literal["memory", "local"] = "local"
    flush: Flush = Flush()
    limits: Limits = Limits()
    shard: ActorResources = ActorResources()
    coordinator: ActorResources = ActorResources()
    query: Query = Query()
    ray: RayOptions = RayOptions()
    launcher: dict[str, Any] | None = None

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    @classmethod
    def tiny(cls, storage: str) -> Settings:
        """Every size at or near its smallest, so that a test with a few thousand events meets the edges."""
        return cls(
            storage=storage,
            flush=Flush(age_s=0.5, memtable_bytes_target=64 * KIB),
            limits=Limits(
                memtable_bytes_max=256 * KIB,
                batch_rows_max=2000,
                batch_bytes_max=256 * KIB,
                wal_file_bytes_target=64 * KIB,
                row_group_rows=128,
                manifest_versions_kept=2,
            ),
            shard=ActorResources(num_cpus=0.01),
            coordinator=ActorResources(num_cpus=0.01),
            query=Query(threads=1, memory_bytes_max=64 * MIB, timeout_s=30.0),
        )

    @property
    def storage_is_remote(self) -> bool:
        """True when segments and manifests go to an object store, False for a directory of this machine."""
        return self.storage.partition("://")[0] in REMOTE_SCHEMES

    @property
    def wal_path(self) -> str:
        """The directory of all shards' WALs: `wal_directory`, or `<storage>/wal`."""
        return self.wal_directory or str(Path(self.storage) / "wal")

    @field_validator("name")
    @classmethod
    def _legal_name(cls, value: str) -> str:
        try:
            return check_name("deployment", value)
        except InvalidName as error:
            raise ValueError(str(error)) from error

    @field_validator("storage")
    @classmethod
    def _absolute_storage(cls, value: str) -> str:
        scheme, separator, rest = value.partition("://")
        if not separator:
            return absolute(value)
        if scheme == "file":
            return absolute(rest)
        if scheme not in REMOTE_SCHEMES:
            schemes = ", ".join(f"{known}://" for known in REMOTE_SCHEMES)
            raise ValueError(f"use a path, file:// or one of {schemes}")
        return value

    @field_validator("wal_directory")
    @classmethod
    def _absolute_wal(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            raise ValueError("use a path on a local disk: this version keeps the WAL there")
        return value and absolute(value)

    @model_validator(mode="after")
    def _related(self) -> Settings:
        for key, value, rule in _broken_relations(self):
            raise InvalidSettings(f"{key}: {value} is not allowed: {rule}")
        return self


def absolute(path: str) -> str:
    """`path` made absolute here and now, as actors run in other directories; ~ is the home directory."""
    return str(Path(path).expanduser().absolute())


def _broken_relations(settings: Settings) -> list[tuple[str, object, str]]:
    """(key, value, rule) of each relation between values that does not hold."""
    broken: list[tuple[str, object, str]] = []
    caps, target, ray = settings.limits, settings.flush.memtable_bytes_target, settings.ray
    if settings.storage_is_remote and settings.wal_directory is None:
        broken.append(("wal_directory", "null", f"with storage {settings.storage} name a directory on a local disk"))
    if caps.memtable_bytes_max < 2 * target:
        rule = f"at least twice flush.memtable_bytes_target ({size_text(target)}): one fills while one is flushed"
        broken.append(("limits.memtable_bytes_max", size_text(caps.memtable_bytes_max), rule))
    if caps.batch_bytes_max > caps.memtable_bytes_max:
        rule = f"at most limits.memtable_bytes_max ({size_text(caps.memtable_bytes_max)}), or it would never fit"
        broken.append(("limits.batch_bytes_max", size_text(caps.batch_bytes_max), rule))
    if 0 < settings.shard.memory_bytes < 2 * caps.memtable_bytes_max:
        rule = f"0 or at least twice limits.memtable_bytes_max ({size_text(caps.memtable_bytes_max)})"
        broken.append(("shard.memory_bytes", size_text(settings.shard.memory_bytes), rule))
    if 0 < settings.coordinator.memory_bytes < settings.query.memory_bytes_max:
        rule = f"0 or at least query.memory_bytes_max ({size_text(settings.query.memory_bytes_max)})"
        broken.append(("coordinator.memory_bytes", size_text(settings.coordinator.memory_bytes), rule))
    needed = settings.shards * settings.shard.num_cpus + settings.coordinator.num_cpus
    if ray.num_cpus is not None and ray.num_cpus < needed:
        rule = f"at least {needed:g}: shards x shard.num_cpus + coordinator.num_cpus"
        broken.append(("ray.num_cpus", ray.num_cpus, rule))
    if ray.address not in (None, "local"):
        for key in RayOptions.STARTS:
            if key in ray.model_fields_set and getattr(ray, key) != RayOptions.model_fields[key].default:
                rule = f"it is for starting Ray here, but ray.address is {ray.address}"
                broken.append((f"ray.{key}", getattr(ray, key), rule))
    return broken
