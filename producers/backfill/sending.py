"""Sends the messages of one range at a time to `ledgers.backfill`, and returns when the broker has them all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from lumenstream import kafka, metrics
from lumenstream.errors import UnreachableError
from lumenstream.settings import Settings
from schemas.messages import LedgerHeaders, Topic

_POLL_SECONDS: Final = 0.1
_PURGE_SECONDS: Final = 2.0
_KIB: Final = 1024


RawMessage = tuple[LedgerHeaders, bytes, bytes, int]
"""Headers, key, value, partition."""


class Refused(Exception):
    """The broker will never take one of the messages."""


class Sender:
    """A range that was sent in part is sent again as a whole: repeats are dropped by the sinks."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topic = settings.kafka.topic(Topic.LEDGERS_BACKFILL)
        self._errors: list[KafkaError] = []
        self._producer = self._new_producer()

    def send(self, messages: Sequence[RawMessage]) -> None:
        """Deliver all. Refused for a message too large; UnreachableError when the broker does not take them in time."""
        limit = kafka.max_value_bytes(self._settings.kafka)
        for headers, _, value, _ in messages:
            if len(value) > limit:
                raise Refused(f"ledger {headers.sequence} has {len(value)} bytes, one message takes {limit}")
        self._errors.clear()
        for headers, key, value, partition in messages:
            self._produce(headers, key, value, partition)
        deadline = time.monotonic() + 2 * kafka.DELIVERY_TIMEOUT_SECONDS
        while len(self._producer) and not self._errors and time.monotonic() < deadline:
            self._producer.poll(_POLL_SECONDS)
        if self._errors or len(self._producer):
            errors = list(self._errors)
            self.close()
            self._producer = self._new_producer()
            if any(error.code() == KafkaError.MSG_SIZE_TOO_LARGE for error in errors):
                raise Refused(f"the broker refuses the size of a message of the range: raise max.message.bytes of {self._topic}")
            raise UnreachableError(f"{self._topic} does not take messages: {errors[0].str() if errors else 'no answer'}")
        for _, _, value, _ in messages:
            metrics.PRODUCED_LEDGERS.inc()
            metrics.PRODUCED_BYTES.inc(len(value))

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(_PURGE_SECONDS)

    def _produce(self, headers: LedgerHeaders, key: bytes, value: bytes, partition: int) -> None:
        while not self._errors:
            try:
                self._producer.produce(
                    self._topic,
                    value=value,
                    key=key,
                    partition=partition,
                    headers=[*headers.to_kafka()],
                    on_delivery=self._delivered,
                )
                return
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                self._errors.append(error.args[0])

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is not None and error.code() != KafkaError._PURGE_QUEUE:
            self._errors.append(error)

    def _new_producer(self) -> Producer:
        settings = self._settings
        kibibytes = (settings.producer.max_queued_bytes + settings.kafka.max_message_bytes) // _KIB
        return Producer(kafka.producer_config(settings.kafka) | {"queue.buffering.max.kbytes": kibibytes})
