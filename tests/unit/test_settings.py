"""Settings: sources and their order, ranges, relations, and what a person reads when something is wrong."""

from __future__ import annotations

import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.settings import RayOptions, Settings, describe, launcher_yaml, load_settings
from cluster.settings_tree import Section
from cluster.units import age_text, parse_age, parse_size, size_text
from core import limits
from core.errors import InvalidSettings, NotFound

ROOT = Path(__file__).resolve().parents[2]
CONFIG = str(ROOT / "ray_config.yaml")
MIB = limits.MIB


def _load(text: str, tmp_path: Path, **environ: str) -> Settings:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    return load_settings(str(path), {}, environ)


def _message(overrides: dict[str, Any]) -> str:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(None, overrides, {})
    return str(caught.value)


def _keys(model: type[Section], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        inner = field.annotation
        is_section = isinstance(inner, type) and issubclass(inner, Section)
        found |= _keys(inner, f"{prefix}{name}.") if is_section else {f"{prefix}{name}"}
    return found


def test_defaults_need_nothing_and_use_the_hard_limits() -> None:
    settings = load_settings(None, {}, {})
    assert (settings.name, settings.shards, settings.durability) == ("malamute", 2, "local")
    assert settings.storage == str(Path.cwd() / "malamute-data")
    assert settings.wal_path == str(Path.cwd() / "malamute-data" / "wal")
    assert settings.flush.memtable_bytes_target == limits.MEMTABLE_BYTES_TARGET
    assert settings.limits.memtable_bytes_max == limits.MEMTABLE_BYTES_MAX
    assert {source for _, _, source in describe(settings)} == {"default"}


def test_ray_config_yaml_holds_every_key_with_its_default() -> None:
    plain = yaml.safe_load(Path(CONFIG).read_text())
    written = set()
    for key, value in plain.items():
        nested = key not in ("launcher",) and isinstance(value, dict)
        written |= {f"{key}.{name}" for name in value} if nested else {key}
    assert written == _keys(Settings)
    from_file = load_settings(CONFIG, {}, {}).model_dump(exclude={"launcher"})
    assert from_file == load_settings(None, {}, {}).model_dump(exclude={"launcher"})


def test_launcher_of_ray_config_yaml_is_valid_for_ray_up() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    text = launcher_yaml(load_settings(CONFIG, {}, {}))
    prepared = prepare_config(yaml.safe_load(text))
    validate_config(prepared)
    assert prepared["provider"]["head_ip"] == "192.0.2.10"
    assert list(yaml.safe_load(text)) == list(yaml.safe_load(Path(CONFIG).read_text())["launcher"])


def test_ray_keys_are_arguments_of_ray_init() -> None:
    import ray

    assert set(RayOptions.model_fields) <= set(inspect.signature(ray.init).parameters)


def test_launcher_that_is_not_there_is_named() -> None:
    with pytest.raises(NotFound, match="deployment 'malamute' has no 'launcher'"):
        launcher_yaml(load_settings(None, {}, {}))


def test_later_sources_win_and_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("shards: 3\nstorage: /from-file\nquery:\n  threads: 4\n  timeout_s: 10s\n")
    environ = {"MALAMUTE_STORAGE": "/from-environment", "MALAMUTE_SHARDS": "9", "PATH": "/bin"}
    settings = load_settings(str(path), {"query": {"threads": 8}, "shards": None}, environ)
    rows = {key: (value, source) for key, value, source in describe(settings)}
    assert rows["shards"] == ("3", "file")
    assert rows["storage"] == ("/from-environment", "environment")
    assert rows["query.threads"] == ("8", "argument")
    assert rows["query.timeout_s"] == ("10.0", "file")
    assert rows["durability"] == ("local", "default")
    assert set(rows) == _keys(Settings)


def test_dotted_and_nested_arguments_are_the_same() -> None:
    nested = load_settings(None, {"flush": {"age_s": "5s"}, "ray": {"resources": {"disk.fast": 1}}}, {})
    dotted = load_settings(None, {"flush.age_s": 5, "ray.resources": {"disk.fast": 1.0}}, {})
    assert nested.model_dump() == dotted.model_dump()
    assert nested.flush.age_s == 5.0


def test_secrets_are_never_shown() -> None:
    environ = {"MALAMUTE_ACCESS_KEY_ID": "AKIAEXAMPLE", "MALAMUTE_SECRET_ACCESS_KEY": "hunter2hunter2"}
    settings = load_settings(None, {"storage": "s3://bucket/prefix", "wal_directory": "/var/wal"}, environ)
    assert settings.storage_options.secret_access_key is not None
    assert settings.storage_options.secret_access_key.get_secret_value() == "hunter2hunter2"
    rows = {key: (value, source) for key, value, source in describe(settings)}
    assert rows["storage_options.secret_access_key"] == ("********", "environment")
    assert "hunter2" not in repr(settings) + str(settings) + str(describe(settings))


@pytest.mark.parametrize(
    "overrides",
    [
        {"storage_options.secret_access_key": 12345678},
        {"storage_options": "12345678"},
        {"storage": "s3://key:12345678@bucket"},
        {"storage_options": {"secret_acess_key": "12345678"}},
    ],
)
def test_messages_hold_no_secret(overrides: dict[str, Any]) -> None:
    assert "12345678" not in _message(overrides)


def test_settings_cross_process_borders_with_their_sources() -> None:
    settings = load_settings(None, {"shards": 3}, {"MALAMUTE_SECRET_ACCESS_KEY": "hunter2"})
    again = pickle.loads(pickle.dumps(settings))  # noqa: S301 - as Ray does, with our own bytes
    assert again == settings
    assert describe(again) == describe(settings)


def test_settings_cannot_be_changed() -> None:
    settings = load_settings(None, {}, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.shards = 4  # type: ignore[misc]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"shards": 0}, "shards: 0 is not allowed: 1 to 1024"),
        ({"shards": 1025}, "shards: 1025 is not allowed: 1 to 1024"),
        ({"shards": "4"}, "shards: '4' is not allowed: a whole number, 1 to 1024"),
        ({"shards": True}, "shards: true is not allowed: a whole number, 1 to 1024"),
        ({"shard": 3}, "shard: 3 is not allowed: a mapping of settings, or did you mean 'shards'?"),
        ({"shards_": 3}, "shards_: unknown key, did you mean 'shards'?"),
        ({"flush": {"age": 3}}, "flush.age: unknown key, did you mean 'flush.age_s'?"),
        ({"threads": 3}, "threads: unknown key, did you mean 'query.threads'?"),
        ({"ray.adress": "auto"}, "ray.adress: unknown key, did you mean 'ray.address'?"),
        ({"flush.age_s": "90m"}, "flush.age_s: 5400.0 is not allowed: 0.1s to 3600s"),
        ({"flush.memtable_bytes_target": "513MiB"}, "513MiB is not allowed: 64KiB to 512MiB"),
        ({"ray.resources": {"disk": -1}}, "ray.resources.disk: -1 is not allowed: at least 0"),
        ({"ray.address": "somewhere"}, "'auto', 'local', host:port or ray://host:port"),
        ({"durability": "paper"}, "durability: 'paper' is not allowed: memory, local or object"),
        ({"wal_object_interval_ms": 0}, "wal_object_interval_ms: 0 is not allowed: 1 to 10000"),
        ({"name": "Mine"}, "name: 'Mine' is not allowed: use 1-63 characters of a-z"),
        (
            {"storage": "ftp://x"},
            "storage: 'ftp://x' is not allowed: use a path, file:// or one of s3://, gs://, az://",
        ),
        ({"storage": ""}, "storage: '' is not allowed: a text that is not empty"),
        ({"wal_directory": "s3://bucket/wal"}, "use a path on a local disk"),
        ({"launcher": [1]}, "launcher: [1] is not allowed: a mapping"),
        (
            {"query.timeout_s": float("inf")},
            "query.timeout_s: .inf is not allowed: write an age as a number of seconds",
        ),
    ],
)
def test_what_is_wrong_is_said_with_key_value_and_what_is_allowed(overrides: dict[str, Any], message: str) -> None:
    assert message in _message(overrides)


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"limits.memtable_bytes_max": "1MiB"}, "limits.memtable_bytes_max: 1MiB is not allowed: at least 96MiB"),
        (
            {"durability": "object", "wal_directory": "/wal"},
            "wal_directory: /wal is not allowed: with durability object",
        ),
        ({"storage": "s3://bucket"}, "wal_directory: null is not allowed: with storage s3://bucket name a directory"),
        ({"shard.memory_bytes": "64MiB"}, "shard.memory_bytes: 64MiB is not allowed: at least 288MiB"),
        ({"coordinator.memory_bytes": "64MiB"}, "coordinator.memory_bytes: 64MiB is not allowed: at least 1GiB"),
        ({"ray.num_cpus": 1, "shards": 8}, "ray.num_cpus: 1 is not allowed: at least 2.25"),
        ({"ray.address": "auto", "ray.num_cpus": 4}, "ray.num_cpus: 4 is not allowed: it is for starting Ray here"),
    ],
)
def test_values_that_do_not_go_together_are_refused(overrides: dict[str, Any], key: str) -> None:
    assert _message(overrides).startswith(key)


def test_with_durability_object_there_is_no_wal_directory() -> None:
    settings = load_settings(None, {"durability": "object", "storage": "s3://bucket"}, {})
    assert settings.wal_path is None and settings.wal_object_interval_ms == 150
    assert load_settings(None, {"storage": "s3://bucket", "wal_directory": "/wal"}, {}).wal_path == "/wal"


def test_every_wrong_key_is_named_at_once() -> None:
    message = _message({"shards": 0, "flush.age_s": -1, "nme": "x"})
    assert [part.split(":")[0] for part in message.split("; ")] == ["shards", "flush.age_s", "nme"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shards: 2\n  name: x\n", r"settings.yaml: line 2, column \d+: mapping values are not allowed"),
        ("shards: [1\n", r"settings.yaml: line 2, column 1: "),
        ("shards: 2\nname: x\nshards: 3\n", r"line 3, column 1: key 'shards' stands there twice"),
        ("flush:\n  age_s: 1\n  age_s: 2\n", r"line 3, column 3: key 'age_s' stands there twice"),
        ("- shards\n", "a settings file is one mapping"),
        ("1: 2\n", "a settings file is one mapping"),
        ("name: !!python/object/apply:os.getcwd []\n", "line 1, column 7: could not determine a constructor"),
        ("name: \x07\n", "not valid yaml"),
        ("flush: 3\n", "flush: 3 is not allowed: a mapping of settings"),
    ],
)
def test_bad_yaml_is_located(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=message):
        _load(text, tmp_path)


def test_file_that_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"settings file '.*none.yaml' is not there"):
        load_settings(str(tmp_path / "none.yaml"), {}, {})
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InvalidSettings, match="cannot be read"):
        load_settings(str(tmp_path / "latin.yaml"), {}, {})


@pytest.mark.parametrize("text", ["", "# nothing\n", "flush:\n  # age_s: 5s\nquery:\n"])
def test_empty_files_and_sections_are_defaults(text: str, tmp_path: Path) -> None:
    assert _load(text, tmp_path).model_dump() == load_settings(None, {}, {}).model_dump()


def test_file_and_argument_may_share_a_section(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("flush: 3\n")
    with pytest.raises(InvalidSettings, match="flush: 3 is not allowed"):
        load_settings(str(path), {"flush.age_s": 5}, {})


@pytest.mark.parametrize(
    ("given", "stored", "wal"),
    [
        ("/srv/events", "/srv/events", "/srv/events/wal"),
        ("file:///srv/events", "/srv/events", "/srv/events/wal"),
        ("~/events", str(Path.home() / "events"), str(Path.home() / "events" / "wal")),
        ("events", str(Path.cwd() / "events"), str(Path.cwd() / "events" / "wal")),
    ],
)
def test_local_storage_is_made_absolute(given: str, stored: str, wal: str) -> None:
    settings = load_settings(None, {"storage": given}, {})
    assert (settings.storage, settings.wal_path, settings.storage_is_remote) == (stored, wal, False)


def test_remote_storage_keeps_its_url_and_needs_a_local_wal() -> None:
    settings = load_settings(None, {"storage": "s3://bucket/a", "wal_directory": "/var/wal"}, {})
    assert (settings.storage, settings.wal_path, settings.storage_is_remote) == ("s3://bucket/a", "/var/wal", True)


def test_tiny_meets_every_relation_with_small_sizes(tmp_path: Path) -> None:
    tiny, usual = Settings.tiny(str(tmp_path)), load_settings(None, {}, {})
    assert tiny.storage == str(tmp_path)
    assert tiny.flush.memtable_bytes_target * 500 < usual.flush.memtable_bytes_target
    assert tiny.limits.memtable_bytes_max * 500 < usual.limits.memtable_bytes_max
    assert tiny.limits.wal_file_bytes_target * 500 < usual.limits.wal_file_bytes_target
    assert ("storage", str(tmp_path), "argument") in describe(tiny)


@pytest.mark.parametrize(
    ("text", "size"),
    [(7, 7), ("0B", 0), ("96MiB", 96 * MIB), ("1.5 GiB", 1536 * MIB), ("2MB", 2_000_000), ("64KiB", 65_536)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size
    assert parse_size(size_text(size)) == size


@pytest.mark.parametrize("text", ["", "96", "MiB", "-1MiB", "1mib", "0.3B", True, None, 1.5, [1]])
def test_what_is_no_size(text: object) -> None:
    with pytest.raises(ValueError, match="write a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [(60, 60.0), (0.5, 0.5), ("60s", 60.0), ("250ms", 0.25), ("1.5h", 5400.0)]
)
def test_ages(text: object, seconds: float) -> None:
    assert parse_age(text) == seconds
    assert parse_age(age_text(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "60", "s", "-1s", "1 fortnight", True, None, float("nan"), []])
def test_what_is_no_age(text: object) -> None:
    with pytest.raises(ValueError, match="write an age"):
        parse_age(text)
