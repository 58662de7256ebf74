"""Reads of `transactions`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries.accounts import AccountKey, AccountPage, account_conditions
from api.queries.parts import PARENTS, Columns, Parent, between, order, parallel, projection, timed_beyond, where


class TransactionRow(NamedTuple):
    to_id: int
    ledger_created_at: datetime
    hash: bytes
    fee_charged: int
    result_code: str
    ledger_number: int
    is_fee_bump: bool
    ingested_at: datetime
    inner_hash: bytes | None
    envelope_xdr: str | None
    meta_xdr: str | None


COLUMNS: Final = Columns(
    TransactionRow._fields,
    {"innerHash": ("inner_hash",), "envelopeXdr": ("envelope_xdr",), "metaXdr": ("meta_xdr",)},
)


async def by_hash(database: Reader, digest: bytes, selected: frozenset[str]) -> TransactionRow | None:
    """The transaction with this outer hash, or the fee bump around the transaction with this inner hash."""
    fields = projection(COLUMNS, selected, "t")
    for column in ("hash", "inner_hash"):  # most look-ups end with the first: planning for every chunk is what costs
        statement = f"SELECT {fields} FROM transactions t WHERE t.{column} = %(hash)s LIMIT 1"
        rows = await database.fetch(f"transaction_by_{column}", statement, {"hash": digest}, TransactionRow._make)
        if rows:
            return rows[0]
    return None


async def listed(database: Reader, page: Page, selected: frozenset[str]) -> Sequence[TransactionRow]:
    """A page of all transactions, in the order of the scan, one row more than the page when there are more."""
    values: dict[str, Any] = {"fetch": page.fetch}
    conditions = timed_beyond(page, "t.ledger_created_at", ("t.to_id",), values)
    statement = (
        f"SELECT {projection(COLUMNS, selected, 't')} FROM transactions t {where(conditions)} "
        f"{order(('t.to_id',), page)} LIMIT %(fetch)s"
    )
    return await database.fetch("transactions", statement, values, TransactionRow._make)


async def of_account(
    database: Reader, account: AccountKey, wanted: AccountPage, selected: frozenset[str]
) -> Sequence[TransactionRow]:
    """A page of the transactions an account takes part in."""
    page = wanted.page
    values: dict[str, Any] = {"fetch": page.fetch}
    conditions = account_conditions(account, "l", values)
    conditions += timed_beyond(page, "l.ledger_created_at", ("l.tx_to_id",), values)
    conditions += between(wanted.since, wanted.until, "l.ledger_created_at", values)
    statement = (
        f"WITH page AS MATERIALIZED (SELECT l.tx_to_id, l.ledger_created_at FROM transactions_accounts l {where(conditions)} "
        f"{order(('l.tx_to_id',), page)} LIMIT %(fetch)s) "
        f"SELECT t.* FROM page p CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM transactions x "
        f"WHERE x.to_id = p.tx_to_id AND x.ledger_created_at = p.ledger_created_at LIMIT 1) t {order(('p.tx_to_id',), page)}"
    )
    return await database.fetch("transactions_of_account", statement, values, TransactionRow._make)


async def by_ids(database: Reader, parents: Sequence[Parent], selected: frozenset[str]) -> dict[int, TransactionRow]:
    """Transactions by id and close time."""
    statement = (
        f"SELECT t.* FROM {PARENTS} CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM transactions x "
        "WHERE x.to_id = p.id AND x.ledger_created_at = p.closed_at LIMIT 1) t"
    )
    rows = await database.fetch("transactions_by_id", statement, parallel(parents), TransactionRow._make)
    return {row.to_id: row for row in rows}
