"""Reads of `operations`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries.accounts import AccountKey, AccountPage, account_conditions
from api.queries.parts import PARENTS, Columns, Parent, between, beyond, order, parallel, projection, timed_beyond, where
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


async def by_id(database: Reader, operation_id: int, selected: frozenset[str]) -> OperationRow | None:
    statement = f"SELECT {projection(COLUMNS, selected, 'o')} FROM operations o WHERE o.id = %(id)s::bigint LIMIT 1"
    rows = await database.fetch("operation_by_id", statement, {"id": operation_id}, OperationRow._make)
    return rows[0] if rows else None


async def listed(database: Reader, page: Page, selected: frozenset[str]) -> Sequence[OperationRow]:
    """A page of all operations."""
    values: dict[str, Any] = {"fetch": page.fetch}
    conditions = timed_beyond(page, "o.ledger_created_at", ("o.id",), values)
    fields = projection(COLUMNS, selected, "o")
    statement = f"SELECT {fields} FROM operations o {where(conditions)} {order(('o.id',), page)} LIMIT %(fetch)s"
    return await database.fetch("operations", statement, values, OperationRow._make)


async def of_account(
    database: Reader, account: AccountKey, wanted: AccountPage, selected: frozenset[str]
) -> Sequence[OperationRow]:
    """A page of the operations an account takes part in."""
    page = wanted.page
    values: dict[str, Any] = {"fetch": page.fetch}
    conditions = account_conditions(account, "l", values)
    conditions += timed_beyond(page, "l.ledger_created_at", ("l.operation_id",), values)
    conditions += between(wanted.since, wanted.until, "l.ledger_created_at", values)
    statement = (
        f"WITH page AS MATERIALIZED (SELECT l.operation_id, l.ledger_created_at FROM operations_accounts l {where(conditions)} "
        f"{order(('l.operation_id',), page)} LIMIT %(fetch)s) "
        f"SELECT o.* FROM page p CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x "
        f"WHERE x.id = p.operation_id AND x.ledger_created_at = p.ledger_created_at LIMIT 1) o {order(('p.operation_id',), page)}"
    )
    return await database.fetch("operations_of_account", statement, values, OperationRow._make)


async def of_transactions(
    database: Reader, parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> dict[int, list[OperationRow]]:
    """A page of the operations of each transaction, by to_id; they are the ids behind the transaction's."""
    values: dict[str, Any] = {**parallel(parents), "fetch": page.fetch}
    conditions = [
        "x.ledger_created_at = p.closed_at",
        "x.id > p.id",
        f"x.id <= p.id + {toid.MAX_OPERATION}",
        *beyond(page, ("x.id",), values),
    ]
    # Without the fence the planner merges all chunks in key order, and looks into each for every parent.
    statement = (
        f"SELECT o.* FROM {PARENTS} CROSS JOIN LATERAL (SELECT * FROM ("
        f"SELECT {projection(COLUMNS, selected, 'x')} FROM operations x {where(conditions)} OFFSET 0) x "
        f"{order(('x.id',), page)} LIMIT %(fetch)s) o"
    )
    rows = await database.fetch("operations_of_transactions", statement, values, OperationRow._make)
    grouped: dict[int, list[OperationRow]] = defaultdict(list)
    for row in rows:
        grouped[toid.transaction_of(row.id)].append(row)
    return {to_id: sorted(group, reverse=not page.forward) for to_id, group in grouped.items()}


async def by_ids(database: Reader, parents: Sequence[Parent], selected: frozenset[str]) -> dict[int, OperationRow]:
    """Operations by id and close time."""
    statement = (
        f"SELECT o.* FROM {PARENTS} CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM operations x "
        "WHERE x.id = p.id AND x.ledger_created_at = p.closed_at LIMIT 1) o"
    )
    rows = await database.fetch("operations_by_id", statement, parallel(parents), OperationRow._make)
    return {row.id: row for row in rows}
