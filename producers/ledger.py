"""The ledger producer: from a source to topic `ledgers`, one message per ledger, in order, without a gap, bytes untouched.

Where it starts: at `--from N`; else after the end of the topic (`producers.position`); else after the database cursor; else at
the source's beginning. What it checks: every ledger's header and hash (`producers.header`), the hash chain, the network. What
is not delivered is kept and sent again in order (`producers.delivery`). A broker or a limit makes it wait; bad data makes it end.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from lumenstream import kafka, metrics
from lumenstream.errors import ConfigurationError, IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.retry import Wait
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings
from lumenstream.xdr import DECODER
from producers import sources
from producers.delivery import DataLostError, Delivery, Outgoing
from producers.header import NetworkCheck, ProtocolCheck, check_chain, checked_header
from producers.position import database_cursor, read_tail
from producers.sources import LedgerSource, SourceLedger
from schemas.messages import LedgerHeaders, Topic, partition_of, range_key

_FIRST_WAIT_SECONDS: Final = 60.0
_AHEAD_POLL_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0)
_FLUSH_SECONDS: Final = 20.0
_PROGRESS_SECONDS: Final = 10.0
_STALLED_SECONDS: Final = 10.0
_IN_SYNC_LEDGERS: Final = 50  # spec/ingestion.md 11.1

_log = get_logger("producer")

_Answer = TypeVar("_Answer")
SourceFactory = Callable[[Settings, Wait], LedgerSource]


class _Stopped(Exception):
    """Asked to stop while a server was waited for."""


class LedgerProducer:
    """One run of the producer. `source` can be replaced in tests."""

    def __init__(self, settings: Settings, stop: threading.Event, source: SourceFactory = sources.create) -> None:
        self._settings = settings
        self._kafka = settings.kafka
        self._stop = stop
        self._make_source = source
        self._topic = settings.kafka.topic(Topic.LEDGERS)
        self._network_id = settings.network.network_id().hex()
        self._network = NetworkCheck(settings.network.network_id())
        self._protocol = ProtocolCheck()
        self._delivery = Delivery(settings, stop)
        self._source: LedgerSource | None = None
        self._previous: LedgerHeaders | None = None
        self._anchor: int | None = None  # the database cursor that the first ledger follows
        self._begins = False  # the first ledger begins the stream: it follows nothing
        self._started = False
        self._waiting = ""  # the server whose answer is needed to go on, and what is wrong with it
        self._cursor_seen: int | None = None
        self._reported = time.monotonic()
        self.sent_ledgers = 0

    def health(self) -> Health:
        """Not ready before the first position is known; not ok while a server is waited for."""
        delivery = self._delivery
        stalled = delivery.oldest_wait_seconds() > _STALLED_SECONDS
        source = self._source
        problem = delivery.problem or self._waiting or (source.problem if source else "")
        problem = problem or (f"nothing delivered for {delivery.oldest_wait_seconds():.0f} s" if stalled else "")
        details = {
            "role": "producer",
            "delivered_ledger": delivery.delivered,
            "queued_bytes": delivery.queued_bytes,
            "queued_ledgers": delivery.queued,
            "source_tip_ledger": source.tip if source else None,
            "lag_ledgers": self.lag_ledgers(),
            "in_sync": self.in_sync(),
            "error": problem,
        }
        return Health(ok=not problem, ready=self._started and not problem, details=details)

    def lag_ledgers(self) -> int | None:
        """How many ledgers the source has that the topic has not; None while either is not known.

        A topic that is ahead, because another source filled it or an RPC server lags, is not behind: 0.
        """
        tip, delivered = self._source.tip if self._source else None, self._delivery.delivered
        return None if tip is None or delivered is None else max(0, tip - delivered)

    def in_sync(self) -> bool:
        """Whether the topic is near the source's tip, as far as that is known. A producer that catches up is well, and is not."""
        return (self.lag_ledgers() or 0) <= _IN_SYNC_LEDGERS

    def run(self) -> None:
        """Until the source ends or the stop is set. IntegrityError for bad data; nothing after it was sent."""
        from_ledger = self._settings.producer.from_ledger
        try:
            while True:
                try:
                    self._produce(from_ledger)
                    break
                except DataLostError as lost:
                    _log.warning("the broker lost what it had confirmed, starting over from its end", detail=str(lost))
                    from_ledger = None
                    self._delivery.forget()
        except _Stopped:
            _log.info("stopped while waiting for a server", server=self._waiting)
        finally:
            left = self._delivery.flush(_FLUSH_SECONDS)
            self._delivery.close()
        if left:
            _log.warning("stopped before everything was delivered; the next start sends it again", ledgers=left)
        _log.info("producer ended", ledgers=self.sent_ledgers, last_delivered=self._delivery.delivered)

    def _produce(self, from_ledger: int | None) -> None:
        after = self._start_after(from_ledger)
        self._delivery.start(after)
        self._started = True
        source = self._source = self._make_source(self._settings, self._delivery.wait)
        metrics.SOURCE_TIP_LEDGER.set_function(lambda: source.tip or 0)
        metrics.SOURCE_LAG_LEDGERS.set_function(lambda: self.lag_ledgers() or 0)
        try:
            for ledger in source.ledgers(self._newest_of(source) if after is None else after):
                if self._stop.is_set():
                    return
                message = self._message(ledger)
                if not self._wait_for_cursor(ledger.sequence) or not self._delivery.send(message):
                    return
                self._count(message)
            while not self._stop.is_set() and self._delivery.queued:
                self._delivery.wait(0.1)
        finally:
            source.close()

    def _start_after(self, from_ledger: int | None) -> int | None:
        """The ledger to go on after; None: at the source's beginning. Sets the predecessor that the chain is checked against."""
        tail = self._answer_of("kafka", lambda: read_tail(self._kafka, self._network_id))
        self._previous, self._anchor, self._begins = None, None, False
        cursor = self._cursor() if tail is None or tail.beginning_uncertain else None
        if from_ledger is not None:
            # A stream that begins here has no predecessor; one that is filled up again keeps its own.
            self._begins = tail is None and cursor is None
            _log.info("starting at the ledger asked for", first=from_ledger)
            return from_ledger - 1
        if tail is not None and not tail.beginning_uncertain:
            self._previous = tail.last
            _log.info("resuming after the topic", after=tail.last.sequence, highest_on_topic=tail.highest)
            return tail.last.sequence
        if cursor is not None:
            _log.info("resuming after the database cursor", after=cursor)
            self._anchor = cursor
            return cursor
        if self._settings.archive.url and self._settings.producer.use_database:
            raise ConfigurationError(
                "the database is empty, and a history archive is configured for its first run",
                hint="lumenstream bootstrap comes first; or unset LUMENSTREAM_ARCHIVE__URL to begin at the source's beginning",
            )
        _log.info("starting at the source's beginning")
        return None

    def _newest_of(self, source: LedgerSource) -> int | None:
        """What a stream that begins with the source's newest ledger comes after; None where it begins with its oldest."""
        newest = source.look().newest if self._settings.producer.begin == "newest" else None
        if newest is None:
            return None
        self._begins = True
        _log.info("beginning with the source's newest ledger", first=newest)
        return newest - 1

    def _cursor(self) -> int | None:
        """The database cursor. A database that is away is waited for: a stream that begins a second time wedges the sink."""
        return self._answer_of("database", lambda: database_cursor(self._settings))

    def _answer_of(self, server: str, ask: Callable[[], _Answer]) -> _Answer:
        """What the server says, asked until it answers. _Stopped when the stop is set meanwhile."""
        failures = 0
        while True:
            try:
                answer = ask()
                self._waiting = ""
                return answer
            except UnreachableError as error:
                metrics.SERVER_ERRORS.labels(server).inc()
                self._waiting = str(error)
                _log.warning("waiting for a server", server=server, reason=str(error))
                if self._delivery.wait(_RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]):
                    raise _Stopped from error
                failures += 1

    def _message(self, ledger: SourceLedger) -> Outgoing:
        """Check a ledger and put its message together."""
        limit = kafka.max_value_bytes(self._kafka)
        if len(ledger.data) > limit:
            raise IntegrityError(
                f"{ledger.place}: {len(ledger.data)} bytes are over the limit of {limit} for one message",
                hint="raise LUMENSTREAM_KAFKA__MAX_MESSAGE_BYTES, and max.message.bytes of the topics that exist",
            )
        header = checked_header(ledger)
        self._protocol.check(header)
        self._network.check(ledger)
        previous = self._previous
        if previous is not None:
            if ledger.sequence <= previous.sequence:
                raise IntegrityError(f"{ledger.place}: comes after ledger {previous.sequence}")
            check_chain(previous.sequence, previous.ledger_hash, header, ledger.place)
        self._previous = headers = LedgerHeaders(
            sequence=ledger.sequence,
            previous_sequence=self._predecessor(ledger, previous),
            close_time=header.close_time,
            ledger_hash=header.hash.hex(),
            protocol_version=header.protocol_version,
            network_id=self._network_id,
        )
        return Outgoing(
            sequence=ledger.sequence,
            close_time=header.close_time,
            key=range_key(ledger.sequence, self._kafka.range_size),
            value=ledger.data,
            partition=partition_of(ledger.sequence, self._kafka.range_size, self._kafka.partitions),
            headers=headers.to_kafka(),
        )

    def _predecessor(self, ledger: SourceLedger, previous: LedgerHeaders | None) -> int | None:
        """What this ledger says it follows: the one sent before it, the database cursor, or what the source says."""
        if previous is not None:
            return previous.sequence
        if self._begins:
            return None
        return ledger.previous_sequence if self._anchor is None else self._anchor

    def _wait_for_cursor(self, sequence: int) -> bool:
        """Hold back while the ledger is too far ahead of the database. False: stop."""
        ahead = self._settings.producer.max_ahead_ledgers if self._settings.producer.use_database else 0
        if not ahead:
            return True
        if self._cursor_seen is None:
            self._cursor_seen = self._cursor() or sequence - 1  # nothing committed yet: as if all before the first were
        while sequence > self._cursor_seen + ahead:
            self._cursor_seen = self._cursor() or self._cursor_seen
            if sequence > self._cursor_seen + ahead and self._delivery.wait(_AHEAD_POLL_SECONDS):
                return False
        return True

    def _count(self, message: Outgoing) -> None:
        self.sent_ledgers += 1
        if time.monotonic() - self._reported >= _PROGRESS_SECONDS:
            self._reported = time.monotonic()
            _log.info("producing", ledger=message.sequence, ledgers=self.sent_ledgers, queued_bytes=self._delivery.queued_bytes)


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run the producer until its source ends, `stop` is set or SIGTERM or SIGINT comes."""
    sources.check(settings)
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    producer = LedgerProducer(settings, stop)
    server = RoleServer(settings.http, settings.producer.http_port, producer.health, setting="producer.http_port").start()
    _log.info(
        "producer started", source=settings.producer.source, network=settings.network.name, decoder=DECODER, http_port=server.port
    )
    try:
        if _wait_for_kafka(settings, stop):
            producer.run()
    finally:
        server.stop()


def _wait_for_kafka(settings: Settings, stop: threading.Event) -> bool:
    """Wait for the broker and the topics. UnreachableError when nothing answers within a minute of the start; False: stopped."""
    deadline = time.monotonic() + _FIRST_WAIT_SECONDS
    while not stop.is_set():
        try:
            kafka.wait_for_broker(settings.kafka, 2.0)
            kafka.ensure_topics(settings.kafka)
            return True
        except UnreachableError as error:
            metrics.SERVER_ERRORS.labels("kafka").inc()
            if time.monotonic() > deadline:
                raise
            _log.warning("waiting for Kafka", reason=str(error))
    return False
