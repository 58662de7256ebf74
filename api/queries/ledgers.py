"""Reads of `ledgers`: one row for every ledger committed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries.parts import Listing, Window, beyond, order, where


class LedgerRow(NamedTuple):
    sequence: int
    hash: bytes
    previous_hash: bytes
    closed_at: datetime
    protocol_version: int
    transaction_count: int
    successful_transaction_count: int
    operation_count: int
    state_change_count: int
    ingested_at: datetime


_FIELDS = ", ".join(f"l.{name}" for name in LedgerRow._fields)


async def by_sequence(database: Reader, sequence: int) -> LedgerRow | None:
    statement = f"SELECT {_FIELDS} FROM ledgers l WHERE l.sequence = %(sequence)s::bigint"
    rows = await database.fetch("ledger_by_sequence", statement, {"sequence": sequence}, LedgerRow._make)
    return rows[0] if rows else None


def whole(window: Window) -> Listing:
    """The ledgers within the window's bounds."""
    given = {
        "since": ("l.closed_at >= %(since)s", window.since),
        "until": ("l.closed_at <= %(until)s", window.until),
        "from_ledger": ("l.sequence >= %(from_ledger)s::bigint", window.from_ledger),
        "to_ledger": ("l.sequence <= %(to_ledger)s::bigint", window.to_ledger),
    }
    values: dict[str, Any] = {name: value for name, (_, value) in given.items() if value is not None}
    return Listing("ledgers", "ledgers l", [given[name][0] for name in values], values)


async def listed(database: Reader, listing: Listing, page: Page) -> Sequence[LedgerRow]:
    """A page of ledgers by sequence."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*listing.conditions, *beyond(page, ("l.sequence",), values)]
    statement = f"SELECT {_FIELDS} FROM ledgers l {where(conditions)} {order(('l.sequence',), page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, LedgerRow._make)
