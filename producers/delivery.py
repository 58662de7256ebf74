"""Delivery of messages to one topic in order: what is not confirmed yet is kept, and sent again in order after a failure.

Single-threaded: confirmations are served while the caller sends or waits. Waiting for a broker that is away has no limit; the
metric `lumenstream_server_errors_total{server="kafka"}` and `problem` tell of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from lumenstream import kafka, metrics
from lumenstream.crashpoint import crashpoint
from lumenstream.errors import IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from schemas.messages import Headers, Topic

_POLL_SECONDS: Final = 0.1
_PROBE_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = 1.0
_PURGE_SECONDS: Final = 2.0
_KIB: Final = 1024

_log = get_logger("producer")


class Outgoing(NamedTuple):
    sequence: int
    close_time: int  # Unix seconds
    key: bytes
    value: bytes
    partition: int
    headers: Headers


class _Sent(NamedTuple):
    message: Outgoing
    at: float  # monotonic seconds


class _Confirmed(NamedTuple):
    partition: int
    offset: int


class DataLostError(Exception):
    """The broker no longer holds a message that it had confirmed (a broker in memory was restarted, a topic was deleted)."""


class Delivery:
    """Hands messages to Kafka and remembers the last one up to which all are confirmed (`delivered`)."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings.kafka
        self._topic = settings.kafka.topic(Topic.LEDGERS)
        self._max_queued_bytes = settings.producer.max_queued_bytes
        self._stop = stop
        self._pending: OrderedDict[int, _Sent] = OrderedDict()
        self._confirmed: dict[int, _Confirmed] = {}
        self._last: _Confirmed | None = None
        self._failure: KafkaError | None = None
        self._generation = 0
        self._producer = self._new_producer()
        self.delivered: int | None = None
        self.queued_bytes = 0
        self.problem = ""

    @property
    def queued(self) -> int:
        """Messages that are not confirmed yet, or wait for an earlier one."""
        return len(self._pending)

    def oldest_wait_seconds(self) -> float:
        """How long the oldest unconfirmed message has been waiting. Called from the HTTP thread too."""
        sent = next(iter(self._pending.copy().values()), None)
        return 0.0 if sent is None else time.monotonic() - sent.at

    def start(self, after: int | None) -> None:
        """Begin behind this ledger."""
        self.delivered = after
        metrics.PRODUCED_LEDGER.set(after or 0)

    def send(self, message: Outgoing) -> bool:
        """Hand over one message; waits while too many bytes are queued. False: stopped before it was handed over.

        IntegrityError when the broker refuses its size, DataLostError as in `wait`.
        """
        while self._pending and self.queued_bytes + len(message.value) > self._max_queued_bytes:
            if self.wait(_POLL_SECONDS):
                return False
        crashpoint("producer.before_send")
        self._pending[message.sequence] = _Sent(message, time.monotonic())
        self.queued_bytes += len(message.value)
        metrics.PRODUCER_QUEUED_BYTES.set(self.queued_bytes)
        self._produce(message)
        crashpoint("producer.after_send")
        self._serve(0)
        return True

    def wait(self, seconds: float) -> bool:
        """Serve confirmations for so long, once at least. True: stop now. DataLostError when the broker forgot what it had."""
        deadline = time.monotonic() + seconds
        while not self._stop.is_set():
            remaining = max(0.0, deadline - time.monotonic())
            self._serve(min(remaining, _POLL_SECONDS))
            if not remaining:
                return self._stop.is_set()
        return True

    def flush(self, timeout: float) -> int:
        """Wait until everything is confirmed, fails or time is over. Returns how many messages are left."""
        deadline = time.monotonic() + timeout
        while self._pending and self._failure is None and time.monotonic() < deadline:
            self._producer.poll(_POLL_SECONDS)
        crashpoint("producer.after_flush")
        return len(self._pending)

    def forget(self) -> None:
        """Drop what is queued; the caller starts over."""
        self._replace_producer()
        self._pending.clear()
        self._confirmed.clear()
        self._last, self.delivered, self.queued_bytes, self.problem = None, None, 0, ""

    def close(self) -> None:
        self._producer.purge()
        self._producer.flush(_PURGE_SECONDS)

    def _new_producer(self) -> Producer:
        kibibytes = (2 * self._max_queued_bytes + self._settings.max_message_bytes) // _KIB
        return Producer(kafka.producer_config(self._settings) | {"queue.buffering.max.kbytes": kibibytes})

    def _replace_producer(self) -> None:
        """A failed idempotent producer cannot go on; confirmations of the old one no longer count."""
        self._generation += 1
        self._failure = None
        self.close()
        self._failure = None
        self._producer = self._new_producer()

    def _produce(self, message: Outgoing) -> None:
        generation = self._generation

        def confirm(error: KafkaError | None, delivered: Message) -> None:
            if generation != self._generation:
                return
            if error is not None:
                self._failure = self._failure or error
            else:
                self._confirm(message.sequence, _Confirmed(message.partition, delivered.offset() or 0))

        while self._failure is None:
            try:
                self._producer.produce(
                    self._topic,
                    value=message.value,
                    key=message.key,
                    partition=message.partition,
                    headers=[*message.headers],
                    on_delivery=confirm,
                )
                return
            except BufferError:
                self._producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                self._failure = error.args[0]

    def _confirm(self, sequence: int, where: _Confirmed) -> None:
        self._confirmed[sequence] = where
        while self._pending:
            first = next(iter(self._pending))
            confirmed = self._confirmed.pop(first, None)
            if confirmed is None:
                break
            message_sent = self._pending.pop(first).message
            size = len(message_sent.value)
            self.delivered, self._last = first, confirmed
            self.queued_bytes -= size
            metrics.PRODUCED_LEDGERS.inc()
            metrics.PRODUCED_BYTES.inc(size)
            metrics.PRODUCED_LEDGER.set(first)
            metrics.PRODUCED_CLOSE_TIME.set(message_sent.close_time)
        metrics.PRODUCER_QUEUED_BYTES.set(self.queued_bytes)

    def _serve(self, seconds: float) -> None:
        self._producer.poll(seconds)
        while self._failure is not None and not self._stop.is_set():
            self._recover(self._failure)

    def _recover(self, failure: KafkaError) -> None:
        """Wait for the broker, then send everything unconfirmed again, in order. Repeats are dropped by the sink."""
        if failure.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise IntegrityError(
                f"the broker refuses the size of a message between ledger {next(iter(self._pending))} and the last one sent",
                hint="raise max.message.bytes of the topic to LUMENSTREAM_KAFKA__MAX_MESSAGE_BYTES",
            )
        self.problem = f"Kafka does not take messages: {failure.str()}"
        _log.warning(
            "delivery failed, waiting for Kafka", error=failure.str(), delivered=self.delivered, queued=len(self._pending)
        )
        self._replace_producer()
        while not self._stop.is_set():
            metrics.SERVER_ERRORS.labels("kafka").inc()
            try:
                kafka.wait_for_broker(self._settings, _PROBE_SECONDS)
                kafka.ensure_topics(self._settings)
                self._check_nothing_lost()
                break
            except UnreachableError as error:
                self.problem = str(error)
                self._stop.wait(_RETRY_SECONDS)
        else:
            return
        self._confirmed.clear()
        _log.info("Kafka answers again, sending what was not confirmed", ledgers=len(self._pending))
        for sent in self._pending.copy().values():
            self._produce(sent.message)
        self.problem = ""

    def _check_nothing_lost(self) -> None:
        if self._last is None:
            return
        reader = kafka.TopicReader(self._settings, self._topic)
        try:
            high = reader.watermarks(self._last.partition).high
        finally:
            reader.close()
        if high <= self._last.offset:
            raise DataLostError(
                f"{self._topic} [{self._last.partition}] ends at {high}, offset {self._last.offset} was confirmed"
            )
