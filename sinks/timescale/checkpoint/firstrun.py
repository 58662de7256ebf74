"""The first run: an empty database gets the state of a checkpoint, and its cursor, in one transaction.

Live ingestion goes on with the ledger after the checkpoint; the checkpoint's own history and what is older come by backfill.
Until the commit nothing is visible, so an error, or the end of the process, leaves the database as empty as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

import psycopg
from psycopg import sql

from lumenstream.crashpoint import crashpoint
from lumenstream.database import (
    CHECKPOINT,
    NETWORK_ID,
    Connection,
    Cursor,
    check_schema,
    clear_errors,
    compare_and_swap_cursor,
    connect,
    get_cursor,
    is_away,
)
from lumenstream.errors import ConfigurationError, FencedError, LumenstreamError, UnreachableError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from schemas.checkpoint import EntryRows
from sinks.timescale.checkpoint.loader import StateLoader
from sinks.timescale.leader import Leadership

LOCK_SECONDS: Final = 5.0  # how long the writer's lock may be somebody else's
_LOG_BATCHES: Final = 500

_log = get_logger("checkpoint")


class Origin(NamedTuple):
    """A checkpoint. `ledger_hash` in hex, empty where the archive does not tell it."""

    ledger: int
    ledger_hash: str


def bootstrap(settings: Settings, origin: Origin, batches: Iterable[EntryRows]) -> Mapping[str, int]:
    """Load the state and set the cursor to the checkpoint. Returns the rows written, by table.

    ConfigurationError when the database has begun, FencedError when a sink is running, LumenstreamError when the database fails;
    what the batches raise passes through. In each case nothing was written.
    """
    with writers_lock(settings), connect(settings.database, application_name="lumenstream-bootstrap") as connection:
        check_schema(connection)
        with patient(connection):
            if cursor := get_cursor(connection, Cursor.LATEST):
                raise ConfigurationError(
                    f"the database has begun: its cursor is at ledger {cursor}",
                    hint="lumenstream rebuild-state makes its balances anew from a checkpoint",
                )
            loader = StateLoader(connection)
            for number, batch in enumerate(batches, 1):
                loader.add(batch)
                crashpoint("checkpoint.in_copy")
                if number % _LOG_BATCHES == 0:
                    _log.info("loading", **loader.rows)
            loader.finish()
            _set_origin(connection, settings, origin)
            crashpoint("checkpoint.before_commit")
        for table in loader.rows:
            connection.execute(sql.SQL("analyze {}").format(sql.Identifier(table)))
    _log.info("loaded", ledger=origin.ledger, **loader.rows)
    return loader.rows


@contextmanager
def writers_lock(settings: Settings) -> Iterator[None]:
    """The lock of whoever writes: no live sink leads meanwhile. FencedError when one does."""
    leadership, patience = Leadership(settings), threading.Event()
    timer = threading.Timer(LOCK_SECONDS, patience.set)
    timer.start()
    try:
        with clear_errors(settings.database):
            acquired = leadership.acquire(patience)
        if not acquired:
            raise FencedError("a sink is writing to this database", hint="stop the sink, and start it again afterwards")
        yield
    finally:
        timer.cancel()
        leadership.release()


@contextmanager
def patient(connection: Connection) -> Iterator[None]:
    """One transaction that may take hours: no time-out of the server ends it. UnreachableError when the database goes away,
    LumenstreamError when it fails otherwise."""
    try:
        connection.execute("set local statement_timeout = 0")
        connection.execute("set local idle_in_transaction_session_timeout = 0")
        yield
        connection.commit()
    except psycopg.Error as error:
        kind = UnreachableError if is_away(error) else LumenstreamError
        said = f"the database failed, nothing was written: {error.sqlstate or ''} {error}".strip()
        raise kind(said, hint="mend it and start again") from error
    finally:
        if not connection.closed:
            connection.rollback()


def _set_origin(connection: Connection, settings: Settings, origin: Origin) -> None:
    if not compare_and_swap_cursor(connection, Cursor.LATEST, 0, origin.ledger):
        raise FencedError("the cursor was set by another writer meanwhile", hint="run one writer at a time")
    values = {NETWORK_ID: settings.network.network_id().hex(), CHECKPOINT: f"{origin.ledger}:{origin.ledger_hash}"}
    for key, value in values.items():
        connection.execute("insert into ingest_store (key, value) values (%s, %s)", (key, value))
