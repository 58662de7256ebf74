"""Reads of claimable balances: what there is to claim, who may, and what became of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import KeyPage, Page
from api.queries.parts import Listing, Window, order, timed_beyond, where, within


class ClaimableBalanceRow(NamedTuple):
    balance_id: str
    asset: str
    amount: int
    flags: int
    sponsor_account_id: bytes | None
    creator_account_id: bytes | None
    created_ledger: int | None
    created_at: datetime | None
    last_modified_ledger: int


class ClaimantRow(NamedTuple):
    balance_id: str
    account_id: bytes
    predicate: dict[str, Any]


class EventRow(NamedTuple):
    to_id: int
    operation_id: int
    event_id: int
    ledger_created_at: datetime
    ledger_number: int
    ingested_at: datetime
    balance_id: str
    kind: str
    account_id: bytes
    asset: str
    amount: int


EVENT_KEY: Final = ("x.to_id", "x.operation_id", "x.event_id")
_FIELDS: Final = ", ".join(f"b.{name}" for name in ClaimableBalanceRow._fields)
_EVENT_FIELDS: Final = ", ".join(f"x.{name}" for name in EventRow._fields)


async def by_ids(database: Reader, balance_ids: Sequence[str]) -> dict[str, ClaimableBalanceRow]:
    """Those of the balances that still exist, by id."""
    statement = f"SELECT {_FIELDS} FROM claimable_balances b WHERE b.balance_id = ANY(%(ids)s::text[])"
    rows = await database.fetch("claimable_balances_by_id", statement, {"ids": list(balance_ids)}, ClaimableBalanceRow._make)
    return {row.balance_id: row for row in rows}


async def claimants(database: Reader, balance_ids: Sequence[str]) -> dict[str, list[ClaimantRow]]:
    """Who may claim each balance, by its id."""
    statement = (
        "SELECT c.balance_id, c.account_id, c.predicate FROM claimable_balance_claimants c "
        "WHERE c.balance_id = ANY(%(ids)s::text[]) ORDER BY c.balance_id, c.account_id"
    )
    found: dict[str, list[ClaimantRow]] = defaultdict(list)
    for row in await database.fetch("claimants", statement, {"ids": list(balance_ids)}, ClaimantRow._make):
        found[row.balance_id].append(row)
    return found


def pending(account_id: bytes) -> Listing:
    """The balances that an account may claim, now or when its predicate allows it."""
    return Listing(
        "claimable_balances_of_claimant",
        "claimable_balance_claimants c",
        ["c.account_id = %(account)s"],
        {"account": account_id},
    )


async def page_of_pending(database: Reader, listing: Listing, page: KeyPage) -> Sequence[ClaimableBalanceRow]:
    """A page of `pending`, by balance id."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = list(listing.conditions)
    if page.cursor is not None:
        values["key"] = page.cursor[0]
        conditions.append(f"c.balance_id {'>' if page.forward else '<'} %(key)s")
    by_id = ("c.balance_id",)
    statement = (
        f"WITH page AS MATERIALIZED (SELECT c.balance_id FROM {listing.source} {where(conditions)} {order(by_id, page)} "
        f"LIMIT %(fetch)s) SELECT {_FIELDS} FROM page c JOIN claimable_balances b USING (balance_id) {order(by_id, page)}"
    )
    return await database.fetch(listing.name, statement, values, ClaimableBalanceRow._make)


def events_of_account(account_id: bytes, window: Window) -> Listing:
    """What an account created, claimed, or took back."""
    values: dict[str, Any] = {"account": account_id}
    conditions = ["x.account_id = %(account)s", *within(window, "x.ledger_created_at", "x.to_id", values)]
    return Listing("claimable_balance_events_of_account", "claimable_balance_events x", conditions, values)


async def page_of_events(database: Reader, listing: Listing, page: Page) -> Sequence[EventRow]:
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*listing.conditions, *timed_beyond(page, "x.ledger_created_at", EVENT_KEY, values)]
    statement = f"SELECT {_EVENT_FIELDS} FROM {listing.source} {where(conditions)} {order(EVENT_KEY, page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, EventRow._make)
