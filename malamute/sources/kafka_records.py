"""Owns making events of Kafka's messages: the value shredded, what Kafka says of it beside, and what is refused.

Every message becomes an event or is refused by name. Never talks to Kafka.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import msgpack
import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from core.batch import REST, TIMESTAMP, TIMESTAMP_INFERRED, check_batch
from core.columns import BIN, BOOL, INT, STR, TIME, TIMESTAMP_TYPE, ColumnKey, key_of
from core.errors import InvalidRequest, check
from core.limits import REFUSED_VALUE_BYTES_MAX
from ingest.assemble import put_together
from ingest.json_lines import BOM
from ingest.shred import Shredded, ShredSettings, fitting, shred_dicts, shred_ndjson
from malamute.sources.writer import Refused, text_or_bytes

JSON_VALUES: Final = "json"
MSGPACK_VALUES: Final = "msgpack"
FORMATS: Final = (JSON_VALUES, MSGPACK_VALUES)

PREFIX: Final = "kafka"


class Message(Protocol):
    """A message as confluent_kafka has it; only the parts that are read here."""

    def value(self) -> bytes | None: ...
    def key(self) -> bytes | None: ...
    def offset(self) -> int: ...
    def timestamp(self) -> tuple[int, int]: ...
    def headers(self) -> list[tuple[str, bytes | None]] | None: ...


class KafkaPosition(NamedTuple):
    """How far a group has stored a partition: up to `next`. `cluster` is the id of Kafka's cluster."""

    cluster: str
    group: str
    topic: str
    partition: int
    next: int

    def encode(self) -> bytes:
        """The position as it is stored beside a batch."""
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> KafkaPosition:
        """The position of encode(); InvalidRequest when something else was stored."""
        try:
            values = json.loads(data)
            cluster, group, topic = (str(values[name]) for name in ("cluster", "group", "topic"))
            return cls(cluster, group, topic, int(values["partition"]), int(values["next"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidRequest("the stored position was not left by a kafka source: use another --group") from error


@dataclass(frozen=True, slots=True)
class Records:
    """What a run of messages of one partition became; all of them lie before `position`."""

    batch: pa.RecordBatch | None
    refused: tuple[Refused, ...]
    position: KafkaPosition


@dataclass(frozen=True, slots=True)
class Shredder:
    """Makes events of the messages of one partition, which `start` names; see shred."""

    start: KafkaPosition
    settings: ShredSettings
    format: str

    def shred(self, messages: Sequence[Message], *, ingest_time_us: int) -> Iterator[Records]:
        """The messages in order, in as few appends as they fit into; at least one message."""
        refused: dict[int, str] = {}
        good: list[int] = []
        values: list[Any] = []
        for number, message in enumerate(messages):
            try:
                values.append(_READ[self.format](message.value()))
                good.append(number)
            except InvalidRequest as error:
                refused[number] = str(error)
        shredded = _SHRED[self.format](values, self.settings, ingest_time_us)
        for rejected in shredded.rejected:
            refused[good[rejected.line - 1]] = rejected.reason
        batch = shredded.batch
        if batch is not None:
            kept = [messages[number] for number in good if number not in refused]
            batch = _with_kafka(batch, kept, self.start, self.settings)
            try:
                if len(list(fitting(batch))) > 1:
                    raise InvalidRequest(f"{batch.nbytes} bytes as columns are too many for one append")
                check_batch(batch)
            except InvalidRequest as error:
                if len(messages) > 1:
                    half = len(messages) // 2
                    yield from self.shred(messages[:half], ingest_time_us=ingest_time_us)
                    yield from self.shred(messages[half:], ingest_time_us=ingest_time_us)
                    return
                batch, refused = None, {0: str(error)}
        refusals = tuple(self._refusal(messages[number], refused[number]) for number in sorted(refused))
        yield Records(batch, refusals, self._behind(messages[-1]))

    def _behind(self, message: Message) -> KafkaPosition:
        return self.start._replace(next=message.offset() + 1)

    def _refusal(self, message: Message, reason: str) -> Refused:
        value = message.value() or b""
        event = {
            "reason": reason,
            "value": text_or_bytes(value[:REFUSED_VALUE_BYTES_MAX]),
            "value_bytes": len(value),
            PREFIX: {
                "topic": self.start.topic,
                "partition": self.start.partition,
                "offset": message.offset(),
                "key": text_or_bytes(message.key()),
            },
        }
        return Refused(event, self._behind(message))


def _read_json(value: bytes | None) -> bytes:
    """The value on one line; a tombstone is an event without attributes of its own."""
    if value is None:
        return b"{}"
    line = value.removeprefix(BOM).strip(b" \t\r\n")
    if not line:
        raise InvalidRequest("the value is empty")
    if b"\n" in line:
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InvalidRequest("malformed json on several lines") from error
        line = line.replace(b"\n", b" ")  # outside of texts, where it means nothing: there it would be an error
    return line


def _read_msgpack(value: bytes | None) -> Any:
    if value is None:
        return {}
    try:
        event = msgpack.unpackb(value, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise InvalidRequest("malformed msgpack") from error
    return event


def _shred_lines(lines: list[bytes], settings: ShredSettings, ingest_time_us: int) -> Shredded:
    # Not the first byte of a stream: there a byte order mark would be skipped.
    return shred_ndjson(b"\n".join(lines), settings, ingest_time_us=ingest_time_us, first_byte=1)


def _shred_objects(events: list[Any], settings: ShredSettings, ingest_time_us: int) -> Shredded:
    return shred_dicts(events, settings, ingest_time_us=ingest_time_us)


_READ: Final[dict[str, Callable[[bytes | None], Any]]] = {JSON_VALUES: _read_json, MSGPACK_VALUES: _read_msgpack}
_SHRED: Final[dict[str, Callable[[list[Any], ShredSettings, int], Shredded]]] = {
    JSON_VALUES: _shred_lines,
    MSGPACK_VALUES: _shred_objects,
}


def _with_kafka(
    batch: pa.RecordBatch, messages: Sequence[Message], partition: KafkaPosition, settings: ShredSettings
) -> pa.RecordBatch:
    """`batch` with what Kafka says of its events; theirs is the time of the message when they have none.

    An event that has an attribute `kafka` of its own keeps it and gets nothing beside it.
    """
    columns = {
        key: column
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if (key := key_of(field)) is not None
    }
    free = np.ones(batch.num_rows, np.bool_)
    for key, column in columns.items():
        if key.path == PREFIX or key.path.startswith(f"{PREFIX}."):
            free &= column.is_null().to_numpy(zero_copy_only=False)
    sent = _sent_times(messages)
    for key, array in (*_described(messages, partition, sent), *_headers(messages, settings)):
        if not free.all():
            array = pc.if_else(pa.array(free), array, pa.scalar(None, array.type))
        if key in columns:
            array = pc.coalesce(columns[key], array)
        if array.null_count < len(array):
            columns[key] = array
    inferred = batch.column(batch.schema.get_field_index(TIMESTAMP_INFERRED))
    times = batch.column(batch.schema.get_field_index(TIMESTAMP))
    known = pc.and_(inferred, sent.is_valid())
    rest = batch.schema.get_field_index(REST)
    return put_together(
        [(key, len(columns[key]) - columns[key].null_count, columns[key]) for key in sorted(columns)],
        batch.column(rest) if rest >= 0 else None,
        pc.if_else(known, sent, times),
        pc.and_not(inferred, known).to_numpy(zero_copy_only=False),
    )


def _sent_times(messages: Sequence[Message]) -> pa.Array:
    """The time of each message, null where it has none."""
    stamps = [message.timestamp() for message in messages]
    times_us = pa.array([ms * 1000 if kind else None for kind, ms in stamps], pa.int64())
    return times_us.cast(TIMESTAMP_TYPE)


def _described(
    messages: Sequence[Message], partition: KafkaPosition, sent: pa.Array
) -> Iterator[tuple[ColumnKey, pa.Array]]:
    count = len(messages)
    yield ColumnKey(f"{PREFIX}.cluster", STR), pa.repeat(partition.cluster, count)
    yield ColumnKey(f"{PREFIX}.group", STR), pa.repeat(partition.group, count)
    yield ColumnKey(f"{PREFIX}.topic", STR), pa.repeat(partition.topic, count)
    yield ColumnKey(f"{PREFIX}.partition", INT), pa.array(np.full(count, partition.partition, np.int64))
    yield ColumnKey(f"{PREFIX}.offset", INT), pa.array([message.offset() for message in messages], pa.int64())
    yield ColumnKey(f"{PREFIX}.timestamp", TIME), sent
    keys = [text_or_bytes(message.key()) for message in messages]
    yield (
        ColumnKey(f"{PREFIX}.key", STR),
        pa.array([key if isinstance(key, str) else None for key in keys], pa.string()),
    )
    yield (
        ColumnKey(f"{PREFIX}.key", BIN),
        pa.array([key if isinstance(key, bytes) else None for key in keys], pa.binary()),
    )
    tombstones = [True if message.value() is None else None for message in messages]
    yield ColumnKey(f"{PREFIX}.tombstone", BOOL), pa.array(tombstones, pa.bool_())


def _headers(messages: Sequence[Message], settings: ShredSettings) -> Iterator[tuple[ColumnKey, pa.Array]]:
    """A column per header; one that a message has several times is a list."""
    found = [message.headers() for message in messages]
    if not any(found):
        return
    events = [{PREFIX: {"headers": _header_values(headers)}} if headers else {} for headers in found]
    shredded = shred_dicts(events, ShredSettings("", settings.max_paths), ingest_time_us=0)
    check(shredded.batch is not None and not shredded.rejected, "SRC-2", "headers of a message are no attributes")
    assert shredded.batch is not None
    for field, column in zip(shredded.batch.schema, shredded.batch.columns, strict=True):
        key = key_of(field)
        if key is not None:
            yield key, column


def _header_values(headers: Sequence[tuple[str, bytes | None]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in headers:
        text = text_or_bytes(value)
        if name not in values:
            values[name] = text
        elif isinstance(values[name], list):
            values[name].append(text)
        else:
            values[name] = [values[name], text]
    return values
