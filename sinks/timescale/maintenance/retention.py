"""Drops history that closed longer ago than the retention period: whole chunks on TimescaleDB, ledgers in batches elsewhere.

All history tables, the rows of `ledgers` and the oldest cursor move in one transaction, so a reader never sees half a ledger.
What somebody still needs holds everything back: a job that asked for a pause or still writes there, a publisher that has not
published it, a live sink that is still catching up through it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from psycopg import sql

from lumenstream import retention
from lumenstream.crashpoint import crashpoint
from lumenstream.database import Connection, Cursor, Edition, get_cursor, lift_decompression_limit
from sinks.timescale.layouts import HISTORY

LOCK_TIMEOUT_MS: Final = 2_000  # a reader that holds a chunk must not make every other reader queue behind the drop
_ID_COLUMNS: Final = {"transactions_accounts": "tx_to_id", "operations": "id", "operations_accounts": "operation_id"}


class Limit(NamedTuple):
    """What closed before `time` may go: ledgers below `sequence`."""

    time: datetime
    sequence: int


class Found(NamedTuple):
    """What stands at the horizon: `limit` None when nothing is that old; `held_by` says why it stays, empty when it may go."""

    limit: Limit | None
    held_by: str


def horizon(connection: Connection, keep: str, chunk: str) -> datetime:
    """The last boundary between chunks that is older than the retention period; both are durations as PostgreSQL reads them."""
    row = connection.execute(
        "select to_timestamp(floor(extract(epoch from now() - %s::interval) / extract(epoch from %s::interval)) "
        "* extract(epoch from %s::interval))",
        (keep, chunk, chunk),
    ).fetchone()
    assert row is not None and isinstance(row[0], datetime)
    return row[0]


def look(connection: Connection, time: datetime) -> Found:
    """Which ledgers closed before a time, and who still needs them."""
    lowest = connection.execute("select sequence, closed_at from ledgers order by sequence limit 1").fetchone()
    pausing = connection.execute(
        f"select job from backfill_jobs where pauses_retention and {retention.ALIVE} order by started_at limit 1"
    ).fetchone()
    if pausing is not None:
        return Found(None, f"{pausing[0]} pauses retention")
    if lowest is None or lowest[1] >= time:
        return Found(None, "")
    boundary = connection.execute(
        "select sequence from ledgers where closed_at >= %s order by sequence limit 1", (time,)
    ).fetchone()
    cursor = get_cursor(connection, Cursor.LATEST)
    if boundary is None:
        return Found(None, f"ledger {cursor} at the cursor is itself older: the live sink still writes what would be dropped")
    limit = Limit(time, min(boundary[0], cursor))
    return Found(limit, _needed(connection, limit.sequence))


def _needed(connection: Connection, sequence: int) -> str:
    writing = connection.execute(
        "select job, first_ledger from backfill_ranges where state = 'open' and first_ledger < %s "
        f"and job in (select job from backfill_jobs where {retention.ALIVE}) order by first_ledger limit 1",
        (sequence,),
    ).fetchone()
    if writing is not None:
        return f"{writing[0]} still writes from ledger {writing[1]} on"
    unpublished = connection.execute(
        "select value from ingest_store where key = %s and exists "
        "(select from ledgers where sequence > value::bigint and sequence < %s)",
        (Cursor.PUBLISHED, sequence),
    ).fetchone()
    return "" if unpublished is None else f"the publisher has only come to ledger {unpublished[0]}"


def drop(
    connection: Connection, time: datetime, edition: Edition, batch_ledgers: int, go_on: Callable[[], bool]
) -> tuple[int, str]:
    """Drop what closed before a time. Returns how many ledgers went, and what holds the rest, empty when nothing does.

    psycopg.errors.LockNotAvailable when a reader is in the way for too long; what went before stays gone.
    """
    dropped = 0
    while go_on():
        with connection.transaction():
            retention.lock(connection)
            connection.execute(sql.SQL("set local lock_timeout = {}").format(LOCK_TIMEOUT_MS))
            lift_decompression_limit(connection)
            found = look(connection, time)
            if found.limit is None or found.held_by:
                return dropped, found.held_by
            if edition == "plain":
                count = _delete_ledgers(connection, found.limit.sequence, batch_ledgers)
            else:
                _drop_chunks(connection, time)
                count = _forget(connection, found.limit.sequence)
            connection.execute("update retention set dropped_before = greatest(dropped_before, %s)", (time,))
        crashpoint("maintain.after_drop")
        dropped += count
        if not count:
            return dropped, ""
    return dropped, ""


def _drop_chunks(connection: Connection, time: datetime) -> None:
    """Whole chunks, and rows of a chunk that a former chunk interval lets reach across the time."""
    for table in HISTORY:
        connection.execute("select drop_chunks(%s::regclass, older_than => %s)", (table, time))
        connection.execute(sql.SQL("delete from {} where ledger_created_at < %s").format(sql.Identifier(table)), (time,))
        crashpoint("maintain.in_drop")


def _delete_ledgers(connection: Connection, end: int, batch: int) -> int:
    """The oldest ledgers below `end`, by id, which is in an index of every table."""
    row = connection.execute(
        "select max(sequence), max(closed_at), count(*) from "
        "(select sequence, closed_at from ledgers where sequence < %s order by sequence limit %s) as oldest",
        (end, batch),
    ).fetchone()
    if row is None or row[0] is None:
        return 0
    last, closed_at, _ = row
    for table in HISTORY:
        column = sql.Identifier(_ID_COLUMNS.get(table, "to_id"))
        connection.execute(
            sql.SQL("delete from {} where {} < %s and ledger_created_at <= %s").format(sql.Identifier(table), column),
            ((last + 1) << 32, closed_at),
        )
        crashpoint("maintain.in_drop")
    return _forget(connection, last + 1)


def _forget(connection: Connection, end: int) -> int:
    """Ledgers below `end` are not there any more."""
    count = connection.execute("delete from ledgers where sequence < %s", (end,)).rowcount
    crashpoint("maintain.before_oldest")
    raise_oldest(connection)
    return count


def raise_oldest(connection: Connection) -> int:
    """Set the oldest cursor to the first ledger that is there, upwards only: backfill moves it downwards. Returns it."""
    connection.execute(
        "update ingest_store set value = lowest.sequence::text "
        "from (select sequence from ledgers order by sequence limit 1) as lowest "
        "where key = %s and value::bigint < lowest.sequence",
        (Cursor.OLDEST,),
    )
    return get_cursor(connection, Cursor.OLDEST)
