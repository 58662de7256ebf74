"""The transaction of one range: delete what is there, write it again by COPY, note that the range is done.

An advisory lock of the transaction keeps two writers of a range apart; the row of the range in backfill_ranges says whether it is
still wanted, so a range that comes twice is written once. The live cursor is never touched. The commit does not wait for the
disk: what a crash of the database takes back is a gap again, or a range that is still open, which the next run plans anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple

from psycopg import sql

from lumenstream.crashpoint import crashpoint
from lumenstream.database import Connection, Cursor, advisory_key, lift_decompression_limit, update_cursor_min
from schemas import history
from schemas.toid import ledger_range
from sinks.timescale import balances
from sinks.timescale.backfill import book
from sinks.timescale.backfill.ranges import OpenRange
from sinks.timescale.backfill.tokens import Tokens
from sinks.timescale.binary import register
from sinks.timescale.layouts import HISTORY
from sinks.timescale.reorder import Gathered
from sinks.timescale.tables import LedgerEncoder, LedgerRows
from sinks.timescale.writer import check_chain, copy_history, insert_ledger

LOCK_PREFIX: Final = "lumenstream-range-"
CHUNK_LEDGERS: Final = 16  # encoded and copied together; two chunks are in memory

_ID_COLUMNS: Final = {"transactions_accounts": "tx_to_id", "operations": "id", "operations_accounts": "operation_id"}
_UNION: Final = {
    "transactions_accounts": (
        "insert into transactions_accounts (ledger_created_at, account_id, account_muxed_id, tx_to_id) "
        "select distinct ledger_created_at, account_id, coalesce(account_muxed_id, 0), to_id from state_changes "
        "where ledger_created_at between %s and %s and to_id >= %s and to_id < %s on conflict do nothing"
    ),
    "operations_accounts": (
        "insert into operations_accounts (ledger_created_at, account_id, account_muxed_id, operation_id) "
        "select distinct ledger_created_at, account_id, coalesce(account_muxed_id, 0), operation_id from state_changes "
        "where ledger_created_at between %s and %s and to_id >= %s and to_id < %s and operation_id <> 0 on conflict do nothing"
    ),
}
_COUNT_STATE_CHANGES: Final = (
    "update ledgers l set state_change_count = (select count(*) from state_changes s where s.ledger_created_at = l.closed_at "
    "and s.to_id >= l.sequence::bigint << 32 and s.to_id < (l.sequence + 1)::bigint << 32) where sequence between %s and %s"
)
# The ledger behind a filled gap named the one before the gap.
_MEND_SUCCESSOR: Final = (
    "update ledgers set previous_sequence = %(last)s where sequence = "
    "(select sequence from ledgers where sequence > %(last)s order by sequence limit 1) "
    "and coalesce(previous_sequence, 0) < %(last)s"
)


class RangeRefused(Exception):
    """The range contradicts the database or itself; the text says how."""


class _Extent(NamedTuple):
    """Where the rows of a range lie: close times and ids, the latter half-open."""

    opened: datetime
    closed: datetime
    first_id: int
    end_id: int


class RangeWriter:
    """Writes through two connections, which belong to it alone.

    Assets and contracts go through `parents`, which is in autocommit mode: the live sink writes them too, and must not wait
    for the transaction of a range. They are true whatever becomes of the range.
    """

    def __init__(self, connection: Connection, parents: Connection, network: str, range_size: int) -> None:
        self._connection = connection
        self._parents = parents
        self._network = network
        self._range_size = range_size
        self._before = ""  # hash of the ledger before the range, empty where the database does not have it
        self._encoder = LedgerEncoder(history_only=True)
        self._thread = ThreadPoolExecutor(1, "encode")
        register(connection)
        register(parents)

    def close(self) -> None:
        """The connections are the caller's to close."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def write(self, found: OpenRange, *, thorough: bool = False) -> Mapping[str, int] | None:
        """Write a whole range. Returns rows by table; None when it has ended meanwhile, and nothing was written.

        `thorough`: look for rows to delete even where table `ledgers` says there are none. RangeRefused, IntegrityError and
        psycopg errors come after a rollback.
        """
        planned = found.planned
        ledgers = found.in_order()
        with self._transaction():
            self._connection.execute("set local synchronous_commit = off")
            lift_decompression_limit(self._connection)
            lock = f"{LOCK_PREFIX}{self._network}-{planned.first // self._range_size}"
            self._connection.execute("select pg_advisory_xact_lock(%s)", (advisory_key(lock),))
            if not book.lock_open(self._connection, found.key):
                return None
            present = self._check_neighbours(found, ledgers)
            extent = _extent(ledgers)
            tables = self._delete(planned.processors, extent, links=bool(present) or thorough)
            written = self._insert(ledgers, tables, planned.parts)
            if planned.processors is not None:
                self._complete_links(extent)
            if planned.processors is None or history.PARTICIPANTS in planned.processors:
                update_cursor_min(self._connection, Cursor.OLDEST, planned.first)
                self._connection.execute(_MEND_SUCCESSOR, {"last": planned.last})
            if planned.processors is not None:
                self._connection.execute(_COUNT_STATE_CHANGES, (planned.first, planned.last))
            book.set_done(self._connection, found.key)
            crashpoint("backfill.before_commit")
        crashpoint("backfill.after_commit")
        return written

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            yield
            self._connection.commit()
        except BaseException:
            if not self._connection.closed:
                self._connection.rollback()
            raise

    def _check_neighbours(self, found: OpenRange, ledgers: Sequence[Gathered]) -> int:
        """What the database holds of these ledgers and around them must be of the same chain. Returns how many it has."""
        planned = found.planned
        rows = self._connection.execute(
            "select sequence, hash, previous_hash from ledgers where sequence between %s and %s",
            (planned.first - 1, planned.last + 1),
        ).fetchall()
        known = {sequence: (digest.hex(), previous.hex()) for sequence, digest, previous in rows}
        for ledger in ledgers:
            stored = known.get(ledger.sequence, (ledger.ledger_hash, ""))[0]
            if stored != ledger.ledger_hash:
                raise RangeRefused(
                    f"ledger {ledger.sequence} has hash {stored} in the database, {ledger.ledger_hash} in its parts"
                )
        after = known.pop(planned.last + 1, None)
        if after is not None and after[1] != ledgers[-1].ledger_hash:
            raise RangeRefused(
                f"ledger {planned.last + 1} follows hash {after[1]}, ledger {planned.last} has {ledgers[-1].ledger_hash}"
            )
        self._before = known.pop(planned.first - 1, ("", ""))[0]
        if planned.processors is not None and len(known) != len(ledgers):
            raise RangeRefused("some of its ledgers are not in the database: backfill them first")
        return len(known)

    def _delete(self, processors: tuple[str, ...] | None, extent: _Extent, *, links: bool) -> tuple[str, ...]:
        """Delete what is written again. Returns the tables to write."""
        link_tables = history.LINK_TABLES
        if processors is None:
            for table in HISTORY:
                if links or table not in link_tables:
                    self._delete_rows(table, extent)
            return tuple(HISTORY)
        owned = history.tables_of(processors, HISTORY)
        for table in (*owned, *link_tables):
            self._delete_rows(table, extent)
        for first, last in history.streams_of(processors):
            self._delete_rows(
                history.STATE_CHANGES, extent, sql.SQL(" and state_change_id between {} and {}").format(first, last)
            )
        return (*owned, *link_tables, history.STATE_CHANGES)

    def _delete_rows(self, table: str, extent: _Extent, further: sql.Composable = sql.SQL("")) -> None:
        column = sql.Identifier(_ID_COLUMNS.get(table, "to_id"))
        statement = sql.SQL("delete from {} where ledger_created_at between %s and %s and {} >= %s and {} < %s{}")
        self._connection.execute(statement.format(sql.Identifier(table), column, column, further), extent)

    def _insert(self, ledgers: Sequence[Gathered], tables: Sequence[str], parts: frozenset[str]) -> dict[str, int]:
        """Parents, history and `ledgers` rows, some ledgers at a time."""
        totals: dict[str, int] = {}
        tokens = Tokens(self._parents, self._encoder)
        with_ledgers = "transactions" in tables
        sequence, digest = ledgers[0].sequence - 1, self._before
        if with_ledgers:
            self._connection.execute(
                "delete from ledgers where sequence between %s and %s", (ledgers[0].sequence, ledgers[-1].sequence)
            )
        for encoded in self._encoded(ledgers, sorted(parts)):
            check_chain(encoded, sequence, digest)
            sequence, digest = encoded[-1].header.sequence, encoded[-1].header.hash.hex()
            written = balances.insert_parents(self._parents, encoded)
            rows = tokens.extend(encoded)
            written |= copy_history(self._connection, rows, tables)
            if with_ledgers:
                self._insert_ledgers(rows)
            for table, count in written.items():
                totals[table] = totals.get(table, 0) + count
            crashpoint("backfill.in_range")
        return totals

    def _encoded(self, ledgers: Sequence[Gathered], parts: Sequence[str]) -> Iterator[list[LedgerRows]]:
        """Chunk by chunk; the next one is encoded while the database takes the one before."""

        def encode(start: int) -> list[LedgerRows]:
            chunk = ledgers[start : start + CHUNK_LEDGERS]
            return [self._encoder.encode(ledger, [ledger.parts[name].value for name in parts]) for ledger in chunk]

        ahead = self._thread.submit(encode, 0)
        try:
            for start in range(0, len(ledgers), CHUNK_LEDGERS):
                rows = ahead.result()
                ahead = self._thread.submit(encode, start + CHUNK_LEDGERS)
                yield rows
        finally:
            del ahead  # its exception's traceback holds this frame: a circle that would keep the parts of the range

    def _insert_ledgers(self, rows: Sequence[LedgerRows]) -> None:
        with self._connection.pipeline():
            for ledger in rows:
                insert_ledger(self._connection, ledger)

    def _complete_links(self, extent: _Extent) -> None:
        """Participants that only the state changes of other processors name (docs/decisions/0007)."""
        for statement in _UNION.values():
            self._connection.execute(statement.encode(), extent)


def _extent(ledgers: Sequence[Gathered]) -> _Extent:
    times = [ledger.close_time for ledger in ledgers]
    first, end = ledger_range(ledgers[0].sequence, ledgers[-1].sequence)
    return _Extent(datetime.fromtimestamp(min(times), UTC), datetime.fromtimestamp(max(times), UTC), first, end)
