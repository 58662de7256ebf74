"""Reads of the participant tables, and how an account is named in a query."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.queries.parts import Parent, parallel
from schemas import strkey

_SIGNED_LIMIT: Final = 1 << 63


class AccountKey(NamedTuple):
    """An account as the tables keep it: 33 bytes, and the id of an M address in two's complement."""

    account_id: bytes
    muxed_id: int | None = None


class LinkRow(NamedTuple):
    parent_id: int
    account_id: bytes
    muxed_id: int


def account_key(address: bytes) -> AccountKey:
    """The key of a binary address. StrKeyError for one that has no storage form."""
    form = strkey.storage_form(address)
    muxed = form.muxed_id
    if muxed is not None and muxed >= _SIGNED_LIMIT:
        muxed -= 2 * _SIGNED_LIMIT
    return AccountKey(form.account_id, muxed)


def account_conditions(account: AccountKey, alias: str, values: dict[str, Any]) -> list[str]:
    values["account"] = account.account_id
    if account.muxed_id is None:
        return [f"{alias}.account_id = %(account)s"]
    values["muxed"] = account.muxed_id
    return [f"{alias}.account_id = %(account)s", f"{alias}.account_muxed_id = %(muxed)s::bigint"]


def together(
    with_account: AccountKey | None, links: str, identity: str, row: str, closed_at: str, values: dict[str, Any]
) -> list[str]:
    """The condition that this account takes part too, by the link table `links` with ids `identity`; none without an account."""
    if with_account is None:
        return []
    values["counterparty"] = with_account.account_id
    muxed = ""
    if with_account.muxed_id is not None:
        values["counterparty_muxed"] = with_account.muxed_id
        muxed = " AND c.account_muxed_id = %(counterparty_muxed)s::bigint"
    condition = f"c.account_id = %(counterparty)s{muxed} AND c.{identity} = {row} AND c.ledger_created_at = {closed_at}"
    return [f"EXISTS (SELECT FROM {links} c WHERE {condition})"]


async def of_transactions(database: Reader, parents: Sequence[Parent]) -> dict[int, list[AccountKey]]:
    """The accounts that take part in each transaction, by to_id, ordered by address."""
    statement = (
        "SELECT l.tx_to_id, l.account_id, l.account_muxed_id FROM transactions_accounts l "
        "WHERE l.tx_to_id = ANY(%(ids)s::bigint[]) AND l.ledger_created_at = ANY(%(times)s::timestamptz[])"
    )
    return _by_parent(await database.fetch("accounts_of_transactions", statement, _parents(parents), LinkRow._make))


async def of_operations(database: Reader, parents: Sequence[Parent]) -> dict[int, list[AccountKey]]:
    """The accounts that take part in each operation, by its id, ordered by address."""
    statement = (
        "SELECT l.operation_id, l.account_id, l.account_muxed_id FROM operations_accounts l "
        "WHERE l.operation_id = ANY(%(ids)s::bigint[]) AND l.ledger_created_at = ANY(%(times)s::timestamptz[])"
    )
    return _by_parent(await database.fetch("accounts_of_operations", statement, _parents(parents), LinkRow._make))


def _parents(parents: Sequence[Parent]) -> dict[str, Any]:
    values = parallel(parents)
    return {"ids": values["ids"], "times": sorted(set(values["times"]))}


def _by_parent(rows: Sequence[LinkRow]) -> dict[int, list[AccountKey]]:
    grouped: dict[int, list[AccountKey]] = defaultdict(list)
    for row in sorted(rows):
        muxed = row.muxed_id if row.account_id[0] in strkey.WITH_ID else None
        grouped[row.parent_id].append(AccountKey(row.account_id, muxed))
    return grouped
