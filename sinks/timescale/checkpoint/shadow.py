"""What the tables of current state should hold, worked out beside them: temporary tables of the same names, in one transaction.

PostgreSQL looks for a name among a session's temporary tables first, so the loader and the sink's own statements write into these
without knowing it. They vanish with the transaction, however it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from psycopg import sql

from lumenstream.crashpoint import crashpoint
from lumenstream.database import Connection
from schemas.checkpoint import EntryRows
from sinks.timescale import balances, entries, sep41, sep41_state
from sinks.timescale.checkpoint.copying import TABLES
from sinks.timescale.checkpoint.loader import StateLoader
from sinks.timescale.tables import LedgerRows

PARENTS: Final = ("trustline_assets", "contract_tokens", "protocol_wasms", "protocol_contracts")
STATE: Final = tuple(sorted(table for table, _ in TABLES.values()))
_CREATIONS: Final = (
    "update pg_temp.claimable_balances b set creator_account_id = e.account_id, created_ledger = e.ledger_number, "
    "created_at = e.ledger_created_at from claimable_balance_events e "
    "where e.balance_id = b.balance_id and e.kind = 'CREATED' and b.creator_account_id is null"
)


class Expected(NamedTuple):
    """The state of a checkpoint, and the ledgers between it and the database's cursor, ascending and without a gap."""

    checkpoint: int
    batches: Iterable[EntryRows]
    ledgers: Iterable[LedgerRows]


def build(connection: Connection, expected: Expected) -> sql.Identifier:
    """Fill the temporary tables. Returns the schema in which the real ones are."""
    row = connection.execute(
        "select relnamespace::regnamespace::text from pg_class where oid = 'native_balances'::regclass"
    ).fetchone()
    schema = sql.Identifier(row[0] if row else "public")
    for table in (*PARENTS, *STATE):
        connection.execute(
            sql.SQL("create temp table {0} (like {1}.{0} including defaults including indexes) on commit drop").format(
                sql.Identifier(table), schema
            )
        )
    loader = StateLoader(connection)
    for batch in expected.batches:
        loader.add(batch)
    loader.finish()
    for ledger in expected.ledgers:
        _roll_forward(connection, [ledger])
        crashpoint("checkpoint.in_ledgers")
    connection.execute(_CREATIONS)
    for table in (*PARENTS, *STATE):
        connection.execute(sql.SQL("analyze pg_temp.{}").format(sql.Identifier(table)))
    return schema


def _roll_forward(connection: Connection, ledgers: Sequence[LedgerRows]) -> None:
    """Apply ledgers as the live sink does, but for history and for sums of the events of custom tokens."""
    known = sep41.known(sep41.read(connection, (rows.sightings for rows in ledgers)))
    decision = sep41.decide(known, (rows.sightings for rows in ledgers))
    balances.insert_parents(connection, ledgers)
    balances.apply(connection, ledgers)
    entries.apply(connection, ledgers)
    sep41_state.insert(connection, decision)
