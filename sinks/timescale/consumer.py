"""Reads the parts topic by hand: every partition assigned, from the offsets that the database holds. Commits nothing to Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, Consumer, KafkaError, KafkaException, Message, TopicPartition

from lumenstream import kafka
from lumenstream.errors import IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.metrics import ASSIGNED_PARTITIONS, SERVER_ERRORS, SINK_PAUSED_PARTITIONS
from lumenstream.settings import KafkaSettings
from schemas.messages import MessageError, PartHeaders, Topic
from sinks.timescale.reorder import Arrival

MAX_BATCH: Final = 200
PROBE_SECONDS: Final = 1.0
# Latency first: a fetch that found nothing is soon repeated, and so soon knows of a partition that was sought or resumed.
LOW_LATENCY: Final = {
    "fetch.wait.max.ms": 20,
    "fetch.queue.backoff.ms": 5,
    "fetch.error.backoff.ms": 100,
    "queued.max.messages.kbytes": 64 << 10,
    "auto.offset.reset": "error",  # never a silent jump over ledgers that are gone
}
_GONE: Final = (KafkaError.OFFSET_OUT_OF_RANGE, KafkaError._AUTO_OFFSET_RESET)

_log = get_logger("sink.consumer")


class BrokerUnreachableError(UnreachableError):
    """Kafka does not answer."""


class PartsConsumer:
    """One consumer of all partitions.

    `trouble` says what is wrong with the broker right now, empty when nothing is; `lost` which partitions begin after their
    stored offset, until a ledger is committed all the same.
    """

    def __init__(self, settings: KafkaSettings, topic: str) -> None:
        self.topic = topic
        self.trouble = ""
        self.paused: set[int] = set()
        self.lost: dict[int, str] = {}
        self._settings = settings
        self._cursor = 0
        self._witnesses: dict[int, int] = {}  # partition: start; its first message, before the stored offset, is a witness
        self._probed_at = 0.0
        self._consumer = Consumer(kafka.consumer_config(settings, "sink") | LOW_LATENCY | {"error_cb": self._on_error})

    def partitions(self) -> int:
        """Partitions of the topic, 0 while it does not exist. BrokerUnreachableError when the broker does not answer."""
        try:
            topic = self._consumer.list_topics(self.topic, timeout=self._settings.request_timeout_seconds).topics.get(self.topic)
        except KafkaException as error:
            raise BrokerUnreachableError(f"Kafka at {self._settings.bootstrap} does not answer: {kafka.reason(error)}") from error
        return 0 if topic is None or topic.error is not None else len(topic.partitions)

    def assign(self, stored: Mapping[int, int], count: int, cursor: int) -> None:
        """Read every partition from its stored offset, else from its start. `lost` names the partitions that start later.

        What lies before a stored offset is committed. So the message right before it is read too, as a witness: one that is
        above the cursor tells of another topic of the same name, which is read from its start.
        """
        self.lost.clear()
        self._witnesses.clear()
        self._cursor = cursor
        self._consumer.assign([TopicPartition(self.topic, p, self._first(p, stored.get(p))) for p in range(count)])
        self.paused.clear()
        ASSIGNED_PARTITIONS.labels(Topic.LEDGER_CHANGES).set(count)
        SINK_PAUSED_PARTITIONS.set(0)

    def read(self, timeout_seconds: float) -> list[Arrival]:
        """The parts that are here; waits for the first one only. Raises IntegrityError for a message that is not a part."""
        first = self._consumer.poll(timeout_seconds)
        if first is None:
            self._probe()
            return []
        arrivals: list[Arrival] = []
        for message in [first, *self._consumer.consume(MAX_BATCH, 0)]:
            error = message.error()
            if error is None:
                part = arrival_of(message)
                if not self._is_witness(part):
                    arrivals.append(part)
            else:
                self._failed(message, error)
        if arrivals:
            self.trouble = ""
        return arrivals

    def pause(self, partition: int) -> None:
        if partition not in self.paused:
            self._consumer.pause([TopicPartition(self.topic, partition)])
            self.paused.add(partition)
            SINK_PAUSED_PARTITIONS.set(len(self.paused))

    def resume(self, partitions: Iterable[int]) -> None:
        resumed = self.paused.intersection(partitions)
        if resumed:
            self._consumer.resume([TopicPartition(self.topic, partition) for partition in resumed])
            self.paused -= resumed
            SINK_PAUSED_PARTITIONS.set(len(self.paused))

    def rewind(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions again from these offsets, paused or not."""
        for partition, offset in offsets.items():
            self._consumer.seek(TopicPartition(self.topic, partition, offset))
        self.resume(offsets)

    def close(self) -> None:
        self._consumer.close()
        ASSIGNED_PARTITIONS.labels(Topic.LEDGER_CHANGES).set(0)

    def _first(self, partition: int, stored: int | None) -> int:
        low, high = self._watermarks(partition)
        if stored is None:
            return low
        if stored < low:
            # Not an end yet: they may have been made again, further on. Nothing is skipped, as ledgers name their predecessor.
            self.lost[partition] = f"{self.topic} [{partition}] starts at offset {low}, the sink still needed {stored}"
            _log.warning("the broker deleted parts that were not committed: looking further on", partition=partition, start=low)
            return low
        if stored > high:
            _log.warning(
                "the topic is younger than the database: reading it from its start", partition=partition, stored=stored, end=high
            )
            return low
        if stored > low:
            self._witnesses[partition] = low
            return stored - 1
        return stored

    def _is_witness(self, part: Arrival) -> bool:
        """Whether this is the message before a stored offset; when it does not bear the offset out, the partition is rewound."""
        low = self._witnesses.pop(part.partition, None)
        if low is None:
            return False
        if part.headers.sequence > self._cursor:
            _log.warning(
                "the topic was made anew: reading it from its start",
                partition=part.partition,
                offset=part.offset,
                ledger=part.headers.sequence,
                cursor=self._cursor,
            )
            self.rewind({part.partition: low})
        return True

    def _watermarks(self, partition: int) -> tuple[int, int]:
        try:
            found = self._consumer.get_watermark_offsets(
                TopicPartition(self.topic, partition), timeout=self._settings.request_timeout_seconds, cached=False
            )
        except KafkaException as error:
            raise BrokerUnreachableError(f"watermarks of {self.topic} [{partition}]: {kafka.reason(error)}") from error
        if not found:
            raise BrokerUnreachableError(f"watermarks of {self.topic} [{partition}]: no answer")
        return found[0], found[1]

    def _failed(self, message: Message, error: KafkaError) -> None:
        if error.code() in _GONE:
            raise IntegrityError(
                f"{self.topic} [{message.partition()}]: the broker deleted parts that were not read yet ({error.str()})",
                hint="lumenstream produce --from N, N being the ledger after the cursor, makes them again",
            )
        self._on_error(error)

    def _on_error(self, error: KafkaError) -> None:
        SERVER_ERRORS.labels("kafka").inc()
        if not self.trouble:
            _log.warning("kafka is in trouble, waiting", error=error.str())
        self.trouble = error.str()

    def _probe(self) -> None:
        """While in trouble and silent: ask the broker, since silence at the tip of the chain is normal."""
        if not self.trouble or time.monotonic() - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = time.monotonic()
        try:
            self._consumer.list_topics(self.topic, timeout=PROBE_SECONDS)
        except KafkaException:
            SERVER_ERRORS.labels("kafka").inc()
            return
        _log.info("kafka answers again")
        self.trouble = ""


def arrival_of(message: Message) -> Arrival:
    """A message of a parts topic. IntegrityError when it is none."""
    partition, offset = message.partition(), message.offset()
    value = message.value()
    if partition is None or offset is None:
        raise IntegrityError(f"a message of {message.topic()} without partition or offset")
    try:
        headers = PartHeaders.from_kafka(kafka.headers_of(message))
    except MessageError as error:
        raise IntegrityError(f"{message.topic()} [{partition}] offset {offset} is not a part: {error}") from error
    kind, milliseconds = message.timestamp()
    arrived = time.time() if kind == TIMESTAMP_NOT_AVAILABLE else milliseconds / 1000
    return Arrival(headers, value if isinstance(value, bytes) else b"", partition, offset, arrived)
