"""What a worker does with one message of a `ledgers` topic, without Kafka: decode once for all processors, process, encode.

In: a raw message with its coordinates. Out: the messages to send, to the same partition number: one part to `ledger-changes`, or,
when anything goes wrong, the raw bytes with the reason to `ledgers.failed` and a failure part to `ledger-changes`, where the sink
stops and says why. Nothing is ever skipped without a trace.
"""

from __future__ import annotations

import time
import traceback
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, NamedTuple

import orjson

from lumenstream import kafka, metrics
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from lumenstream.xdr import decode_ledger
from lumenstream.xdr.rows import Ledger
from processors.encoding import encode
from processors.port import Processor
from schemas.messages import FailedHeader, Headers, LedgerHeaders, PartHeaders, PartKind, Topic
from schemas.parts import SCHEMA_VERSION

# Agents of one worker run side by side but not in step; the slowest is at most this many ledgers behind.
MAX_SHARED_LEDGERS: Final = 32
_MAX_ERROR_CHARACTERS: Final = 1_000
_MAX_TRACEBACK_CHARACTERS: Final = 6_000

_log = get_logger("processor")


class BadLedgerError(Exception):
    """A message whose ledger does not fit its headers or this network."""


class Source(NamedTuple):
    """A message as it came."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: Headers


class Outgoing(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes
    partition: int
    headers: Headers


@dataclass(slots=True)
class Status:
    """What /health tells of a worker. `unreadable` counts messages without usable headers: no sink will report those.

    `restarts`: how often it stood still and started anew; `lost`: what the broker deleted before the group had read it.
    """

    started: bool = False
    assigned: int = 0
    assignment: tuple[str, ...] = ()
    ledger: int = 0
    close_time: int = 0
    failures: int = 0
    unreadable: int = 0
    restarts: int = 0
    problem: str = ""
    lost: str = ""


class _Shared:
    """One message, parsed and decoded at most once; an error is kept as its text and raised to every processor."""

    __slots__ = ("_failure", "_ledger", "_network_id", "_parsed", "_source", "uses")

    def __init__(self, source: Source, network_id: bytes) -> None:
        self._source = source
        self._network_id = network_id
        self._parsed: LedgerHeaders | None = None
        self._ledger: Ledger | None = None
        self._failure: Exception | None = None
        self.uses = 0

    def headers(self) -> LedgerHeaders:
        if self._parsed is None:
            self._parsed = LedgerHeaders.from_kafka(self._source.headers)
        return self._parsed

    def ledger(self) -> Ledger:
        """The decoded ledger, checked against the headers and the network."""
        if self._failure is not None:
            raise self._failure
        if self._ledger is None:
            try:
                self._ledger = self._decode(self.headers())
            except Exception as error:
                self._failure = error
                raise
        return self._ledger

    def _decode(self, headers: LedgerHeaders) -> Ledger:
        if headers.network_id != self._network_id.hex():
            raise BadLedgerError(f"the message is of network {headers.network_id}, this worker of {self._network_id.hex()}")
        started = time.perf_counter()
        ledger = decode_ledger(self._source.value, self._network_id)
        metrics.DECODE_SECONDS.observe(time.perf_counter() - started)
        header = ledger.header
        if (header.sequence, header.hash.hex()) != (headers.sequence, headers.ledger_hash):
            data = f"{header.sequence} {header.hash.hex()}"
            raise BadLedgerError(f"the headers say ledger {headers.sequence} {headers.ledger_hash}, the data says {data}")
        return ledger


class Handling:
    """Shared by the agents of one worker; not thread-safe."""

    def __init__(self, settings: Settings, processors: int, status: Status) -> None:
        self._kafka = settings.kafka
        self._network_id = settings.network.network_id()
        self._processors = processors
        self._status = status
        self._shared: OrderedDict[tuple[str, int, int], _Shared] = OrderedDict()
        self._parts_topic = settings.kafka.topic(Topic.LEDGER_CHANGES)
        self._backfill_topic = settings.kafka.topic(Topic.LEDGERS_BACKFILL)
        self._backfill_parts_topic = settings.kafka.topic(Topic.LEDGER_CHANGES_BACKFILL)
        self._failed_topic = settings.kafka.topic(Topic.LEDGERS_FAILED)

    def handle(self, processor: Processor, source: Source) -> tuple[Outgoing, ...]:
        """The messages to send before this one may be acknowledged; none when it is not meant for this processor."""
        shared = self._take(source)
        headers: LedgerHeaders | None = None
        try:
            headers = shared.headers()
            if headers.processors and processor.name not in headers.processors:
                return ()
            ledger = shared.ledger()
            started = time.perf_counter()
            value = encode(processor.process(ledger))
            metrics.PROCESSOR_SECONDS.labels(processor.name).observe(time.perf_counter() - started)
            self._check_size(value)
        except Exception as error:  # noqa: BLE001 - whatever it is, the ledger's failure is sent on, and the sink stops there
            return self._failed(processor, source, headers, error)
        if headers.sequence > self._status.ledger:
            self._status.ledger, self._status.close_time = headers.sequence, headers.close_time
        return (self._part(processor, source, headers, PartKind.PART, value),)

    def _take(self, source: Source) -> _Shared:
        """The shared work on a message. It goes with its last user; what a rebalance left behind goes when room is needed."""
        key = (source.topic, source.partition, source.offset)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = _Shared(source, self._network_id)
            if len(self._shared) > MAX_SHARED_LEDGERS:
                self._shared.popitem(last=False)
        shared.uses += 1
        if shared.uses >= self._processors:
            del self._shared[key]
        return shared

    def _check_size(self, value: bytes) -> None:
        limit = kafka.max_value_bytes(self._kafka)
        if len(value) > limit:
            raise BadLedgerError(f"the part has {len(value)} bytes, one message takes {limit}")

    def _part(self, processor: Processor, source: Source, ledger: LedgerHeaders, kind: PartKind, value: bytes) -> Outgoing:
        headers = PartHeaders(
            kind=kind,
            processor=processor.name,
            version=processor.version,
            schema=SCHEMA_VERSION,
            sequence=ledger.sequence,
            previous_sequence=ledger.previous_sequence,
            close_time=ledger.close_time,
            ledger_hash=ledger.ledger_hash,
            network_id=self._network_id.hex(),  # of a failure too: it is this network's sink that has to stop
            job=ledger.job,
            source_topic=source.topic,
            source_partition=source.partition,
            source_offset=source.offset,
        )
        key = str(ledger.sequence).encode()
        topic = self._backfill_parts_topic if source.topic == self._backfill_topic else self._parts_topic
        return Outgoing(topic, key, value, source.partition, headers.to_kafka())

    def _failed(
        self, processor: Processor, source: Source, ledger: LedgerHeaders | None, error: Exception
    ) -> tuple[Outgoing, ...]:
        metrics.PROCESSOR_FAILURES.labels(processor.name).inc()
        self._status.failures += 1
        text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARACTERS]
        trace = "".join(traceback.format_exception(error))[-_MAX_TRACEBACK_CHARACTERS:]
        # The traceback as text: a renderer that shows local variables would print the whole ledger.
        _log.error(
            "processing failed",
            processor=processor.name,
            ledger=ledger.sequence if ledger else None,
            topic=source.topic,
            partition=source.partition,
            offset=source.offset,
            error=text,
            traceback=trace,
        )
        raw = Outgoing(
            self._failed_topic, source.key, source.value, source.partition, _failed_headers(processor, source, text, trace)
        )
        if ledger is None:
            self._status.unreadable += 1
            self._status.problem = f"{source.topic} [{source.partition}] offset {source.offset}: {text}"
            return (raw,)
        value = orjson.dumps({"error": text, "traceback": trace})
        return raw, self._part(processor, source, ledger, PartKind.FAILURE, value)


def _failed_headers(processor: Processor, source: Source, error: str, trace: str) -> Headers:
    """The message's own headers, so that a replay can send it again, and behind them where it lay and what was wrong."""
    added = {
        FailedHeader.TOPIC: source.topic,
        FailedHeader.PARTITION: str(source.partition),
        FailedHeader.OFFSET: str(source.offset),
        FailedHeader.PROCESSOR: processor.name,
        FailedHeader.VERSION: str(processor.version),
        FailedHeader.ERROR: error,
        FailedHeader.TRACEBACK: trace,
    }
    return [*source.headers, *((name.value, value.encode("ascii", "backslashreplace")) for name, value in added.items())]
