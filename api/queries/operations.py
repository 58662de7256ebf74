"""Reads of `operations`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries.accounts import AccountKey, account_conditions, together
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
from schemas import toid


class OperationRow(NamedTuple):
    id: int
    ledger_created_at: datetime
    operation_type: str
    result_code: str
    successful: bool
    ledger_number: int
    ingested_at: datetime
    operation_xdr: bytes | None


COLUMNS: Final = Columns(OperationRow._fields, {"operationXdr": ("operation_xdr",)})


OF_TRANSACTION: Final = ("x.ledger_created_at = p.closed_at", "x.id > p.id", f"x.id <= p.id + {toid.MAX_OPERATION}")


async def by_id(database: Reader, operation_id: int, selected: frozenset[str]) -> OperationRow | None:
    statement = f"SELECT {projection(COLUMNS, selected, 'o')} FROM operations o WHERE o.id = %(id)s::bigint LIMIT 1"
    rows = await database.fetch("operation_by_id", statement, {"id": operation_id}, OperationRow._make)
    return rows[0] if rows else None


def whole(window: Window) -> Listing:
    """All operations within the window's bounds."""
    values: dict[str, Any] = {}
    return Listing("operations", "operations o", within(window, "o.ledger_created_at", "o.id", values), values)


async def listed(database: Reader, window: Window, selected: frozenset[str]) -> Sequence[OperationRow]:
    """A page of all operations."""
    page = window.page
    name, source, conditions, values = whole(window)
    values["fetch"] = page.fetch
    conditions += timed_beyond(page, "o.ledger_created_at", ("o.id",), values)
    fields = projection(COLUMNS, selected, "o")
    statement = f"SELECT {fields} FROM {source} {where(conditions)} {order(('o.id',), page)} LIMIT %(fetch)s"
    return await database.fetch(name, statement, values, OperationRow._make)


def of_account(account: AccountKey, window: Window, counterparty: AccountKey | None = None) -> Listing:
    """The operations an account takes part in, those with the counterparty only if there is one."""
    values: dict[str, Any] = {}
    conditions = account_conditions(account, "l", values)
    conditions += within(window, "l.ledger_created_at", "l.operation_id", values)
    conditions += together(counterparty, "operations_accounts", "operation_id", "l.operation_id", "l.ledger_created_at", values)
    return Listing("operations_of_account", "operations_accounts l", conditions, values)


async def page_of_account(database: Reader, listing: Listing, page: Page, selected: frozenset[str]) -> Sequence[OperationRow]:
    """A page of `of_account`: the links first, then a look-up for each."""
    name, source, conditions, _ = listing
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*conditions, *timed_beyond(page, "l.ledger_created_at", ("l.operation_id",), values)]
    statement = (
        f"WITH page AS MATERIALIZED (SELECT l.operation_id, l.ledger_created_at FROM {source} {where(conditions)} "
        f"{order(('l.operation_id',), page)} LIMIT %(fetch)s) "
        f"SELECT o.* FROM page p CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x "
        f"WHERE x.id = p.operation_id AND x.ledger_created_at = p.ledger_created_at LIMIT 1) o {order(('p.operation_id',), page)}"
    )
    return await database.fetch(name, statement, values, OperationRow._make)


async def of_account_in_transactions(
    database: Reader, account: AccountKey, parents: Sequence[Parent], selected: frozenset[str]
) -> dict[int, list[OperationRow]]:
    """The operations of each transaction that the account takes part in, by to_id."""
    values: dict[str, Any] = parallel(parents)
    conditions = [
        *account_conditions(account, "l", values),
        "l.ledger_created_at = p.closed_at",
        "l.operation_id > p.id",
        f"l.operation_id <= p.id + {toid.MAX_OPERATION}",
    ]
    statement = (
        f"SELECT o.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT l.operation_id FROM operations_accounts l "
        f"{where(conditions)} OFFSET 0) l CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x "
        "WHERE x.id = l.operation_id AND x.ledger_created_at = p.closed_at LIMIT 1) o"
    )
    rows = await database.fetch("operations_of_account_in_transactions", statement, values, OperationRow._make)
    return _by_transaction(rows, forward=True)


def of_parent(page: Page, selected: frozenset[str], values: dict[str, Any]) -> str:
    """SQL of a page of the operations of the transaction p(id, closed_at). Fills `values`."""
    values["fetch"] = page.fetch
    conditions = [*OF_TRANSACTION, *beyond(page, ("x.id",), values)]
    # Without the fence the planner merges all chunks in key order, and looks into each for every parent.
    return (
        f"SELECT * FROM (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x {where(conditions)} OFFSET 0) x "
        f"{order(('x.id',), page)} LIMIT %(fetch)s"
    )


def in_order(found: Sequence[Sequence[Any]], page: Page) -> list[OperationRow]:
    """The rows of a left join with `of_parent`: none where the transaction has no operations on this page."""
    return sorted((OperationRow._make(row) for row in found if row[0] is not None), reverse=not page.forward)


async def of_transactions(
    database: Reader, parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> dict[int, list[OperationRow]]:
    """A page of the operations of each transaction, by to_id; they are the ids behind the transaction's."""
    values: dict[str, Any] = parallel(parents)
    statement = f"SELECT o.* FROM {among(parents)} CROSS JOIN LATERAL ({of_parent(page, selected, values)}) o"
    return _by_transaction(
        await database.fetch("operations_of_transactions", statement, values, OperationRow._make), page.forward
    )


async def by_ids(database: Reader, parents: Sequence[Parent], selected: frozenset[str]) -> dict[int, OperationRow]:
    """Operations by id and close time."""
    statement = (
        f"SELECT o.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x "
        "WHERE x.id = p.id AND x.ledger_created_at = p.closed_at LIMIT 1) o"
    )
    rows = await database.fetch("operations_by_id", statement, parallel(parents), OperationRow._make)
    return {row.id: row for row in rows}


def _by_transaction(rows: Sequence[OperationRow], forward: bool) -> dict[int, list[OperationRow]]:
    grouped: dict[int, list[OperationRow]] = defaultdict(list)
    for row in rows:
        grouped[toid.transaction_of(row.id)].append(row)
    return {to_id: sorted(group, reverse=not forward) for to_id, group in grouped.items()}
