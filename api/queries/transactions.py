"""Reads of `transactions`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries import operations
from api.queries.accounts import AccountKey, account_conditions, together
from api.queries.operations import OperationRow
from api.queries.parts import (
    Columns,
    Listing,
    Parent,
    Window,
    among,
    beyond,
    order,
    parallel,
    projection,
    timed_beyond,
    where,
    within,
)


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


OF_LEDGER: Final = ("x.ledger_created_at = p.closed_at", "x.to_id > p.id", "x.to_id < p.id + (1::bigint << 32)")


async def by_hash(database: Reader, digest: bytes, selected: frozenset[str]) -> TransactionRow | None:
    """The transaction with this outer hash, or the fee bump around the transaction with this inner hash."""
    fields = projection(COLUMNS, selected, "t")
    for column in ("hash", "inner_hash"):  # most look-ups end with the first: planning for every chunk is what costs
        statement = f"SELECT {fields} FROM transactions t WHERE t.{column} = %(hash)s LIMIT 1"
        rows = await database.fetch(f"transaction_by_{column}", statement, {"hash": digest}, TransactionRow._make)
        if rows:
            return rows[0]
    return None


async def by_hash_with_operations(
    database: Reader, digest: bytes, selected: frozenset[str], page: Page, of_operations: frozenset[str]
) -> tuple[TransactionRow | None, list[OperationRow]]:
    """As `by_hash`, with a page of the transaction's operations as `operations.of_transactions` gives it: one way to the
    database instead of two."""
    values: dict[str, Any] = {"hash": digest}
    children = operations.of_parent(page, of_operations, values)
    fields = projection(COLUMNS, selected, "t")
    for column in ("hash", "inner_hash"):
        found = f"SELECT t.* FROM transactions t WHERE t.{column} = %(hash)s LIMIT 1"
        statement = (
            f"SELECT {fields}, o.* FROM ({found}) t "
            "CROSS JOIN LATERAL (SELECT t.to_id, t.ledger_created_at) AS p(id, closed_at) "
            f"LEFT JOIN LATERAL ({children}) o ON true"
        )
        rows = await database.fetch(f"transaction_by_{column}_with_operations", statement, values, tuple)
        if rows:
            width = len(TransactionRow._fields)
            return TransactionRow._make(rows[0][:width]), operations.in_order([row[width:] for row in rows], page)
    return None, []


def whole(window: Window) -> Listing:
    """All transactions within the window's bounds."""
    values: dict[str, Any] = {}
    return Listing("transactions", "transactions t", within(window, "t.ledger_created_at", "t.to_id", values), values)


async def listed(database: Reader, window: Window, selected: frozenset[str]) -> Sequence[TransactionRow]:
    """A page of all transactions, in the order of the scan, one row more than the page when there are more."""
    page = window.page
    name, source, conditions, values = whole(window)
    values["fetch"] = page.fetch
    conditions += timed_beyond(page, "t.ledger_created_at", ("t.to_id",), values)
    statement = (
        f"SELECT {projection(COLUMNS, selected, 't')} FROM {source} {where(conditions)} {order(('t.to_id',), page)} "
        "LIMIT %(fetch)s"
    )
    return await database.fetch(name, statement, values, TransactionRow._make)


def of_account(account: AccountKey, window: Window, counterparty: AccountKey | None = None) -> Listing:
    """The transactions an account takes part in, those with the counterparty only if there is one."""
    values: dict[str, Any] = {}
    conditions = account_conditions(account, "l", values)
    conditions += within(window, "l.ledger_created_at", "l.tx_to_id", values)
    conditions += together(counterparty, "transactions_accounts", "tx_to_id", "l.tx_to_id", "l.ledger_created_at", values)
    return Listing("transactions_of_account", "transactions_accounts l", conditions, values)


async def page_of_account(database: Reader, listing: Listing, page: Page, selected: frozenset[str]) -> Sequence[TransactionRow]:
    """A page of `of_account`: the links first, then a look-up for each."""
    name, source, conditions, _ = listing
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*conditions, *timed_beyond(page, "l.ledger_created_at", ("l.tx_to_id",), values)]
    statement = (
        f"WITH page AS MATERIALIZED (SELECT l.tx_to_id, l.ledger_created_at FROM {source} {where(conditions)} "
        f"{order(('l.tx_to_id',), page)} LIMIT %(fetch)s) "
        f"SELECT t.* FROM page p CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM transactions x "
        f"WHERE x.to_id = p.tx_to_id AND x.ledger_created_at = p.ledger_created_at LIMIT 1) t {order(('p.tx_to_id',), page)}"
    )
    return await database.fetch(name, statement, values, TransactionRow._make)


async def of_ledgers(
    database: Reader, parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> dict[int, list[TransactionRow]]:
    """A page of the transactions of each ledger, by the first id of the ledger."""
    values: dict[str, Any] = {**parallel(parents), "fetch": page.fetch}
    conditions = [*OF_LEDGER, *beyond(page, ("x.to_id",), values)]
    # Without the fence the planner merges all chunks in key order, and looks into each for every parent.
    statement = (
        f"SELECT t.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT * FROM ("
        f"SELECT {projection(COLUMNS, selected, 'x')} FROM transactions x {where(conditions)} OFFSET 0) x "
        f"{order(('x.to_id',), page)} LIMIT %(fetch)s) t"
    )
    rows = await database.fetch("transactions_of_ledgers", statement, values, TransactionRow._make)
    grouped: dict[int, list[TransactionRow]] = defaultdict(list)
    for row in rows:
        grouped[row.ledger_number << 32].append(row)
    return {first: sorted(group, reverse=not page.forward) for first, group in grouped.items()}


async def by_ids(database: Reader, parents: Sequence[Parent], selected: frozenset[str]) -> dict[int, TransactionRow]:
    """Transactions by id and close time."""
    statement = (
        f"SELECT t.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM transactions x "
        "WHERE x.to_id = p.id AND x.ledger_created_at = p.closed_at LIMIT 1) t"
    )
    rows = await database.fetch("transactions_by_id", statement, parallel(parents), TransactionRow._make)
    return {row.to_id: row for row in rows}
