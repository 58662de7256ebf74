"""Table backfill_ranges from the sink's side: what is planned, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence

from lumenstream.database import Connection
from sinks.timescale.backfill.ranges import Key, Planned


def look_up(connection: Connection, job: str, sequence: int) -> Planned | None:
    """The range of a job that holds a ledger."""
    row = connection.execute(
        "select first_ledger, last_ledger, parts, processors, state = 'open' from backfill_ranges "
        "where job = %s and first_ledger <= %s and last_ledger >= %s",
        (job, sequence, sequence),
    ).fetchone()
    connection.rollback()
    if row is None:
        return None
    first, last, parts, processors, is_open = row
    return Planned(job, first, last, frozenset(parts), None if processors is None else tuple(processors), is_open)


def lock_open(connection: Connection, key: Key) -> bool:
    """Inside a transaction: whether the range is open, which nobody changes before this transaction ends."""
    row = connection.execute(
        "select state from backfill_ranges where job = %s and first_ledger = %s for update", (key.job, key.first)
    ).fetchone()
    return row is not None and row[0] == "open"


def set_done(connection: Connection, key: Key) -> None:
    """Inside the transaction that wrote the range."""
    connection.execute(
        "update backfill_ranges set state = 'done', updated_at = now() where job = %s and first_ledger = %s", (key.job, key.first)
    )


def set_failed(connection: Connection, key: Key, error: str) -> None:
    """In a transaction of its own. A range that has ended already stays as it is."""
    connection.execute(
        "update backfill_ranges set state = 'failed', error = %s, updated_at = now() "
        "where job = %s and first_ledger = %s and state = 'open'",
        (error.replace("\0", ""), key.job, key.first),
    )
    connection.commit()


def ended(connection: Connection, keys: Sequence[Key]) -> list[Key]:
    """Of these ranges, those that are not open any more."""
    rows = connection.execute(
        "select job, first_ledger from backfill_ranges join unnest(%s::text[], %s::int[]) as k (job, first_ledger) "
        "using (job, first_ledger) where state = 'open'",
        ([key.job for key in keys], [key.first for key in keys]),
    ).fetchall()
    connection.rollback()
    still_open = {Key(job, first) for job, first in rows}
    return [key for key in keys if key not in still_open]
