"""Makes the oldest cursor and table `ledgers` say what is there, when history was dropped behind our back.

TimescaleDB's own retention job, or an operator's drop_chunks, knows nothing of `ledgers`. A ledger whose transactions are gone is
not present: its row goes, and the oldest cursor moves up (spec/data.md 3.1).
"""

from __future__ import annotations

from psycopg import IsolationLevel

from lumenstream.database import Connection, Cursor, Edition, get_cursor
from lumenstream.logs import get_logger
from sinks.timescale.maintenance.retention import raise_oldest

_log = get_logger("maintenance")


def reconcile(connection: Connection, edition: Edition) -> int:
    """Returns the oldest ledger. One snapshot, since a backfill writes a range and its rows of `ledgers` in one transaction."""
    before = connection.isolation_level
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        with connection.transaction():
            if not _first_is_there(connection):
                found = _first_ledger(connection, edition)
                end = min(found or _highest(connection), get_cursor(connection, Cursor.LATEST))
                gone = connection.execute("delete from ledgers where sequence < %s", (end,)).rowcount
                if gone:
                    _log.warning("history was dropped by somebody else: its ledgers are forgotten", ledgers=gone, oldest=end)
            return raise_oldest(connection)
    finally:
        connection.isolation_level = before


def _first_is_there(connection: Connection) -> bool:
    """Whether the first ledger that has transactions still has one: a look into one chunk, also into a compressed one."""
    row = connection.execute(
        "select exists (select from transactions t where t.ledger_created_at = l.closed_at "
        "and t.to_id >= l.sequence::bigint << 32 and t.to_id < (l.sequence + 1)::bigint << 32) "
        "from (select sequence, closed_at from ledgers where transaction_count > 0 order by sequence limit 1) as l"
    ).fetchone()
    return row is None or bool(row[0])


def _first_ledger(connection: Connection, edition: Edition) -> int | None:
    """The ledger of the first transaction, found chunk by chunk: over all chunks at once compressed ones would be read whole."""
    if edition == "plain":
        row = connection.execute("select to_id >> 32 from transactions order by to_id limit 1").fetchone()
        return None if row is None else row[0]
    chunks = connection.execute(
        "select range_start, range_end from timescaledb_information.chunks "
        "where hypertable_schema = current_schema() and hypertable_name = 'transactions' order by range_start"
    ).fetchall()
    for extent in chunks:
        row = connection.execute(
            "select min(to_id) >> 32 from transactions where ledger_created_at >= %s and ledger_created_at < %s", extent
        ).fetchone()
        if row is not None and row[0] is not None:
            return int(row[0])
    return None


def _highest(connection: Connection) -> int:
    row = connection.execute("select max(sequence) from ledgers").fetchone()
    return 0 if row is None or row[0] is None else int(row[0])
