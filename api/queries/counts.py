"""How many rows a list has, up to a bound: totals on request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.queries import operations, state_changes, transactions
from api.queries.parts import Listing, Parent, among, parallel, where

MAX_COUNT: Final = 10_000  # rows; one more is looked for, to know whether there are more


class Children(NamedTuple):
    """The rows of a table that belong to a parent: conditions on `x` and the parent `p`."""

    name: str
    table: str
    conditions: tuple[str, ...]


OPERATIONS_OF_TRANSACTION: Final = Children("operations_of_transactions_total", "operations", operations.OF_TRANSACTION)
CHANGES_OF_TRANSACTION: Final = Children("state_changes_of_transactions_total", "state_changes", state_changes.OF_TRANSACTION)
CHANGES_OF_OPERATION: Final = Children("state_changes_of_operations_total", "state_changes", state_changes.OF_OPERATION)
TRANSACTIONS_OF_LEDGER: Final = Children("transactions_of_ledgers_total", "transactions", transactions.OF_LEDGER)


async def total(database: Reader, listing: Listing) -> int:
    """Rows of the list, MAX_COUNT + 1 when there are more."""
    statement = f"SELECT count(*) FROM (SELECT FROM {listing.source} {where(listing.conditions)} LIMIT {MAX_COUNT + 1}) counted"
    return sum(await database.fetch(f"{listing.name}_total", statement, listing.values, _number))


def _number(row: Sequence[Any]) -> int:
    return int(row[0])


async def of_parents(database: Reader, children: Children, parents: Sequence[Parent]) -> dict[int, int]:
    """Rows that belong to each parent, by its id, as `total`."""
    inner = f"SELECT FROM {children.table} x {where(list(children.conditions))} LIMIT {MAX_COUNT + 1}"
    statement = f"SELECT p.id, c.n FROM {among(parents)} CROSS JOIN LATERAL (SELECT count(*) AS n FROM ({inner}) counted) c"
    return dict(await database.fetch(children.name, statement, parallel(parents), tuple))
