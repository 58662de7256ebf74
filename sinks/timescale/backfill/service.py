"""A backfill sink's loop: gather ranges, write each in one transaction, then let Kafka know how far the database is.

A server that is away is waited for: parts stay in memory, and a transaction whose end is not known is asked about in
backfill_ranges when it is tried again. A range that cannot be written is noted there with the reason, and the others go on.
"""

from __future__ import annotations

import threading
import time
from typing import Any, Final

import psycopg

from lumenstream import metrics
from lumenstream.database import Connection, check_network, check_schema, connect, error_class, is_permanent
from lumenstream.errors import IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings
from schemas.messages import Topic
from sinks.timescale.backfill import book
from sinks.timescale.backfill.consumer import BackfillConsumer
from sinks.timescale.backfill.ranges import OpenRange, Planned, Ranges, Verdict
from sinks.timescale.backfill.writer import RangeRefused, RangeWriter
from sinks.timescale.service import patient_collector, stop_on_signals

POLL_SECONDS: Final = 0.2
CHECK_SECONDS: Final = 2.0
BACK_OFF_SECONDS: Final = 1.0
MAX_ERROR_CHARACTERS: Final = 1_000

_log = get_logger("backfill")


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Serve until stopped (SIGTERM and SIGINT in the main thread). SchemaVersionError; IntegrityError for what is not a part."""
    asked = stop or threading.Event()
    with stop_on_signals(asked), patient_collector():
        _BackfillSink(settings, asked).run()


class _BackfillSink:
    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._trouble = ""
        self._ready = False
        self._written_ranges = 0
        self._connections: tuple[Connection, ...] = ()
        self._connection: Connection | None = None
        self._writer: RangeWriter | None = None
        self._ranges = Ranges(settings.network.network_id().hex(), self._look_up)
        self._checked_at = 0.0

    def run(self) -> None:
        topic = self._settings.kafka.topic(Topic.LEDGER_CHANGES_BACKFILL)
        server = RoleServer(
            self._settings.http, self._settings.backfill.http_port, self._health, setting="backfill.http_port"
        ).start()
        self._try("start", self._connected)
        consumer = BackfillConsumer(self._settings.kafka, topic, self._ranges.revoke)
        _log.info("backfill sink started", http_port=server.port, topic=topic)
        try:
            while not self._stop.is_set():
                self._turn(consumer)
        finally:
            consumer.close()
            self._drop()
            server.stop()

    def _turn(self, consumer: BackfillConsumer) -> None:
        for part in consumer.read(POLL_SECONDS):
            if self._ranges.add(part) is not Verdict.ADDED:
                metrics.BACKFILL_DROPPED_PARTS.inc()
        self._ready = bool(consumer.assigned)
        metrics.BACKFILL_BUFFERED_BYTES.set(self._ranges.bytes)
        for found in self._ranges.ready():
            if self._try(f"range {found.planned.first}", lambda found=found: self._end(found)):
                self._ranges.close(found.key)
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self._try("check", self._forget_ended)
        if not consumer.trouble and not self._stop.is_set():  # a look-up that was ended by the stop decided nothing
            consumer.commit(self._ranges.offsets())

    def _end(self, found: OpenRange) -> None:
        """Write a range, or note why that cannot be."""
        if found.spoiled:
            self._fail(found, found.spoiled)
            return
        started = time.monotonic()
        try:
            written = self._write(found)
        except (RangeRefused, IntegrityError) as error:
            self._fail(found, str(error))
            return
        except psycopg.Error as error:
            if not is_permanent(error):
                raise
            self._fail(found, f"the database refuses it: {error.sqlstate} {error}")
            return
        if written is None:
            return
        seconds, count = time.monotonic() - started, len(found.ledgers)
        metrics.BACKFILL_RANGE_SECONDS.observe(seconds)
        metrics.BACKFILL_LEDGERS.inc(count)
        for table, rows in written.items():
            metrics.BACKFILL_ROWS.labels(table).inc(rows)
        self._written_ranges += 1
        _log.info(
            "range written",
            first=found.planned.first,
            last=found.planned.last,
            rows=sum(written.values()),
            seconds=round(seconds, 2),
            job=found.planned.job,
        )

    def _write(self, found: OpenRange) -> Any:
        """A unique violation means rows that nothing announced: they are looked for, once."""
        writer = self._connected()
        try:
            return writer.write(found)
        except psycopg.errors.UniqueViolation as error:
            _log.warning("rows are in the way, deleting them", first=found.planned.first, error=str(error).partition("\n")[0])
            return writer.write(found, thorough=True)

    def _fail(self, found: OpenRange, text: str) -> None:
        self._connected()
        assert self._connection is not None
        book.set_failed(self._connection, found.key, text[:MAX_ERROR_CHARACTERS])
        metrics.BACKFILL_FAILED_RANGES.inc()
        _log.error("range failed", first=found.planned.first, last=found.planned.last, job=found.planned.job, error=text)

    def _forget_ended(self) -> None:
        """Drop ranges that the command gave up or planned anew."""
        keys = self._ranges.open_keys()
        if not keys:
            return
        self._connected()
        assert self._connection is not None
        for key in book.ended(self._connection, keys):
            _log.info("range is not wanted any more", first=key.first, job=key.job)
            self._ranges.close(key)

    def _look_up(self, job: str, sequence: int) -> Planned | None:
        found: list[Planned | None] = []

        def ask() -> None:
            self._connected()
            assert self._connection is not None
            found.append(book.look_up(self._connection, job, sequence))

        return found[-1] if self._try("look-up", ask) else None

    def _try(self, what: str, work: Any) -> bool:
        """Do it, again and again while the database is away. False: stopped before it was done."""
        while not self._stop.is_set():
            try:
                work()
                self._trouble = ""
                return True
            except (psycopg.Error, UnreachableError) as error:
                if isinstance(error, psycopg.Error) and is_permanent(error):
                    raise
                metrics.SERVER_ERRORS.labels("database").inc()
                if not self._trouble:
                    _log.warning("waiting for the database", what=what, error=f"{error_class(error)}: {error}".strip())
                self._trouble = f"database: {error}".strip()
                self._drop()
                self._stop.wait(BACK_OFF_SECONDS)
        return False

    def _connected(self) -> RangeWriter:
        if self._writer is None:
            connection = connect(self._settings.database, application_name="lumenstream-backfill-sink")
            connection.prepare_threshold = None  # a generic plan would look into every chunk
            check_schema(connection)
            check_network(connection, self._settings.network.network_id())
            connection.rollback()
            parents = connect(self._settings.database, application_name="lumenstream-backfill-sink", autocommit=True)
            self._connections = (connection, parents)
            network, range_size = self._settings.network.name, self._settings.kafka.backfill_range_size
            self._connection, self._writer = connection, RangeWriter(connection, parents, network, range_size)
        return self._writer

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.close()
        for connection in self._connections:
            connection.close()
        self._connections, self._connection, self._writer = (), None, None

    def _health(self) -> Health:
        open_ranges = {f"{key.job} {key.first}": self._ranges.missing(key) for key in self._ranges.open_keys()}
        details = {
            "role": "backfill sink",
            "open_ranges": open_ranges,
            "buffered_bytes": self._ranges.bytes,
            "written_ranges": self._written_ranges,
            "error": self._trouble,
        }
        return Health(ok=not self._trouble, ready=self._ready and not self._trouble, details=details)
