"""A member of the consumer group on `ledger-changes.backfill`. Offsets are committed by the caller, after the database."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

from lumenstream import kafka
from lumenstream.logs import get_logger
from lumenstream.metrics import ASSIGNED_PARTITIONS, SERVER_ERRORS
from lumenstream.settings import KafkaSettings
from schemas.messages import Topic
from sinks.timescale.consumer import arrival_of
from sinks.timescale.reorder import Arrival

GROUP: Final = "lumenstream.sink.backfill"
MAX_BATCH: Final = 200
LOG_SECONDS: Final = 10.0
_CONFIG: Final = {
    # Consecutive ranges lie in consecutive partitions: dealt out one by one, every sink has work.
    "partition.assignment.strategy": "roundrobin",
    "fetch.wait.max.ms": 50,
    "fetch.queue.backoff.ms": 10,
    "queued.max.messages.kbytes": 64 << 10,
    "max.poll.interval.ms": 600_000,
}

_log = get_logger("backfill.consumer")


class BackfillConsumer:
    """`trouble` says what is wrong with the broker right now, empty when nothing is."""

    def __init__(self, settings: KafkaSettings, topic: str, revoked: Callable[[Sequence[int]], None]) -> None:
        self.trouble = ""
        self.assigned: set[int] = set()
        self._topic = topic
        self._revoked = revoked
        self._logged_at = 0.0
        self._committed: dict[int, int] = {}
        config = kafka.consumer_config(settings, GROUP) | _CONFIG | {"error_cb": self._on_error, "on_commit": self._on_commit}
        self._consumer = Consumer(config)
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def read(self, timeout_seconds: float) -> list[Arrival]:
        """The parts that are here; waits for the first one only. IntegrityError for a message that is not a part."""
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            return []
        arrivals: list[Arrival] = []
        for message in [first, *self._consumer.consume(MAX_BATCH, 0)]:
            error = message.error()
            if error is not None:
                self._on_error(error)
            elif message.partition() in self.assigned:
                arrivals.append(arrival_of(message))
        if arrivals:
            self.trouble = ""
        return arrivals

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Say how far everything is in the database. What does not reach the broker comes again, which is harmless."""
        moved = {p: offset for p, offset in offsets.items() if p in self.assigned and self._committed.get(p) != offset}
        if moved:
            self._consumer.commit(offsets=[TopicPartition(self._topic, p, offset) for p, offset in moved.items()])
            self._committed.update(moved)

    def close(self) -> None:
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self.assigned = {assigned.partition for assigned in partitions}
        self._committed.clear()
        ASSIGNED_PARTITIONS.labels(Topic.LEDGER_CHANGES_BACKFILL).set(len(self.assigned))
        _log.info("partitions assigned", partitions=sorted(self.assigned))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [revoked.partition for revoked in partitions]
        self.assigned -= set(gone)
        ASSIGNED_PARTITIONS.labels(Topic.LEDGER_CHANGES_BACKFILL).set(len(self.assigned))
        self._revoked(gone)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        failed = error or next((answer.error for answer in partitions if answer.error is not None), None)
        if failed is not None:
            self._committed.clear()
            _log.warning("offsets were not committed, parts may come again", error=failed.str())

    def _on_error(self, error: KafkaError) -> None:
        SERVER_ERRORS.labels("kafka").inc()
        self.trouble = error.str()
        if time.monotonic() - self._logged_at >= LOG_SECONDS:
            self._logged_at = time.monotonic()
            _log.warning("kafka is in trouble, waiting", error=error.str())
