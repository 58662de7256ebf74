"""The live sink: take the lead, serve a term (`term`), wait out servers that are away.

The database is the truth. Whenever it was lost, even in the middle of COMMIT, everything in memory is forgotten, and reading
starts again from the cursor and the offsets that the database holds.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import psycopg

from lumenstream.database import check_schema, connect, error_class, is_permanent
from lumenstream.errors import LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.metrics import SERVER_ERRORS
from lumenstream.roleserver import RoleServer
from lumenstream.settings import Settings
from schemas.messages import Topic
from sinks.timescale.consumer import BrokerUnreachableError, PartsConsumer
from sinks.timescale.leader import Leadership
from sinks.timescale.reorder import Reorder
from sinks.timescale.state import SinkState
from sinks.timescale.tables import LedgerEncoder
from sinks.timescale.term import Term
from sinks.timescale.tip import Tip
from sinks.timescale.writer import Writer, read_state

BACK_OFF_FIRST_SECONDS: Final = 0.1
BACK_OFF_MAX_SECONDS: Final = 5.0
TOPIC_POLL_SECONDS: Final = 1.0
GC_THRESHOLD: Final = 50_000  # allocations between collections

_log = get_logger("sink")


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Serve until stopped (SIGTERM and SIGINT in the main thread).

    Raises IntegrityError for chain data that contradicts itself, FencedError when another sink took over, SchemaVersionError, and
    LumenstreamError for what the database refuses. Servers that are away are waited for.
    """
    asked = stop or threading.Event()
    with stop_on_signals(asked), patient_collector():
        _Sink(settings, asked).run()


class _Sink:
    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._state = SinkState(settings.sink)
        self._leadership = Leadership(settings)
        self._encoder = LedgerEncoder()
        self._tip = Tip(settings.kafka)
        self._back_off = BACK_OFF_FIRST_SECONDS

    def run(self) -> None:
        server = RoleServer(
            self._settings.http, self._settings.sink.http_port, self._state.health, setting="sink.http_port"
        ).start()
        _log.info("sink started", http_port=server.port, topic=self._settings.kafka.topic(Topic.LEDGER_CHANGES))
        try:
            while not self._stop.is_set():
                self._turn()
        finally:
            self._state.phase = "stopped"
            self._leadership.release()
            server.stop()

    def _turn(self) -> None:
        """One term as leader. Ends when stopped, with an error, or when a server went away, which is waited out here."""
        self._state.phase = "standby"
        try:
            if self._leadership.acquire(self._stop, self._stands_by):
                self._lead()
        except BrokerUnreachableError as error:
            self._wait("kafka", str(error), error)
        except UnreachableError as error:
            self._wait("database", str(error), error)
        except psycopg.Error as error:
            if is_permanent(error):
                raise LumenstreamError(
                    f"the database refuses what follows ledger {self._state.cursor}: {error.sqlstate} {error}",
                    hint="this would fail again, so nothing is retried; nothing of the ledger was written",
                ) from error
            self._wait("database", f"{error_class(error)}: {error}".strip(), error)

    def _wait(self, server: str, text: str, error: Exception) -> None:
        # The error of an aborted pipeline lives on in a circle of psycopg's own, and with it the window, until a full collection.
        traceback.clear_frames(error.__traceback__)
        SERVER_ERRORS.labels(server).inc()
        self._state.phase = f"waiting for {server}"
        self._state.troubled(server, text)
        self._stop.wait(self._back_off)
        self._back_off = min(self._back_off * 2, BACK_OFF_MAX_SECONDS)

    def _lead(self) -> None:
        topic = self._settings.kafka.topic(Topic.LEDGER_CHANGES)
        with connect(self._settings.database, application_name="lumenstream-sink") as connection:
            check_schema(connection)
            cursor, cursor_hash, offsets = read_state(connection, topic)
            self._tip.start(connection, cursor)
            self._state.begins(cursor, self._tip.close_time)
            required = self._leadership.probe()
            reorder = Reorder(
                network_id=self._settings.network.network_id().hex(),
                required=required.first,
                versions=required.versions,
                cursor=cursor,
                cursor_hash=cursor_hash,
                window_ledgers=self._settings.sink.reorder_window_ledgers,
                window_bytes=self._settings.sink.reorder_window_bytes,
                now=time.time(),
            )
            consumer = PartsConsumer(self._settings.kafka, topic)
            try:
                if count := self._wait_for_topic(consumer):
                    consumer.assign(offsets, count, cursor)
                    _log.info("reading parts", topic=topic, partitions=count, cursor=cursor)
                    term = Term(
                        self._settings, self._stop, self._state, self._leadership, self._encoder, self._tip, self._settled
                    )
                    term.serve(consumer, reorder, Writer(connection, topic))
            finally:
                consumer.close()

    def _stands_by(self) -> None:
        """Another sink writes, so this one waits for nothing else, whatever it waited for before."""
        self._back_off = BACK_OFF_FIRST_SECONDS
        self._state.stands_by()

    def _settled(self) -> None:
        """The term has proved itself. Not before: a full disk lets a sink lead, read, and fail at every commit."""
        self._back_off = BACK_OFF_FIRST_SECONDS
        self._state.well("database")

    def _wait_for_topic(self, consumer: PartsConsumer) -> int:
        while not self._stop.is_set():
            if count := consumer.partitions():
                self._state.well("kafka")
                return count
            SERVER_ERRORS.labels("kafka").inc()
            self._state.phase = "waiting for kafka"
            self._state.troubled("kafka", f"topic {consumer.topic} does not exist (lumenstream topics creates it)")
            self._stop.wait(TOPIC_POLL_SECONDS)
            self._leadership.probe()
        return 0


@contextmanager
def patient_collector() -> Iterator[None]:
    """Rows come by thousands and go as a whole, without cycles: to look for cycles among them costs a third of the encoding."""
    former = gc.get_threshold()
    gc.set_threshold(GC_THRESHOLD, *former[1:])
    try:
        yield
    finally:
        gc.set_threshold(*former)


@contextmanager
def stop_on_signals(stop: threading.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask to stop, where Python lets us: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()

    former = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
