"""The live sink's loop: take the lead, read parts, commit whole ledgers in order, wait out servers that are away.

The database is the truth. Whenever it was lost, even in the middle of COMMIT, everything in memory is forgotten, and reading
starts again from the cursor and the offsets that the database holds.
"""

from __future__ import annotations

import gc
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

import psycopg

from lumenstream.crashpoint import crashpoint
from lumenstream.database import check_schema, connect, error_class, is_permanent
from lumenstream.errors import IntegrityError, LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.metrics import SERVER_ERRORS, SINK_DUPLICATE_PARTS
from lumenstream.roleserver import RoleServer
from lumenstream.settings import Settings
from schemas.messages import Topic
from sinks.timescale.consumer import BrokerUnreachableError, PartsConsumer
from sinks.timescale.leader import Leadership
from sinks.timescale.reorder import Gathered, Reorder, Verdict
from sinks.timescale.state import SinkState
from sinks.timescale.tables import LedgerEncoder
from sinks.timescale.writer import Writer, check_chain, read_state

POLL_SECONDS: Final = 0.1
OBSERVE_SECONDS: Final = 0.25
PROVE_SECONDS: Final = 1.0  # the lead is proved before every commit, and this often without one
SEARCH_AFTER_SECONDS: Final = 1.0  # silence after which paused partitions are read too
IDLE_SECONDS: Final = 1.0  # silence of a topic that answers, after which servers count as well again
LOST_AFTER_SECONDS: Final = 3.0  # silence after which parts that the broker deleted are given up
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
            if self._leadership.acquire(self._stop):
                self._state.well("database")
                self._lead()
        except BrokerUnreachableError as error:
            self._wait("kafka", str(error))
        except UnreachableError as error:
            self._wait("database", str(error))
        except psycopg.Error as error:
            if is_permanent(error):
                raise LumenstreamError(
                    f"the database refuses what follows ledger {self._state.cursor}: {error.sqlstate} {error}",
                    hint="this would fail again, so nothing is retried; nothing of the ledger was written",
                ) from error
            self._wait("database", f"{error_class(error)}: {error}".strip())

    def _wait(self, server: str, text: str) -> None:
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
            self._state.cursor = cursor
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
                    term = _Term(self._settings, self._stop, self._state, self._leadership, self._encoder, self._settled)
                    term.serve(consumer, reorder, Writer(connection, topic))
            finally:
                consumer.close()

    def _settled(self) -> None:
        """The term has proved itself. Not before: a full disk lets a sink lead, read, and fail at every commit."""
        self._back_off = BACK_OFF_FIRST_SECONDS

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


class _Term:
    """What the leader does while both servers answer."""

    def __init__(
        self,
        settings: Settings,
        stop: threading.Event,
        state: SinkState,
        leadership: Leadership,
        encoder: LedgerEncoder,
        settled: Callable[[], None],  # called after a commit, and while there is nothing to commit
    ) -> None:
        self._settings = settings.sink
        self._stop = stop
        self._state = state
        self._leadership = leadership
        self._encoder = encoder
        self._settled = settled
        self._heard_at = time.monotonic()
        self._observed_at = 0.0
        self._proved_at = 0.0
        self._catching_up = False

    def serve(self, consumer: PartsConsumer, reorder: Reorder, writer: Writer) -> None:
        self._state.phase = "leader"
        crashpoint("sink.after_start")
        while not self._stop.is_set():
            batch = self._batch(reorder)
            if len(batch) <= 1:  # a full group is waiting otherwise: reading on would only fill the window
                self._read(consumer, reorder, 0 if batch else POLL_SECONDS)
                batch = self._batch(reorder)
            if batch and self._commit(batch, reorder, writer):
                consumer.lost.clear()
            consumer.rewind(reorder.take_rewinds())
            self._watch(consumer, reorder)

    def _batch(self, reorder: Reorder) -> list[Gathered]:
        """The next whole ledger, or a group when so many wait that we are catching up, and then until none waits."""
        most, threshold = self._settings.group_ledgers, self._settings.group_threshold
        whole = reorder.complete(max(most, threshold + 1))
        self._catching_up = len(whole) > threshold or (self._catching_up and len(whole) > 1)
        return whole[: most if self._catching_up else 1]

    def _read(self, consumer: PartsConsumer, reorder: Reorder, timeout_seconds: float) -> None:
        arrivals = consumer.read(timeout_seconds)
        if not arrivals:
            return
        self._heard_at = time.monotonic()
        for part in arrivals:
            match reorder.add(part):
                case Verdict.DUPLICATE:
                    SINK_DUPLICATE_PARTS.inc()
                case Verdict.FAILURE:
                    _log.error(
                        "a processor could not process a ledger", ledger=part.headers.sequence, processor=part.headers.processor
                    )
                case Verdict.OUTSIDE | Verdict.ADDED:
                    pass
        for partition in reorder.rewinds:
            if reorder.may_pause(partition):
                consumer.pause(partition)

    def _commit(self, batch: list[Gathered], reorder: Reorder, writer: Writer) -> bool:
        if not self._prove(reorder):
            return False
        ledgers = [self._encoder.encode(at, [part.value for part in reorder.required_parts(at).values()]) for at in batch]
        check_chain(ledgers, reorder.cursor, reorder.cursor_hash)
        started = time.monotonic()
        done = writer.commit(ledgers, reorder.cursor, reorder.offsets_after(at.sequence for at in batch))
        crashpoint("sink.after_commit")
        reorder.advance(done.last, done.last_hash, time.time())
        self._state.committed(done, ledgers, time.monotonic() - started)
        self._settled()
        return True

    def _prove(self, reorder: Reorder) -> bool:
        """Prove the lead; False when what is required changed meanwhile, so that the batch has to be chosen again."""
        required = self._leadership.probe()
        self._proved_at = time.monotonic()
        if required == (reorder.required, reorder.versions):
            return True
        _log.info("required processors changed", required=required.first, versions=required.versions)
        reorder.required, reorder.versions = required
        return False

    def _watch(self, consumer: PartsConsumer, reorder: Reorder) -> None:
        now = time.monotonic()
        if now - self._observed_at < OBSERVE_SECONDS:
            return
        self._observed_at = now
        if now - self._proved_at > PROVE_SECONDS:
            self._prove(reorder)
        self._state.observe(reorder)
        self._state.summarize()
        if consumer.trouble:
            self._state.troubled("kafka", consumer.trouble)
        else:
            self._state.well("kafka")
            if now - self._heard_at > IDLE_SECONDS:
                self._settled()
        waiting = self._state.waiting
        if waiting is not None and consumer.paused and now - self._heard_at > SEARCH_AFTER_SECONDS:
            _log.warning("the next ledger does not come: reading paused partitions too", ledger=waiting.sequence)
            consumer.resume(set(consumer.paused))
            self._heard_at = now
        elif consumer.lost and not consumer.trouble and now - self._heard_at > LOST_AFTER_SECONDS:
            raise IntegrityError(
                f"{next(iter(consumer.lost.values()))}: the broker deleted parts; ledger {reorder.cursor + 1} is nowhere else",
                hint=f"lumenstream produce --from {reorder.cursor + 1} makes them again; then start the sink",
            )


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
