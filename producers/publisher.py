"""The publisher: committed state changes, from the database to topic `state-changes`, keyed by account, in order.

It tails table `ledgers` from its first start on. Its own cursor (`publisher_cursor` in `ingest_store`) moves only after every
event of a ledger is delivered, so an event is sent at least once, always with the same id and bytes; and because events come
from committed rows, whoever sees one finds it in the API. NOTIFY wakes it; polling is the fallback.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

import psycopg
from confluent_kafka import KafkaException, Producer
from psycopg.rows import dict_row

from lumenstream import database, kafka, metrics
from lumenstream.crashpoint import crashpoint
from lumenstream.errors import ConfigurationError, FencedError, IntegrityError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings
from schemas.events import encode_event, event_of
from schemas.messages import Topic

CURSOR: Final = database.Cursor.PUBLISHED
LOCK_NAME: Final = "lumenstream-publisher"  # not of a network: a database belongs to one, and has its own lock space
_FLUSH_SECONDS: Final = 30.0
_MAX_GAPS_NAMED: Final = 10
_PURGE_SECONDS: Final = 2.0
_RETRY_SECONDS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)

_log = get_logger("publisher")

_EVENTS_OF_LEDGER: Final = """
    SELECT s.*, t.hash AS transaction_hash
    FROM state_changes s
    JOIN transactions t ON t.to_id = s.to_id AND t.ledger_created_at = s.ledger_created_at
    WHERE s.ledger_created_at = %(closed_at)s AND s.to_id >= %(first)s AND s.to_id < %(end)s
    ORDER BY s.to_id, s.operation_id, s.state_change_id
"""
_NEXT_LEDGERS: Final = """
    SELECT sequence, closed_at FROM ledgers
    WHERE sequence > %(cursor)s AND sequence <= %(latest)s ORDER BY sequence LIMIT %(limit)s
"""
# With the ledger behind the range, which tells whether the range ends whole.
_RANGE_OF_LEDGERS: Final = """
    SELECT sequence, previous_sequence, closed_at FROM ledgers WHERE sequence >= %(first)s
    AND sequence <= coalesce((SELECT min(sequence) FROM ledgers WHERE sequence > %(last)s), %(last)s) ORDER BY sequence
"""


class _NotDeliveredError(UnreachableError):
    """The broker did not take what was sent."""


class Publisher:
    """One publishing process. Several may run: the holder of an advisory lock publishes, the others wait for it."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._topic = settings.kafka.topic(Topic.STATE_CHANGES)
        self._leader = False
        self._cursor = 0
        self._last_error = ""
        self._failed_delivery: str = ""
        self._producer = self._new_producer()

    def health(self) -> Health:
        """Not ready while waiting for the lock; not ok after an error until the next ledger, if there is one, is through."""
        details = {"role": "publisher", "leader": self._leader, "published_ledger": self._cursor, "error": self._last_error}
        return Health(ok=not self._last_error, ready=self._leader and not self._last_error, details=details)

    def run(self) -> None:
        """Publish until stopped. Servers that go away are waited for; FencedError when another publisher moved the cursor,
        IntegrityError when the database is of another network."""
        failures = 0
        while not self._stop.is_set():
            try:
                with database.connect(
                    self._settings.database, application_name="lumenstream-publisher", autocommit=True
                ) as connection:
                    database.check_schema(connection)
                    database.check_network(connection, self._settings.network.network_id())
                    self._wait_for_lock(connection)
                    connection.execute(f"LISTEN {database.LEDGER_CHANNEL}")
                    failures = 0
                    while not self._stop.is_set():
                        if not self._publish_batch(connection):
                            self._wait_for_ledger(connection)
            except (psycopg.OperationalError, UnreachableError, KafkaException) as error:
                self._leader = False
                self._last_error = str(error).strip()
                metrics.SERVER_ERRORS.labels("database" if isinstance(error, psycopg.Error) else "kafka").inc()
                pause = _RETRY_SECONDS[min(failures, len(_RETRY_SECONDS) - 1)]
                failures += 1
                _log.warning("waiting for a server", error=self._last_error, retry_seconds=pause)
                if isinstance(error, KafkaException | _NotDeliveredError):
                    self._replace_producer()
                self._stop.wait(pause)
        self._producer.flush(_FLUSH_SECONDS)

    def _new_producer(self) -> Producer:
        return Producer(kafka.producer_config(self._settings.kafka) | {"partitioner": "murmur2_random"})

    def _replace_producer(self) -> None:
        """An idempotent producer does not come back from a fatal error. What it still holds is sent again from the cursor on."""
        self._producer.purge()
        self._producer.flush(_PURGE_SECONDS)
        self._failed_delivery = ""
        self._producer = self._new_producer()

    def _wait_for_lock(self, connection: psycopg.Connection[Any]) -> None:
        waiting = False
        while not self._stop.is_set():
            row = connection.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (LOCK_NAME,)).fetchone()
            if row is not None and row[0]:
                self._leader = True
                return
            if not waiting:
                _log.info("standing by: another publisher holds the lock")
                self._last_error, waiting = "", True  # the database answers, and nothing else is needed now
            self._stop.wait(self._settings.publisher.poll_seconds)

    def _publish_batch(self, connection: psycopg.Connection[Any]) -> bool:
        """Publish the next ledgers and move the cursor; False when there is nothing new."""
        database.check_network(connection, self._settings.network.network_id())  # an empty one may have become another's
        cursor = self._read_cursor(connection)
        latest = database.get_cursor(connection, database.Cursor.LATEST)
        bounds = {"cursor": cursor, "latest": latest, "limit": self._settings.publisher.batch_ledgers}
        ledgers = connection.execute(_NEXT_LEDGERS, bounds).fetchall()
        if not ledgers:
            self._last_error = ""  # all is published: whatever went wrong is over
            return False
        counts: Counter[str] = Counter()
        for sequence, closed_at in ledgers:
            counts += self._send_ledger(connection, sequence, closed_at, self._topic)
        crashpoint("publisher.before_delivery")
        self._deliver()
        crashpoint("publisher.after_delivery")
        last = ledgers[-1][0]
        if not database.compare_and_swap_cursor(connection, CURSOR, cursor, last):
            raise FencedError("another publisher moved the cursor", hint="run one publisher; a second one stands by")
        crashpoint("publisher.after_cursor")
        self._cursor, self._last_error = last, ""
        metrics.PUBLISHED_LEDGER.set(last)
        for category, count in counts.items():
            metrics.PUBLISHED_EVENTS.labels(category).inc(count)
        _log.debug("published", ledger=last, ledgers=len(ledgers), events=counts.total())
        return True

    def _read_cursor(self, connection: psycopg.Connection[Any]) -> int:
        stored = connection.execute("SELECT value::int FROM ingest_store WHERE key = %s", (CURSOR,)).fetchone()
        if stored is None:
            cursor = database.get_cursor(connection, database.Cursor.LATEST)
            database.update_cursor(connection, CURSOR, cursor)
            _log.info("first start: publishing what is committed from now on", after_ledger=cursor)
        else:
            cursor = stored[0]
        self._cursor = cursor
        metrics.PUBLISHED_LEDGER.set(cursor)
        return cursor

    def _send_ledger(self, connection: psycopg.Connection[Any], sequence: int, closed_at: Any, topic: str) -> Counter[str]:
        counts: Counter[str] = Counter()
        for key, category, value in _events(connection, sequence, closed_at):
            counts[category] += 1
            self._send(topic, key, value)
        return counts

    def _send(self, topic: str, key: bytes, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, on_delivery=self._on_delivery)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _on_delivery(self, error: Any, message: Any) -> None:
        if error is not None:
            self._failed_delivery = str(error)

    def _deliver(self) -> None:
        """Wait until all events are delivered. A failure counts as an unreachable broker: the batch is sent again."""
        deadline = time.monotonic() + self._settings.kafka.request_timeout_seconds + _FLUSH_SECONDS
        while self._producer.flush(1.0):
            if self._failed_delivery or time.monotonic() > deadline:
                break
        if self._failed_delivery or len(self._producer):
            problem = self._failed_delivery or "time-out"
            raise _NotDeliveredError(f"Kafka did not take the events: {problem}", hint="is the broker up?")

    def _wait_for_ledger(self, connection: psycopg.Connection[Any]) -> None:
        for _ in connection.notifies(timeout=self._settings.publisher.poll_seconds, stop_after=1):
            pass

    def replay(self, first: int, last: int) -> int:
        """Send the state changes of ledgers `first` to `last` to the replay topic; the cursor stays. Returns the events sent.

        IntegrityError when some are missing, UnreachableError when a server goes away; then a part of the events was sent.
        """
        topic, settings = self._settings.kafka.topic(Topic.STATE_CHANGES_REPLAY), self._settings.database
        with (
            database.clear_errors(settings),
            database.connect(settings, application_name="lumenstream-publisher", autocommit=True, patient=True) as connection,
        ):
            database.check_schema(connection)
            database.check_network(connection, self._settings.network.network_id())
            total = 0
            found = connection.execute(_RANGE_OF_LEDGERS, {"first": first, "last": last}).fetchall()
            if missing := missing_ledgers(first, last, [(sequence, previous) for sequence, previous, _ in found]):
                said = ", ".join(f"{low} to {high}" if high > low else str(low) for low, high in missing[:_MAX_GAPS_NAMED])
                raise IntegrityError(
                    f"ledgers {said} are not in the database, in {len(missing)} gaps; nothing was sent",
                    hint="lumenstream backfill fills gaps; or name a range that is there",
                )
            for sequence, _, closed_at in found:
                if sequence > last:
                    break
                total += self._send_ledger(connection, sequence, closed_at, topic).total()
                self._deliver()
        return total


def missing_ledgers(first: int, last: int, ledgers: Sequence[tuple[int, int | None]]) -> list[tuple[int, int]]:
    """First and last of each gap from `first` to `last`, by the links of the ledgers that are there.

    `ledgers`: (sequence, previous sequence), ascending, up to the next one behind the range. Where the source has a gap its
    ledgers name their predecessor, so that is none.
    """
    gaps: list[tuple[int, int]] = []
    before = first - 1  # everything up to it is there
    for sequence, previous in ledgers:
        linked = previous is not None and previous <= before
        if before < last and sequence > before + 1 and not linked:
            gaps.append((before + 1, min(last, sequence - 1)))
        before = sequence
    if before < last:
        gaps.append((before + 1, last))
    return gaps


def _events(connection: psycopg.Connection[Any], sequence: int, closed_at: Any) -> Iterator[tuple[bytes, str, bytes]]:
    """Key, category and bytes of each event of a ledger, in order."""
    with connection.cursor(row_factory=dict_row) as rows:
        rows.execute(_EVENTS_OF_LEDGER, {"closed_at": closed_at, "first": sequence << 32, "end": (sequence + 1) << 32})
        for row in rows:
            event = event_of(row, row["transaction_hash"])
            yield event["account_id"].encode(), event["category"], encode_event(event)


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Run a publisher until `stop` or SIGTERM."""
    stop = stop or threading.Event()
    if threading.current_thread() is threading.main_thread():
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: stop.set())
    publisher = Publisher(settings, stop)
    server = RoleServer(settings.http, settings.publisher.http_port, publisher.health, setting="publisher.http_port").start()
    _log.info("publisher started", http_port=server.port, network=settings.network.name)
    try:
        publisher.run()
    finally:
        server.stop()


def run_replay(settings: Settings, first: int, last: int) -> int:
    """`lumenstream publish --from --to`: send a range again, to the replay topic, with the same ids.

    ConfigurationError for a range that is none; else as `Publisher.replay`.
    """
    if first > last:
        raise ConfigurationError(f"ledger {first} comes after {last}", hint="the first ledger comes first")
    try:
        return Publisher(settings, threading.Event()).replay(first, last)
    except KafkaException as error:
        raise UnreachableError(f"Kafka did not take the events: {kafka.reason(error)}", hint="is the broker up?") from error
