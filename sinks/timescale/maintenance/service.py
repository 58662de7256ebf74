"""`lumenstream maintain`: a run every minute. Any number may be started; the holder of a lock does the work of a run.

A run: settings of chunks and TimescaleDB's jobs, then retention, then the oldest cursor. A database that is away, or a reader in
the way of a drop, is waited for until the next run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final, NamedTuple

import psycopg

from lumenstream import metrics
from lumenstream.database import (
    Connection,
    Edition,
    advisory_key,
    check_network,
    check_schema,
    clear_errors,
    connect,
    edition,
    error_class,
    is_permanent,
)
from lumenstream.errors import UnreachableError
from lumenstream.failedranges import failed_ranges
from lumenstream.logs import get_logger
from lumenstream.presence import missing_ledgers
from lumenstream.roleserver import Health, RoleServer
from lumenstream.settings import Settings, seconds_of
from sinks.timescale.maintenance import policies, retention
from sinks.timescale.maintenance.reconcile import reconcile
from sinks.timescale.service import stop_on_signals

COUNT_SECONDS: Final = 300.0  # between two counts of missing ledgers, which read the index of `ledgers`, and of failed ranges
_LOCK_NAME: Final = "lumenstream-maintenance"

_log = get_logger("maintenance")


class Outcome(NamedTuple):
    """What a run did. `worked` False: another one was at it."""

    worked: bool
    edition: Edition = "plain"
    changed: tuple[str, ...] = ()
    dropped_ledgers: int = 0
    held_by: str = ""
    oldest: int = 0


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Until stopped (SIGTERM and SIGINT in the main thread). LumenstreamError for what the database refuses."""
    asked = stop or threading.Event()
    with stop_on_signals(asked):
        _Service(settings, asked).run()


def run_once(settings: Settings) -> Outcome:
    """One run, for a timer of the operator's. UnreachableError when the database does not answer; LumenstreamError."""
    with clear_errors(settings.database):
        return _work(settings, lambda: True)


class _Service:
    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._last: Outcome | None = None
        self._problem = ""
        self._counted_at = 0.0

    def run(self) -> None:
        port = self._settings.maintenance.http_port
        server = RoleServer(self._settings.http, port, self._health, setting="maintenance.http_port").start()
        _log.info("maintenance started", http_port=server.port, retention=self._settings.maintenance.retention_period or "none")
        try:
            while not self._stop.is_set():
                self._turn()
                self._stop.wait(self._settings.maintenance.every_seconds)
        finally:
            server.stop()

    def _turn(self) -> None:
        started = time.monotonic()
        try:
            outcome = _work(self._settings, lambda: not self._stop.is_set())
            self._count()
        except (psycopg.Error, UnreachableError) as error:
            if isinstance(error, psycopg.Error) and is_permanent(error):
                with clear_errors(self._settings.database):
                    raise
            metrics.SERVER_ERRORS.labels("database").inc()
            self._problem = f"{error_class(error)}: {error}".strip()
            _log.warning("the run was cut short, the next one goes on", error=self._problem)
            return
        self._problem = ""
        if not outcome.worked:
            return
        if outcome.held_by and (self._last is None or self._last.held_by != outcome.held_by):
            _log.warning("nothing is dropped", reason=outcome.held_by)
        if self._last is None and outcome.edition != "timescale":
            _log.info("no compression here: that needs TimescaleDB's community edition", edition=outcome.edition)
        if outcome.changed or outcome.dropped_ledgers:
            _log.info("maintained", changed=outcome.changed, dropped_ledgers=outcome.dropped_ledgers, oldest=outcome.oldest)
        self._last = outcome
        metrics.OLDEST_LEDGER.set(outcome.oldest)
        metrics.RETENTION_DROPPED_LEDGERS.inc(outcome.dropped_ledgers)
        metrics.RETENTION_HELD.set(bool(outcome.held_by))
        metrics.MAINTENANCE_SECONDS.observe(time.monotonic() - started)
        metrics.MAINTENANCE_LAST_RUN.set_to_current_time()

    def _count(self) -> None:
        if time.monotonic() - self._counted_at < COUNT_SECONDS and self._counted_at:
            return
        with _connection(self._settings) as connection:
            metrics.MISSING_LEDGERS.set(missing_ledgers(connection).ledgers)
            metrics.FAILED_RANGES.set(len(failed_ranges(connection)))
        self._counted_at = time.monotonic()

    def _health(self) -> Health:
        details: dict[str, Any] = {"role": "maintenance", "error": self._problem}
        if self._last is not None:
            details |= {
                "edition": self._last.edition,
                "held_by": self._last.held_by,
                "oldest_ledger": self._last.oldest,
                "retention": self._settings.maintenance.retention_period or None,
            }
        return Health(ok=not self._problem, ready=self._last is not None and not self._problem, details=details)


def _work(settings: Settings, go_on: Callable[[], bool]) -> Outcome:
    wanted = settings.maintenance
    with _connection(settings) as connection, _locked(connection) as mine:
        if not mine:
            return Outcome(worked=False)
        check_schema(connection)
        check_network(connection, settings.network.network_id())
        found = edition(connection)
        keep = timedelta(seconds=seconds_of(wanted.retention_period)) or None
        connection.execute("update retention set keep = %s", (keep,))
        horizon = retention.horizon(connection, wanted.retention_period or "0", wanted.chunk_interval)
        held_by = retention.look(connection, horizon).held_by if keep else ""
        changed: list[str] = []
        if found != "plain":
            changed += policies.converge_chunk_interval(connection, wanted.chunk_interval)
        if found == "timescale":
            changed += policies.converge_columnstore(connection)
            changed += policies.converge_jobs(connection, wanted, held=bool(held_by))
        dropped = 0
        if keep and not held_by:
            dropped, held_by = retention.drop(connection, horizon, found, wanted.delete_ledgers, go_on)
        oldest = reconcile(connection, found)
        connection.execute("update retention set held_by = %s, ran_at = now()", (held_by,))
        return Outcome(True, found, tuple(changed), dropped, held_by, oldest)


def _connection(settings: Settings) -> Connection:
    return connect(settings.database, application_name="lumenstream-maintenance", autocommit=True, patient=True)


@contextmanager
def _locked(connection: Connection) -> Iterator[bool]:
    """Whether the run is ours. Given back at its end: with the session alone the next run might come too early. A run that fails
    leaves it to the session."""
    key = advisory_key(_LOCK_NAME)
    row = connection.execute("select pg_try_advisory_lock(%s)", (key,)).fetchone()
    mine = row is not None and bool(row[0])
    yield mine
    if mine:
        connection.execute("select pg_advisory_unlock(%s)", (key,))
