"""Owns the command line: names, arguments and exit codes. The work is in malamute/commands, imported when it is needed.

Exit codes: 0 done; 1 done in part (events rejected, a shard not serving, a verification that failed); 2 not done.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from core.errors import MalamuteError

app = typer.Typer(
    name="malamute",
    help="Malamute, a distributed event store on Ray: every event exactly once, SQL over all of it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PARTIAL = 1
FAILED = 2

Config = Annotated[str | None, typer.Option("-c", "--config", metavar="FILE", help="a ray_config.yaml")]
Storage = Annotated[
    str | None, typer.Option("--storage", metavar="DIR", help="where the data are  [default: ./malamute-data]")
]
Name = Annotated[str | None, typer.Option("--name", help="the deployment's name on its Ray")]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDR", help="a Ray that a deployment runs on: auto, or ray://host:10001"),
]
At = Annotated[
    str | None, typer.Option("--at", metavar="SNAPSHOT|TIME", help="read a snapshot, or what was stored at a time")
]
Stream = Annotated[str, typer.Argument(metavar="STREAM", help="the stream the events go to", show_default=False)]


@app.callback()
def _common(debug: Annotated[bool, typer.Option("--debug", help="show tracebacks")] = False) -> None:
    if debug:
        os.environ["MALAMUTE_DEBUG"] = "1"


@app.command()
def up(
    config: Config = None,
    storage: Storage = None,
    name: Name = None,
    shards: Annotated[int | None, typer.Option("--shards", help="shards of a new storage")] = None,
    durability: Annotated[str | None, typer.Option("--durability", help="memory, local or object")] = None,
) -> None:
    """Launch a deployment that stays: on a running Ray, or on one of its own on this machine."""
    from malamute.commands import up as command
    from malamute.commands.store import Choice

    command.run(Choice(storage=storage, name=name, config=config), shards, durability)


@app.command()
def down(config: Config = None, storage: Storage = None, name: Name = None, address: Address = None) -> None:
    """Flush and stop a deployment, and end the Ray that `up` started for it."""
    from malamute.commands import down as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name, config))


@app.command()
def scale(
    shards: Annotated[int | None, typer.Option("--shards", metavar="N", help="how many there are to be")] = None,
    auto: Annotated[bool, typer.Option("--auto", help="what automatic scaling decides; with --dry-run")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would happen, and change nothing")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Change the number of shards while everything goes on."""
    from malamute.commands import scale as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), shards, auto, dry_run, as_json)


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Show the shards of a deployment and what they hold."""
    from malamute.commands import status as command
    from malamute.commands.store import Choice

    if not command.run(Choice(address, storage, name), as_json):
        raise typer.Exit(PARTIAL)


@app.command()
def ingest(
    stream: Stream,
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="NDJSON (also gz, zst, lz4), Parquet or Arrow; - reads standard input"),
    ],
    text: Annotated[bool, typer.Option("--text", help='every line is an event {"message": line}')] = False,
    producer: Annotated[
        str | None, typer.Option("--producer", help="go on where this producer stopped: nothing is stored twice")
    ] = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Store the events of files; exit code 1 when some were rejected."""
    from malamute.commands import ingest as command
    from malamute.commands.store import Choice

    if not command.run(Choice(address, storage, name), stream, files, text, producer):
        raise typer.Exit(PARTIAL)


@app.command()
def sql(
    query: Annotated[
        str, typer.Argument(metavar="SELECT", help="a SELECT, EXPLAIN, DESCRIBE or SHOW STREAMS", show_default=False)
    ],
    format_: Annotated[str, typer.Option("--format", help="table, json, ndjson, csv or arrow")] = "table",
    timeout_s: Annotated[float, typer.Option("--timeout", help="seconds")] = 300.0,
    dialect: Annotated[str | None, typer.Option("--dialect", help="of the SELECT: postgres, clickhouse …")] = None,
    at: At = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Query all events, from the one acknowledged just now to the oldest."""
    from malamute.commands import sql as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), query, format_, timeout_s, dialect, at)


@app.command()
def search(
    query: Annotated[
        str, typer.Argument(metavar="QUERY", help='such as: service:web -status:info "lost peer"', show_default=False)
    ],
    stream: Annotated[str | None, typer.Option("--stream", help="may be left out where there is just one")] = None,
    last: Annotated[str | None, typer.Option("--last", metavar="AGE", help="how far back: 15m, 2h, 7d")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", help="events to show, newest first")] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    at: At = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Find events by words and attributes, newest first."""
    from malamute.commands import search as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), query, stream, last, limit, as_json, at)


Flush = Annotated[bool, typer.Option("--flush", help="first write into files what is in memory")]
AtSnapshot = Annotated[str | None, typer.Option("--at", metavar="SNAPSHOT", help="the files of a named snapshot")]


@app.command()
def files(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="whose files", show_default=False)],
    flush: Flush = False,
    at: AtSnapshot = None,
    as_json: Annotated[bool, typer.Option("--json", help="with numbers, for programs")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """List the Parquet files that hold a stream now, for DuckDB, Polars, pandas and the like."""
    from malamute.commands import files as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), stream, flush, at, as_json)


@app.command()
def export(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="what is exported", show_default=False)],
    iceberg: Annotated[bool, typer.Option("--iceberg", help="as an Iceberg table over the files as they are")] = False,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="LOCATION", help="a directory or URL  [default: STORAGE/iceberg/TENANT/STREAM]"),
    ] = None,
    flush: Flush = False,
    at: AtSnapshot = None,
    as_json: Annotated[bool, typer.Option("--json", help="what was done, for programs")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Write Iceberg metadata over the files of a stream, without copying them; again: one more snapshot."""
    from malamute.commands import export as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), stream, iceberg, to, flush, at, as_json)


@app.command()
def load(
    rate: Annotated[
        int, typer.Option("--rate", help="events a second of all producers together; 0 = as fast as possible")
    ] = 1_000_000,
    seconds: Annotated[float, typer.Option("--seconds", help="how long to send")] = 60.0,
    producers: Annotated[int, typer.Option("--producers", help="producer processes")] = 2,
    shape: Annotated[str, typer.Option("--shape", help="what events look like")] = "logs",
    batch_rows: Annotated[
        int | None,
        typer.Option("--batch-rows", help="events of one append  [default: 5 appends/s a producer, at most 65,536]"),
    ] = None,
    durability: Annotated[str | None, typer.Option("--durability", help="memory, local or object")] = None,
    stream: Annotated[str, typer.Option("--stream", help="the stream to load")] = "load",
    report: Annotated[str | None, typer.Option("--report", metavar="FILE", help="write a JSON report here")] = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Send generated events at a rate, then prove by query that each is there once; exit code 1 when not."""
    from malamute.commands import load as command
    from malamute.commands.store import Choice

    asked = command.Asked(rate, seconds, producers, shape, batch_rows, durability, stream)
    if not command.run(Choice(address, storage, name), asked, report):
        raise typer.Exit(PARTIAL)


@app.command()
def inspect(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND", help="wal, segment, manifest, catalog, placements or snapshot", show_default=False
        ),
    ],
    path: Annotated[str, typer.Argument(metavar="PATH", show_default=False)],
) -> None:
    """Show what a stored file holds, as JSON; no deployment has to run."""
    from malamute.commands import inspect as command

    command.run(kind, path)


WalDirectory = Annotated[
    str | None, typer.Option("--wal-directory", metavar="DIR", help="where the WALs are  [default: STORAGE/wal]")
]
StorageArgument = Annotated[
    str | None,
    typer.Argument(metavar="[STORAGE]", help="a directory or s3://bucket/prefix  [default: ./malamute-data]"),
]


@app.command()
def chaos(
    seconds: Annotated[float, typer.Option("--seconds", help="how long faults are made")] = 60.0,
    seed: Annotated[int | None, typer.Option("--seed", help="repeats the same faults  [default: another one]")] = None,
    is_test_cluster: Annotated[
        bool, typer.Option("--yes-this-is-a-test-cluster", help="processes are killed and stopped")
    ] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Kill, stop and cut off processes of a TEST deployment; exit code 1 when an event is lost, doubled or moved."""
    from malamute.commands import chaos as command
    from malamute.commands.store import Choice

    if not command.run(Choice(address, storage, name), seed, seconds, is_test_cluster=is_test_cluster):
        raise typer.Exit(PARTIAL)


@app.command()
def verify(
    storage: StorageArgument = None,
    deep: Annotated[bool, typer.Option("--deep", help="compare every value with indexes and bounds")] = False,
    wal: Annotated[bool, typer.Option("--wal/--no-wal", help="also read the WALs")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    wal_directory: WalDirectory = None,
    config: Config = None,
) -> None:
    """Look at everything a storage holds, changing nothing: 0 sound, 1 findings, 2 could not be read whole."""
    from malamute.commands import verify as command

    code = command.run(command.place_of(storage, config, wal_directory), deep, wal, as_json)
    if code:
        raise typer.Exit(code)


audit = typer.Typer(no_args_is_help=True, help="Show what a storage can still tell, changing nothing.")
app.add_typer(audit, name="audit")


@audit.command("producer")
def audit_producer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="the producer", show_default=False)],
    stream: Annotated[str, typer.Option("--stream", help="the stream it writes to", show_default=False)],
    storage: StorageArgument = None,
    tenant: Annotated[str, typer.Option("--tenant", help="whose stream it is")] = "default",
    as_json: Annotated[bool, typer.Option("--json", help="everything, for programs")] = False,
    wal_directory: WalDirectory = None,
    config: Config = None,
) -> None:
    """Show the sequences, positions and offsets of a producer and where its batches are stored."""
    from malamute.commands import audit as command
    from malamute.commands.verify import place_of

    command.run(place_of(storage, config, wal_directory), tenant, stream, name, as_json)


Where = Annotated[str, typer.Option("--where", metavar="CONDITION", help="such as 'usr.id = 42'", show_default=False)]


@app.command()
def delete(
    stream: Annotated[str, typer.Argument(metavar="STREAM", help="whose events", show_default=False)],
    where: Where,
    sure: Annotated[bool, typer.Option("--yes", help="do not ask")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="return when the events are gone from all segments")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Delete events for good: no query shows them from now on, and they are rewritten away."""
    from malamute.commands import delete as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), stream, where, sure, wait)


@app.command()
def deletes(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Show how far deletes are, and their proofs."""
    from malamute.commands import delete as command
    from malamute.commands.store import Choice

    command.show(Choice(address, storage, name), as_json)


@app.command()
def retention(
    stream: Annotated[str | None, typer.Argument(metavar="[STREAM]", help="whose events", show_default=False)] = None,
    age: Annotated[str | None, typer.Option("--age", metavar="AGE", help="such as 30d")] = None,
    size: Annotated[str | None, typer.Option("--bytes", metavar="SIZE", help="of segments, such as 100GB")] = None,
    for_all: Annotated[bool, typer.Option("--default", help="for streams without one of their own")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="keep everything")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Say for how long, or how much, events are kept; without an option show it."""
    from malamute.commands import retention as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name), stream, age, size, for_all, keep)


snapshot = typer.Typer(no_args_is_help=True, help="Keep what is stored now under a name, for queries with --at.")
app.add_typer(snapshot, name="snapshot")
SnapshotName = Annotated[str, typer.Argument(metavar="NAME", help="of the snapshot", show_default=False)]


@snapshot.command("create")
def snapshot_create(
    snapshot_name: SnapshotName,
    ttl: Annotated[
        str | None, typer.Option("--ttl", metavar="AGE", help="how long: 12h, 7d  [default: until it is dropped]")
    ] = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Keep everything that is stored now: the same answers until it expires or is dropped."""
    from malamute.commands import snapshot as command
    from malamute.commands.store import Choice

    command.create(Choice(address, storage, name), snapshot_name, ttl)


@snapshot.command("list")
def snapshot_list(
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Show the snapshots that have not expired."""
    from malamute.commands import snapshot as command
    from malamute.commands.store import Choice

    command.show(Choice(address, storage, name), as_json)


@snapshot.command("drop")
def snapshot_drop(
    snapshot_name: SnapshotName, address: Address = None, storage: Storage = None, name: Name = None
) -> None:
    """Let go of a snapshot, and of the files that nothing else needs."""
    from malamute.commands import snapshot as command
    from malamute.commands.store import Choice

    command.drop(Choice(address, storage, name), snapshot_name)


BackupPlace = Annotated[
    str,
    typer.Argument(metavar="URL", help="where backups are: a directory or s3://bucket/prefix", show_default=False),
]


@app.command()
def backup(
    url: BackupPlace,
    config: Config = None,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Copy everything that is stored now and is not in the backup yet; prints the new backup's name."""
    from malamute.commands import backup as command
    from malamute.commands.store import Choice

    command.run(Choice(address, storage, name, config), url)


@app.command()
def backups(
    url: BackupPlace,
    check: Annotated[bool, typer.Option("--check", help="read all their files and compare checksums")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line")] = False,
    config: Config = None,
) -> None:
    """Show the backups that are there, oldest first."""
    from malamute.commands import backup as command

    command.show(url, config, as_json, check)


@app.command()
def restore(
    url: BackupPlace,
    to: Annotated[
        str, typer.Option("--to", metavar="STORAGE", help="the new storage, an empty place", show_default=False)
    ],
    which: Annotated[
        str | None, typer.Option("--backup", metavar="NAME", help="which of them  [default: the newest]")
    ] = None,
    config: Config = None,
) -> None:
    """Make a new storage of a backup, every file verified."""
    from malamute.commands import backup as command

    command.bring_back(url, to, which, config)


@app.command()
def clone(
    origin: Annotated[str, typer.Argument(metavar="SOURCE", help="a storage", show_default=False)],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="the new one, an empty place", show_default=False)],
    config: Config = None,
) -> None:
    """Make a new storage with what another has now; on one disk it shares the files, and either may go first."""
    from malamute.commands import backup as command

    command.copy(origin, target, config)


source = typer.Typer(no_args_is_help=True, help="Store events from where they lie, each once, going on where it ended.")
app.add_typer(source, name="source")
Once = Annotated[
    bool, typer.Option("--once", help="store what is there and end; exit code 1 when not all of it could be")
]
AsJson = Annotated[bool, typer.Option("--json", help="say how it goes as JSON lines, for programs")]


@source.command("kafka")
def source_kafka(
    stream: Stream,
    brokers: Annotated[str, typer.Option("--brokers", metavar="HOST:PORT,…", show_default=False)],
    topic: Annotated[
        list[str], typer.Option("--topic", help="may be repeated; ^ begins a regular expression", show_default=False)
    ],
    group: Annotated[str, typer.Option("--group", help="sources of one group share the partitions")] = "malamute",
    format_: Annotated[str, typer.Option("--format", help="of the values: json or msgpack")] = "json",
    properties: Annotated[
        str | None,
        typer.Option("--properties", metavar="FILE", help="librdkafka's properties, name=value on each line"),
    ] = None,
    once: Once = False,
    as_json: AsJson = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Store the messages of topics, going on from positions that the store keeps with the events."""
    from malamute.commands import source as command
    from malamute.commands.store import Choice

    choice = Choice(address, storage, name)
    if not command.kafka(choice, stream, brokers, topic, group, format_, properties, once, as_json):
        raise typer.Exit(PARTIAL)


@source.command("files")
def source_files(
    stream: Stream,
    directory: Annotated[str, typer.Argument(metavar="DIR", help="watched with all below it", show_default=False)],
    settle_s: Annotated[
        float, typer.Option("--settle", help="seconds without a change after which a file is complete")
    ] = 5.0,
    once: Once = False,
    as_json: AsJson = False,
    address: Address = None,
    storage: Storage = None,
    name: Name = None,
) -> None:
    """Store the files of a directory as they come: NDJSON and JSON (also gz, zst, lz4), Parquet, Arrow."""
    from malamute.commands import source as command
    from malamute.commands.store import Choice

    if not command.files(Choice(address, storage, name), stream, directory, settle_s, once, as_json):
        raise typer.Exit(PARTIAL)


@app.command()
def launcher(config: Annotated[str, typer.Option("-c", "--config", metavar="FILE", show_default=False)]) -> None:
    """Print the cluster file for `ray up` that a ray_config.yaml holds."""
    from malamute.commands import launcher as command

    command.run(config)


@app.command()
def demo(
    files: Annotated[list[str] | None, typer.Argument(metavar="[FILE…]", help="NDJSON files to show")] = None,
    keep: Annotated[str | None, typer.Option("--keep", metavar="DIR", help="keep the data here")] = None,
) -> None:
    """A tour in two minutes: ingest, query, kill a shard, count."""
    from malamute.commands import demo as command

    if not command.run(files or [], keep):
        raise typer.Exit(PARTIAL)


def main() -> None:
    """Run the command line and exit."""
    try:
        app()
    except (MalamuteError, OSError) as error:
        if os.environ.get("MALAMUTE_DEBUG"):
            raise
        sys.stderr.write(f"error: {_words(error)}\n")
        sys.exit(FAILED)


def _words(error: MalamuteError | OSError) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return str(error)
