"""One transaction: a ledger, or a group of consecutive ledgers, with the cursor. What is in the database is whole or not there.

Order: the cursor row is locked, then assets and contracts, history by COPY, unlocked channel accounts, balances and entries,
custom tokens, the `ledgers` rows, the offsets where a restart reads on, and last the cursor by compare-and-swap: a second writer
aborts itself. Which events of custom tokens become history is decided before COPY, by what the database knows under that lock.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from lumenstream.crashpoint import crashpoint
from lumenstream.database import (
    LEDGER_CHANNEL,
    NETWORK_ID,
    Connection,
    Cursor,
    compare_and_swap_cursor,
    get_checkpoint,
    get_cursor,
)
from lumenstream.errors import FencedError, IntegrityError
from schemas.history import PARTICIPANTS
from sinks.timescale import balances, entries, sep41, sep41_state
from sinks.timescale.binary import COPY_HEADER, COPY_TRAILER, register
from sinks.timescale.layouts import HISTORY
from sinks.timescale.tables import LedgerEncoder, LedgerRows

_COPY: Final = {
    table: sql.SQL("copy {} ({}) from stdin (format binary)")
    .format(sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns)))
    .as_bytes(None)
    for table, columns in HISTORY.items()
}
_INSERT_LEDGER: Final[LiteralString] = (
    "insert into ledgers (sequence, hash, previous_hash, previous_sequence, closed_at, protocol_version, transaction_count, "
    'successful_transaction_count, operation_count, state_change_count, topic, partition, "offset") '
    "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
_UPSERT_OFFSETS: Final[LiteralString] = (
    'insert into sink_offsets as t (topic, partition, "offset") select %s, * from unnest(%s::int[], %s::bigint[]) '
    'on conflict (topic, partition) do update set "offset" = excluded."offset"'
)
_UNLOCK: Final[LiteralString] = (
    "update channel_accounts set locked_tx_hash = null, locked_at = null, locked_until = null where locked_tx_hash = any(%s)"
)


class Committed(NamedTuple):
    """What one transaction wrote: rows by table."""

    last: int
    last_hash: str
    rows: Mapping[str, int]


def check_chain(ledgers: Sequence[LedgerRows], cursor: int, cursor_hash: str) -> None:
    """IntegrityError unless neighbouring ledgers name each other's hash. Where a source has a gap there is nothing to compare."""
    sequence, ledger_hash = cursor, cursor_hash
    for rows in ledgers:
        header = rows.header
        if header.sequence == sequence + 1 and ledger_hash and header.previous_hash.hex() != ledger_hash:
            raise IntegrityError(
                f"ledger {header.sequence} names {header.previous_hash.hex()} as the ledger before it, but ledger {sequence} "
                f"has hash {ledger_hash}",
                hint="the source changed to another chain, or one of the two ledgers is forged",
            )
        sequence, ledger_hash = header.sequence, header.hash.hex()


class Writer:
    """Writes through one connection, which belongs to it alone."""

    def __init__(self, connection: Connection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self._stored_offsets: dict[int, int] = {}
        self._encoder = LedgerEncoder()
        register(connection)

    def commit(self, ledgers: Sequence[LedgerRows], cursor: int, offsets: Mapping[int, int]) -> Committed:
        """Write consecutive ledgers that follow `cursor`. FencedError when the cursor is not there any more.

        psycopg errors pass through after a rollback; when the connection broke in COMMIT the cursor tells whether it happened.
        """
        last = ledgers[-1].header
        changed = {p: offset for p, offset in offsets.items() if self._stored_offsets.get(p) != offset}
        with self._transaction():
            written, locked, known = self._begin(cursor, ledgers)
            tokens = sep41.decide(known, (rows.sightings for rows in ledgers))
            ledgers = [self._encoder.extended(*pair) for pair in zip(ledgers, tokens.events, strict=True)]
            written |= copy_history(self._connection, ledgers, HISTORY)
            with self._connection.pipeline():
                self._unlock(locked, ledgers)
                written |= balances.apply(self._connection, ledgers)
                written |= entries.apply(self._connection, ledgers)
                written |= sep41_state.insert(self._connection, tokens)
                sequences = (rows.header.sequence for rows in ledgers)
                written |= sep41_state.apply(self._connection, list(zip(sequences, tokens.events, strict=True)))
                self._finish(ledgers, changed)
            if not compare_and_swap_cursor(self._connection, Cursor.LATEST, cursor, last.sequence):
                raise _fenced(cursor, "another value")
            crashpoint("sink.before_commit")
        self._stored_offsets.update(changed)
        return Committed(last.sequence, last.hash.hex(), written)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            yield
            self._connection.commit()
        except BaseException:
            if not self._connection.closed:
                self._connection.rollback()
            raise

    def _begin(self, cursor: int, ledgers: Sequence[LedgerRows]) -> tuple[dict[str, int], set[str], sep41.Known]:
        """Lock the cursor row, read which transactions hold a channel account and which contracts are tokens, and write what
        later rows refer to."""
        connection = self._connection
        with connection.pipeline():
            value = connection.execute("select value from ingest_store where key = %s for update", (Cursor.LATEST,))
            hashes = connection.execute("select locked_tx_hash from channel_accounts where locked_tx_hash is not null")
            contracts = sep41.read(connection, (rows.sightings for rows in ledgers))
            written = balances.insert_parents(connection, ledgers)
        row = value.fetchone()
        if (int(row[0]) if row else 0) != cursor:
            raise _fenced(cursor, row[0] if row else "no value")
        return written, {locked for (locked,) in hashes}, sep41.known(contracts)

    def _unlock(self, locked: set[str], ledgers: Sequence[LedgerRows]) -> None:
        """A channel account is free again once its transaction is in a ledger: by inner hash for a fee bump, else by its own."""
        if locked:
            seen = locked & {transaction_hash.hex() for rows in ledgers for transaction_hash in rows.hashes}
            if seen:
                self._connection.execute(_UNLOCK, (sorted(seen),))

    def _finish(self, ledgers: Sequence[LedgerRows], offsets: Mapping[int, int]) -> None:
        connection = self._connection
        network_id = ledgers[0].ledger.parts[PARTICIPANTS].headers.network_id
        for rows in ledgers:
            insert_ledger(connection, rows)
        if offsets:
            connection.execute(_UPSERT_OFFSETS, (self._topic, list(offsets), list(offsets.values())))
        connection.execute(
            "insert into ingest_store (key, value) values (%s, %s), (%s, %s) on conflict do nothing",
            (Cursor.OLDEST, str(ledgers[0].header.sequence), NETWORK_ID, network_id),
        )
        connection.execute("select pg_notify(%s, %s)", (LEDGER_CHANNEL, str(ledgers[-1].header.sequence)))


def copy_history(connection: Connection, ledgers: Sequence[LedgerRows], tables: Iterable[str]) -> dict[str, int]:
    """Write the rows of these history tables by COPY. Returns how many, by table."""
    return {table: _copy(connection, table, [rows.history[table] for rows in ledgers]) for table in tables}


def _copy(connection: Connection, table: str, chunks: Sequence[tuple[bytes, int]]) -> int:
    data = b"".join([COPY_HEADER, *(rows for rows, _ in chunks), COPY_TRAILER])
    expected = sum(count for _, count in chunks)
    if expected:
        with connection.cursor() as cursor:
            with cursor.copy(_COPY[table]) as copy:
                copy.write(data)
                crashpoint("sink.in_copy")
            if cursor.rowcount != expected:
                raise psycopg.DataError(f"{table}: copied {cursor.rowcount} rows of {expected}")
    return expected


def insert_ledger(connection: Connection, rows: LedgerRows) -> None:
    """The proof of presence of a ledger."""
    connection.execute(_INSERT_LEDGER, _ledger_values(rows))


def read_state(connection: Connection, topic: str) -> tuple[int, str, dict[int, int]]:
    """Where the database stands: cursor, hash of its ledger (empty when unknown), and the offset to read on from by partition."""
    cursor = get_cursor(connection, Cursor.LATEST)
    row = connection.execute("select hash from ledgers where sequence = %s", (cursor,)).fetchone()
    offsets = connection.execute('select partition, "offset" from sink_offsets where topic = %s', (topic,)).fetchall()
    checkpoint, its_hash = get_checkpoint(connection)  # has no row of its own until it is backfilled
    known = row[0].hex() if row else its_hash if checkpoint == cursor else ""
    connection.rollback()
    return cursor, known, dict(offsets)


def _ledger_values(rows: LedgerRows) -> tuple[object, ...]:
    header, ledger = rows.header, rows.ledger
    source = ledger.parts[PARTICIPANTS].headers  # its part says where the raw ledger lies
    return (
        header.sequence,
        header.hash,
        header.previous_hash,
        ledger.previous_sequence,
        datetime.fromtimestamp(ledger.close_time, UTC),
        header.protocol_version,
        header.transaction_count,
        header.successful_transaction_count,
        header.operation_count,
        rows.state_change_count,
        source.source_topic,
        source.source_partition,
        source.source_offset,
    )


def _fenced(cursor: int, found: str) -> FencedError:
    return FencedError(
        f"the cursor was at ledger {cursor} and is not any more (found {found}): another writer moved it",
        hint="run one live sink for a network; standbys wait for its lock by themselves",
    )
