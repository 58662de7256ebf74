"""Current state checked against a checkpoint, and made anew from one.

Both work out what the tables should hold at the cursor: the newest checkpoint that is not above it, and the ledgers in between
through the processors. The check reads in one snapshot, so the live pipeline goes on meanwhile. The repair holds the writer's
lock and changes only rows that are wrong, in one transaction: readers, and whoever comes after a crash, see the old state or the
new one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from psycopg import IsolationLevel

from lumenstream.crashpoint import crashpoint
from lumenstream.database import Connection, Cursor, check_network, check_schema, connect, get_cursor
from lumenstream.errors import ConfigurationError, FencedError
from lumenstream.logs import get_logger
from lumenstream.settings import Settings
from sinks.timescale.checkpoint.comparison import Difference, differences, repair
from sinks.timescale.checkpoint.firstrun import patient, writers_lock
from sinks.timescale.checkpoint.shadow import Expected, build

_log = get_logger("checkpoint")

StateAt = Callable[[int], Expected]
"""What the state was after a ledger, told when the cursor is known."""


class Check(NamedTuple):
    """The state after ledger `cursor` against the checkpoint after ledger `checkpoint` and the ledgers in between."""

    checkpoint: int
    cursor: int
    differences: list[Difference]


class Rebuilt(NamedTuple):
    """`rows` were wrong and written, by table."""

    checkpoint: int
    cursor: int
    rows: Mapping[str, int]


def check_state(settings: Settings, state_at: StateAt) -> Check:
    """Compare, while the live pipeline goes on. ConfigurationError for a database without ledgers; what `state_at` raises."""
    with connect(settings.database, application_name="lumenstream-verify") as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        with patient(connection):
            cursor = _cursor(connection, settings)
            expected = state_at(cursor)
            schema = build(connection, expected)
            return Check(expected.checkpoint, cursor, list(differences(connection, schema)))


def rebuild_state(settings: Settings, state_at: StateAt) -> Rebuilt:
    """Repair. FencedError when a sink is writing, or wrote meanwhile; else as `check_state`."""
    with writers_lock(settings), connect(settings.database, application_name="lumenstream-rebuild") as connection:
        with patient(connection):
            cursor = _cursor(connection, settings)
            expected = state_at(cursor)
            schema = build(connection, expected)
            _hold_cursor(connection, cursor)
            written = repair(connection, schema)
            crashpoint("checkpoint.before_commit")
        rows = {table: count for table, count in sorted(written.items()) if count}
        _log.info(
            "current state is that of the checkpoint and what followed", checkpoint=expected.checkpoint, cursor=cursor, **rows
        )
        return Rebuilt(expected.checkpoint, cursor, rows)


def _hold_cursor(connection: Connection, cursor: int) -> None:
    """Nobody moves the cursor before the transaction ends. The writer's lock may have been lost in the hours since it was taken,
    with its session, and whoever took it then may have committed: FencedError."""
    row = connection.execute("select value from ingest_store where key = %s for update", (Cursor.LATEST,)).fetchone()
    if row is None or row[0] != str(cursor):
        moved = f"another writer moved the cursor from ledger {cursor} to {row[0] if row else 'nothing'}"
        raise FencedError(f"{moved} meanwhile, nothing was written", hint="stop every sink and start again")


def _cursor(connection: Connection, settings: Settings) -> int:
    check_schema(connection)
    check_network(connection, settings.network.network_id())
    cursor = get_cursor(connection, Cursor.LATEST)
    if not cursor:
        raise ConfigurationError("the database has no ledger yet", hint="lumenstream bootstrap loads a checkpoint into it")
    return cursor
