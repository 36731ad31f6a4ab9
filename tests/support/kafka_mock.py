"""Owns a Kafka cluster for tests: librdkafka's mock brokers, in this process, reached by others over TCP.

What it does: produce, fetch, offsets, groups with eager rebalancing, retention by delete_records(), errors and brokers
that are away. What it does not: create or describe topics over the wire, aborted transactions (they are visible),
cooperative rebalancing (the partitions given up are never assigned again); a partition keeps its last 5 MB.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import TracebackType
from typing import Any

import confluent_kafka

_PRODUCER = 0


def _library() -> Any:
    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    (path,) = folder.glob("librdkafka-*.so*")
    library = ctypes.CDLL(str(path))
    for name in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
        getattr(library, name).restype = ctypes.c_void_p
    library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return library


class KafkaMock:
    """A cluster of `brokers` brokers without topics; `address` is what clients connect to."""

    def __init__(self, brokers: int = 1) -> None:
        self._library = _library()
        error = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self._library.rd_kafka_conf_new())
        # Else it warns that it has no brokers to connect to.
        self._library.rd_kafka_conf_set(conf, b"log_level", b"0", error, 512)
        self._client = ctypes.c_void_p(self._library.rd_kafka_new(_PRODUCER, conf, error, 512))
        self._cluster = ctypes.c_void_p(self._library.rd_kafka_mock_cluster_new(self._client, brokers))
        self.address = self._library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()
        self._library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, ctypes.c_int32(10))

    def create_topic(self, topic: str, partitions: int) -> None:
        """Add a topic with that many partitions."""
        self._checked(self._library.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1))

    def delete_topic(self, topic: str) -> None:
        """Remove a topic and its messages."""
        self._checked(self._library.rd_kafka_mock_topic_delete(self._cluster, topic.encode()))

    def delete_records(self, topic: str, partition: int, before: int) -> None:
        """Remove the messages of a partition before the offset `before`, as retention does."""
        delete = self._library.rd_kafka_mock_partition_delete_records
        self._checked(delete(self._cluster, topic.encode(), ctypes.c_int32(partition), ctypes.c_int64(before)))

    def set_broker(self, broker: int, *, up: bool) -> None:
        """Let a broker (they count from 1) go away or come back."""
        name = "rd_kafka_mock_broker_set_up" if up else "rd_kafka_mock_broker_set_down"
        self._checked(getattr(self._library, name)(self._cluster, ctypes.c_int32(broker)))

    def fail_requests(self, api: int, errors: list[int]) -> None:
        """Answer the next requests of one kind (its number in Kafka's protocol) with these error codes."""
        array = (ctypes.c_int * len(errors))(*errors)
        push = self._library.rd_kafka_mock_push_request_errors_array
        push(self._cluster, ctypes.c_int16(api), ctypes.c_size_t(len(errors)), array)

    def heal_requests(self, api: int) -> None:
        """Answer the requests of one kind again, whatever fail_requests() has left."""
        self._library.rd_kafka_mock_clear_request_errors(self._cluster, ctypes.c_int16(api))

    def close(self) -> None:
        """End the cluster."""
        self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        self._library.rd_kafka_destroy(self._client)

    def __enter__(self) -> KafkaMock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checked(self, code: int) -> None:
        assert code == 0, f"the mock cluster answers {code}"
