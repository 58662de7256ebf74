"""Reads of `state_changes`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from operator import attrgetter
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
from schemas.state_changes import REASONS, Reason


class StateChangeRow(NamedTuple):
    to_id: int
    operation_id: int
    state_change_id: int
    ledger_created_at: datetime
    state_change_category: str
    state_change_reason: str
    ledger_number: int
    ingested_at: datetime
    account_id: bytes
    account_muxed_id: int | None
    token_id: bytes | None
    amount: str | None
    to_muxed_id: str | None
    signer_account_id: bytes | None
    signer_payload: bytes | None
    signer_weight_old: int | None
    signer_weight_new: int | None
    spender_account_id: bytes | None
    sponsored_account_id: bytes | None
    sponsor_account_id: bytes | None
    creator_account_id: bytes | None
    destination_account_id: bytes | None
    claimable_balance_id: str | None
    liquidity_pool_id: str | None
    sponsored_data: str | None
    data_entry_name: str | None
    threshold_old: int | None
    threshold_new: int | None
    trustline_limit_old: int | None
    trustline_limit_new: int | None
    flags: int | None
    key_value: dict[str, Any] | None


NO_OPERATION: Final = 0  # the operation_id of a transaction's fee
KEY: Final = ("x.to_id", "x.operation_id", "x.state_change_id")
WHOLE_KEY: Final = ("x.ledger_created_at", *KEY)

COLUMNS: Final = Columns(
    StateChangeRow._fields,
    {
        "account": ("account_muxed_id",),
        "tokenId": ("token_id",),
        "sponsoredTrustline": ("token_id",),
        "amount": ("amount",),
        "toMuxedId": ("to_muxed_id",),
        "signerAddress": ("signer_account_id", "signer_payload"),
        "signerWeights": ("signer_weight_old", "signer_weight_new"),
        "oldWeight": ("signer_weight_old",),
        "newWeight": ("signer_weight_new",),
        "spender": ("spender_account_id",),
        "sponsoredAddress": ("sponsored_account_id",),
        "sponsorAddress": ("sponsor_account_id",),
        "funderAddress": ("creator_account_id",),
        "creatorAddress": ("creator_account_id",),
        "destinationAddress": ("destination_account_id",),
        "claimableBalanceId": ("claimable_balance_id",),
        "liquidityPoolId": ("liquidity_pool_id",),
        "sponsoredData": ("sponsored_data",),
        "name": ("data_entry_name",),
        "thresholds": ("threshold_old", "threshold_new"),
        "oldThreshold": ("threshold_old",),
        "newThreshold": ("threshold_new",),
        "limit": ("trustline_limit_old", "trustline_limit_new"),
        "oldLimit": ("trustline_limit_old",),
        "newLimit": ("trustline_limit_new",),
        "flags": ("flags",),
        "keyValue": ("key_value",),
        "oldValue": ("key_value",),
        "newValue": ("key_value",),
        "expirationLedger": ("key_value",),
    },
)


class Filter(NamedTuple):
    """What an account's state changes are narrowed to; all of it must hold."""

    transaction_hash: bytes | None = None
    operation_id: int | None = None
    category: str | None = None
    reason: str | None = None
    token_ids: tuple[bytes, ...] = ()
    to_muxed_id: str | None = None
    counterparty: AccountKey | None = None


# Categories that a reason occurs in.
_CATEGORIES: Final[dict[str, tuple[str, ...]]] = {
    reason: tuple(category for category, reasons in REASONS.items() if reason in reasons) for reason in Reason
}

OF_TRANSACTION: Final = ("x.ledger_created_at = p.closed_at", "x.to_id = p.id")
OF_OPERATION: Final = (
    "x.ledger_created_at = p.closed_at",
    f"x.to_id = p.id & ~{toid.OPERATION_MASK}::bigint",
    "x.operation_id = p.id",
)


def whole(window: Window) -> Listing:
    """All state changes within the window's bounds. Their order is the primary key's, which begins with the close time: bounds of
    the ledger become bounds of the time."""
    values: dict[str, Any] = {}
    conditions = within(window, "x.ledger_created_at", "x.to_id", values)
    if window.from_ledger is not None:
        conditions.append(f"x.ledger_created_at >= {_closed_at('>= %(from_ledger)s::bigint ORDER BY l.sequence')}")
        values["from_ledger"] = window.from_ledger
    if window.to_ledger is not None:
        conditions.append(f"x.ledger_created_at <= {_closed_at('<= %(to_ledger)s::bigint ORDER BY l.sequence DESC')}")
        values["to_ledger"] = window.to_ledger
    return Listing("state_changes", "state_changes x", conditions, values)


def _closed_at(chosen: str) -> str:
    return f"(SELECT l.closed_at FROM ledgers l WHERE l.sequence {chosen} LIMIT 1)"


async def listed(database: Reader, window: Window, selected: frozenset[str]) -> Sequence[StateChangeRow]:
    """A page of all state changes."""
    page = window.page
    name, source, conditions, values = whole(window)
    values["fetch"] = page.fetch
    conditions += _whole_beyond(page, values)
    statement = (
        f"SELECT {projection(COLUMNS, selected, 'x')} FROM {source} {where(conditions)} {order(WHOLE_KEY, page)} LIMIT %(fetch)s"
    )
    return await database.fetch(name, statement, values, StateChangeRow._make)


def of_account(account: AccountKey, window: Window, chosen: Filter) -> Listing:
    """The state changes of an account that pass the filter."""
    values: dict[str, Any] = {}
    conditions = account_conditions(account, "x", values)
    conditions += within(window, "x.ledger_created_at", "x.to_id", values)
    conditions += _filtered(chosen, values)
    return Listing("state_changes_of_account", "state_changes x", conditions, values)


async def page_of_account(database: Reader, listing: Listing, page: Page, selected: frozenset[str]) -> Sequence[StateChangeRow]:
    """A page of `of_account`."""
    name, source, conditions, _ = listing
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*conditions, *timed_beyond(page, "x.ledger_created_at", KEY, values)]
    statement = (
        f"SELECT {projection(COLUMNS, selected, 'x')} FROM {source} {where(conditions)} {order(KEY, page)} LIMIT %(fetch)s"
    )
    return await database.fetch(name, statement, values, StateChangeRow._make)


async def of_account_in_transactions(
    database: Reader, account: AccountKey, parents: Sequence[Parent], selected: frozenset[str]
) -> dict[int, list[StateChangeRow]]:
    """The state changes of the account in each transaction, by to_id."""
    values: dict[str, Any] = parallel(parents)
    conditions = [*account_conditions(account, "x", values), *OF_TRANSACTION]
    statement = (
        f"SELECT s.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT {projection(COLUMNS, selected, 'x')} FROM state_changes x "
        f"{where(conditions)} OFFSET 0) s"
    )
    rows = await database.fetch("state_changes_of_account_in_transactions", statement, values, StateChangeRow._make)
    return _grouped(rows, True, attrgetter("to_id"))


async def of_transactions(
    database: Reader, parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> dict[int, list[StateChangeRow]]:
    """A page of the state changes of each transaction, by to_id."""
    rows = await _of_parents(database, "state_changes_of_transactions", OF_TRANSACTION, parents, page, selected)
    return _grouped(rows, page.forward, attrgetter("to_id"))


async def of_operations(
    database: Reader, parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> dict[int, list[StateChangeRow]]:
    """A page of the state changes of each operation, by its id."""
    rows = await _of_parents(database, "state_changes_of_operations", OF_OPERATION, parents, page, selected)
    return _grouped(rows, page.forward, attrgetter("operation_id"))


async def _of_parents(
    database: Reader, name: str, of_parent: tuple[str, ...], parents: Sequence[Parent], page: Page, selected: frozenset[str]
) -> Sequence[StateChangeRow]:
    values: dict[str, Any] = {**parallel(parents), "fetch": page.fetch}
    conditions = [*of_parent, *beyond(page, KEY, values)]
    # Without the fence the planner merges all chunks in key order, and looks into each for every parent.
    statement = (
        f"SELECT s.* FROM {among(parents)} CROSS JOIN LATERAL (SELECT * FROM ("
        f"SELECT {projection(COLUMNS, selected, 'x')} FROM state_changes x {where(conditions)} OFFSET 0) x "
        f"{order(KEY, page)} LIMIT %(fetch)s) s"
    )
    return await database.fetch(name, statement, values, StateChangeRow._make)


def _whole_beyond(page: Page, values: dict[str, Any]) -> list[str]:
    """The whole list is in the order of the primary key, which begins with the close time."""
    conditions = timed_beyond(page, "x.ledger_created_at", KEY, values)
    if conditions:
        keys = ", ".join(f"%(key{index})s::bigint" for index in range(len(KEY)))
        conditions[0] = f"({', '.join(WHOLE_KEY)}) {'>' if page.forward else '<'} (%(key_time)s, {keys})"
    return conditions


def _filtered(chosen: Filter, values: dict[str, Any]) -> list[str]:
    conditions = []
    if chosen.transaction_hash is not None:
        values["hash"] = chosen.transaction_hash
        conditions.append(
            "x.to_id IN (SELECT t.to_id FROM transactions t WHERE t.hash = %(hash)s "
            "UNION ALL SELECT t.to_id FROM transactions t WHERE t.inner_hash = %(hash)s)"
        )
    if chosen.operation_id is not None:
        values["operation"] = chosen.operation_id
        conditions.append("x.operation_id = %(operation)s::bigint")
        if chosen.operation_id != NO_OPERATION:
            conditions.append(f"x.to_id = %(operation)s::bigint & ~{toid.OPERATION_MASK}::bigint")
    if chosen.category is not None:
        values["category"] = chosen.category
        conditions.append("x.state_change_category = %(category)s")
    if chosen.reason is not None:
        values["reason"] = chosen.reason
        conditions.append("x.state_change_reason = %(reason)s")
        categories = _CATEGORIES.get(chosen.reason, ())
        if chosen.category is None and len(categories) == 1:  # lets the index of the rarer changes serve
            values["category"] = categories[0]
            conditions.append("x.state_change_category = %(category)s")
    for number, token_id in enumerate(chosen.token_ids):
        values[f"token{number}"] = token_id
        conditions.append(f"x.token_id = %(token{number})s")
    if chosen.to_muxed_id is not None:
        values["to_muxed_id"] = chosen.to_muxed_id
        conditions.append("x.to_muxed_id = %(to_muxed_id)s")
    conditions += together(
        chosen.counterparty, "operations_accounts", "operation_id", "x.operation_id", "x.ledger_created_at", values
    )
    return conditions


def _grouped(
    rows: Sequence[StateChangeRow], forward: bool, key: Callable[[StateChangeRow], int]
) -> dict[int, list[StateChangeRow]]:
    grouped: dict[int, list[StateChangeRow]] = defaultdict(list)
    for row in rows:
        grouped[key(row)].append(row)
    for group in grouped.values():
        group.sort(key=lambda row: row[:3], reverse=not forward)
    return grouped
