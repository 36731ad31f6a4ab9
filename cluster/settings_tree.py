"""Owns the settings of a deployment: every key with its default, range and reason, and the relations between them.

Never reads a file or the environment (cluster.settings does) and never imports ray. `ray_config.yaml` at the root of
the repository is the same tree for people; a test keeps the two equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)

from cluster.units import parse_age, parse_size, size_text
from core import limits
from core.append import OBJECT
from core.errors import InvalidName, InvalidSettings
from core.ids import check_name
from core.limits import GIB, KIB, MIB

REMOTE_SCHEMES: Final = ("s3", "gs", "az")  # every process must see the same objects: so no memory://

Size = Annotated[int, BeforeValidator(parse_size), "size"]
Age = Annotated[float, BeforeValidator(parse_age), "age"]


class Section(BaseModel):
    """A mapping of settings: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class StorageOptions(Section):
    """How to reach a remote object store. null leaves a value to the store's client (environment, instance role)."""

    endpoint: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None
    allow_http: bool = False


class Flush(Section):
    """When a shard turns its memtable into segments."""

    age_s: Age = Field(default=limits.FLUSH_AGE_S_DEFAULT, ge=0.1, le=3600.0)
    memtable_bytes_target: Size = Field(
        default=limits.MEMTABLE_BYTES_TARGET, ge=64 * KIB, le=limits.MEMTABLE_BYTES_TARGET_MAX
    )


class Limits(Section):
    """Caps of one shard; core.limits has the largest value of each and the reason."""

    memtable_bytes_max: Size = Field(default=limits.MEMTABLE_BYTES_MAX, ge=128 * KIB, le=limits.MEMTABLE_BYTES_MAX)
    wal_file_bytes_target: Size = Field(
        default=limits.WAL_FILE_BYTES_TARGET, ge=64 * KIB, le=limits.WAL_FILE_BYTES_TARGET
    )


class ActorResources(Section):
    """What Ray sets aside for one actor; memory_bytes 0 = nothing set aside."""

    num_cpus: float = Field(default=0.25, ge=0.0, le=256.0)
    memory_bytes: Size = Field(default=0, ge=0, le=1024 * GIB)


class Autoscale(Section):
    """When the number of shards changes by itself; see docs/scaling.md."""

    enabled: bool = False
    shards_min: int = Field(default=1, ge=1, le=limits.SHARDS_MAX)
    shards_max: int = Field(default=16, ge=1, le=limits.SHARDS_MAX)
    bytes_per_s_target: Size = Field(default=64 * MIB, ge=KIB, le=GIB)
    cpu_target: float = Field(default=0.7, ge=0.01, le=256.0)
    up_after_s: Age = Field(default=15.0, ge=1.0, le=3_600.0)
    down_after_s: Age = Field(default=900.0, ge=1.0, le=86_400.0)


class Readers(Section):
    """The actors that read segments for queries; count 0 = the shards read their own."""

    count: int = Field(default=0, ge=0, le=1024)
    num_cpus: float = Field(default=0.25, ge=0.0, le=256.0)
    memory_bytes: Size = Field(default=0, ge=0, le=1024 * GIB)


class Query(Section):
    """What one query may use."""

    threads: int = Field(default=2, ge=1, le=256)
    memory_bytes_max: Size = Field(default=GIB, ge=64 * MIB, le=1024 * GIB)
    timeout_s: Age = Field(default=limits.QUERY_SECONDS_DEFAULT, ge=0.1, le=86_400.0)


class Scrub(Section):
    """How often everything that is stored is verified in the background, and how fast; interval_s 0 = never."""

    interval_s: Age = Field(default=86_400.0, ge=0.0, le=366 * 86_400.0)
    bytes_per_s: Size = Field(default=16 * MIB, ge=64 * KIB, le=64 * GIB)


class Compaction(Section):
    """Merging of segments; compactors 0 = the shards do it in their spare time. The rest is of one such actor."""

    enabled: bool = True
    compactors: int = Field(default=0, ge=0, le=1024)
    num_cpus: float = Field(default=1.0, ge=0.0, le=256.0)
    memory_bytes: Size = Field(default=0, ge=0, le=1024 * GIB)


class RayOptions(Section):
    """The Ray cluster to join, or what to start on this machine; the names are those of ray.init."""

    address: str | None = Field(
        default=None,
        pattern=r"^(auto|local|(ray://)?\S+:\d{1,5})$",
        description="'auto', 'local', host:port or ray://host:port",
    )
    num_cpus: int | None = Field(default=None, ge=1, le=4096)
    num_gpus: int | None = Field(default=None, ge=0, le=1024)
    object_store_memory: Annotated[Size | None, "size"] = Field(default=None, ge=75 * MIB, le=1024 * GIB)
    resources: dict[str, Annotated[float, Field(ge=0.0)]] = {}
    include_dashboard: bool = False
    dashboard_host: str = "127.0.0.1"
    dashboard_port: int = Field(default=8265, ge=1, le=65_535)


class Settings(Section):
    """One deployment. Frozen; validated as a whole when made (InvalidSettings where values do not go together)."""

    name: str = "malamute"
    storage: str = Field(default="./malamute-data", min_length=1, validate_default=True)
    storage_options: StorageOptions = StorageOptions()
    wal_directory: str | None = Field(default=None, min_length=1)
    shards: int = Field(default=2, ge=1, le=limits.SHARDS_MAX)
    durability: Literal["memory", "local", "object"] = Field(default="local", description="memory, local or object")
    wal_object_interval_ms: int = Field(
        default=limits.WAL_OBJECT_INTERVAL_MS_DEFAULT, ge=1, le=limits.WAL_OBJECT_INTERVAL_MS_MAX
    )
    flush: Flush = Flush()
    limits: Limits = Limits()
    shard: ActorResources = ActorResources()
    coordinator: ActorResources = ActorResources()
    readers: Readers = Readers()
    autoscale: Autoscale = Autoscale()
    query: Query = Query()
    scrub: Scrub = Scrub()
    compaction: Compaction = Compaction()
    ray: RayOptions = RayOptions()
    launcher: dict[str, Any] | None = None

    _sources: dict[str, str] = PrivateAttr(default_factory=dict)

    def source_of(self, key: str) -> str:
        """Where the value of a key that is in no section comes from; see cluster.settings.describe."""
        given = not self._sources and key in self.model_fields_set
        return self._sources.get(key) or ("argument" if given else "default")

    @classmethod
    def tiny(cls, storage: str) -> Settings:
        """Every size at or near its smallest, so that a test with a few thousand events meets the edges."""
        return cls(
            storage=storage,
            flush=Flush(age_s=0.5, memtable_bytes_target=64 * KIB),
            limits=Limits(
                memtable_bytes_max=256 * KIB,
                wal_file_bytes_target=64 * KIB,
            ),
            shard=ActorResources(num_cpus=0.01),
            coordinator=ActorResources(num_cpus=0.01),
            readers=Readers(num_cpus=0.01),
            query=Query(threads=1, memory_bytes_max=64 * MIB, timeout_s=30.0),
        )

    @property
    def storage_is_remote(self) -> bool:
        """True when segments and manifests go to an object store, False for a directory of this machine."""
        return self.storage.partition("://")[0] in REMOTE_SCHEMES

    @property
    def wal_path(self) -> str | None:
        """The directory of all shards' WALs, `wal_directory` or `<storage>/wal`; None: they are on the object store."""
        if self.durability == OBJECT:
            return None
        return self.wal_directory or str(Path(self.storage) / "wal")

    @field_validator("name")
    @classmethod
    def _legal_name(cls, value: str) -> str:
        try:
            return check_name("deployment", value)
        except InvalidName as error:
            raise ValueError(str(error).removeprefix(f"deployment name {value!r} is not allowed: ")) from error

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
        if "@" in rest.partition("/")[0]:
            raise ValueError("put credentials into storage_options, not into the url")
        return value

    @field_validator("wal_directory")
    @classmethod
    def _absolute_wal(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            raise ValueError("use a path on a local disk; for the WAL on the object store set durability to object")
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
    broken = [*_broken_storage(settings), *_broken_sizes(settings), *_broken_ray(settings)]
    autoscale = settings.autoscale
    if autoscale.shards_min > autoscale.shards_max:
        broken.append(("autoscale.shards_min", autoscale.shards_min, "at most autoscale.shards_max"))
    return broken


def _broken_storage(settings: Settings) -> list[tuple[str, object, str]]:
    if settings.durability == OBJECT:
        if settings.wal_directory is not None:
            rule = "with durability object the WAL is on the object store: leave it out"
            return [("wal_directory", settings.wal_directory, rule)]
    elif settings.storage_is_remote and settings.wal_directory is None:
        rule = f"with storage {settings.storage} name a directory on a local disk, or set durability to object"
        return [("wal_directory", "null", rule)]
    return []


def _broken_sizes(settings: Settings) -> list[tuple[str, object, str]]:
    caps = settings.limits
    relations = (
        (
            "limits.memtable_bytes_max",
            caps.memtable_bytes_max,
            2 * settings.flush.memtable_bytes_target,
            "twice flush.memtable_bytes_target: one memtable fills while another is flushed",
        ),
        (
            "shard.memory_bytes",
            settings.shard.memory_bytes or None,
            2 * caps.memtable_bytes_max,
            "twice limits.memtable_bytes_max (or 0)",
        ),
        (
            "coordinator.memory_bytes",
            settings.coordinator.memory_bytes or None,
            settings.query.memory_bytes_max,
            "query.memory_bytes_max (or 0)",
        ),
        (
            "readers.memory_bytes",
            settings.readers.memory_bytes or None,
            settings.query.memory_bytes_max,
            "query.memory_bytes_max (or 0)",
        ),
    )
    return [
        (key, size_text(size), f"at least {size_text(least)}, {reason}")
        for key, size, least, reason in relations
        if size is not None and size < least
    ]


def _broken_ray(settings: Settings) -> list[tuple[str, object, str]]:
    broken: list[tuple[str, object, str]] = []
    ray = settings.ray
    readers = settings.readers.count * settings.readers.num_cpus
    compaction = settings.compaction
    compactors = compaction.compactors * compaction.num_cpus if compaction.enabled else 0
    needed = settings.shards * settings.shard.num_cpus + settings.coordinator.num_cpus + readers + compactors
    if ray.num_cpus is not None and ray.num_cpus < needed:
        rule = f"at least {needed:g}: shards x shard.num_cpus + coordinator.num_cpus + readers + compactors"
        broken.append(("ray.num_cpus", ray.num_cpus, rule))
    if ray.address not in (None, "local"):
        for key, field in RayOptions.model_fields.items():
            if key != "address" and getattr(ray, key) != field.default:
                rule = f"it is for starting Ray here, but ray.address is {ray.address}"
                broken.append((f"ray.{key}", getattr(ray, key), rule))
    return broken
