"""The Account type: its history by page, filter and time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import strawberry

from api import rendering
from api.context import Info, selected
from api.errors import ClientError, Code, bad_input
from api.paging import TIMED_CHANGE, TIMED_ID, PageArguments
from api.queries import operations, state_changes, transactions
from api.queries.accounts import AccountKey, AccountPage, account_key
from api.queries.state_changes import Filter
from api.scalars import Int64, Time
from api.types import change_types, operation_type, transaction_type
from api.types.later import LaterOperations, LaterStateChanges, LaterTransactions
from schemas import strkey

_WITH_HISTORY = strkey.WITH_ID | {strkey.ACCOUNT, strkey.CONTRACT}
_HASH_CHARACTERS = 64


@strawberry.input(description="All conditions given must hold. Unknown text matches nothing.")
class AccountStateChangeFilterInput:
    transaction_hash: str | None = None
    operation_id: Int64 | None = None
    category: str | None = None
    reason: str | None = None


@strawberry.type(description="An account or contract. Any valid address has one, with empty lists if it was never seen.")
class Account:
    key: strawberry.Private[AccountKey]
    address: str

    @strawberry.field
    async def transactions(
        self,
        info: Info,
        since: Time | None = None,
        until: Time | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> LaterTransactions | None:
        wanted = _account_page(info, PageArguments(first, after, last, before), TIMED_ID, since, until)
        rows = await transactions.of_account(info.context.database, self.key, wanted, selected(info))
        return transaction_type.connection(wanted.page, rows)

    @strawberry.field
    async def operations(
        self,
        info: Info,
        since: Time | None = None,
        until: Time | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> LaterOperations | None:
        wanted = _account_page(info, PageArguments(first, after, last, before), TIMED_ID, since, until)
        rows = await operations.of_account(info.context.database, self.key, wanted, selected(info))
        return operation_type.connection(wanted.page, rows, timed=True)

    @strawberry.field
    async def state_changes(
        self,
        info: Info,
        filter: AccountStateChangeFilterInput | None = None,
        since: Time | None = None,
        until: Time | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> LaterStateChanges | None:
        wanted = _account_page(info, PageArguments(first, after, last, before), TIMED_CHANGE, since, until)
        rows = await state_changes.of_account(info.context.database, self.key, wanted, _chosen(filter), selected(info))
        return change_types.connection(wanted.page, rows, timed=True)


def account(key: AccountKey) -> Account:
    return Account(key=key, address=rendering.muxed_address(key.account_id, key.muxed_id))


def accounts(keys: Iterable[AccountKey]) -> list[Account]:
    return [account(key) for key in keys]


def account_at(address: str) -> Account:
    """The account with this G, C or M address. INVALID_ADDRESS for anything else."""
    try:
        binary = strkey.decode(address)
        if binary[0] not in _WITH_HISTORY:
            raise strkey.StrKeyError(f"no account has the address {address}")
    except strkey.StrKeyError as error:
        text = "invalid address: a G, C or M address is expected"
        raise ClientError(Code.INVALID_ADDRESS, text, address=address[:200]) from error
    return Account(key=account_key(binary), address=address)


def transaction_hash(text: str) -> bytes:
    """The 32 bytes of a hash in hexadecimal. INVALID_TRANSACTION_HASH for anything else."""
    try:
        digest = bytes.fromhex(text) if len(text) == _HASH_CHARACTERS else b""
    except ValueError:
        digest = b""
    if len(digest) * 2 != _HASH_CHARACTERS:
        message = "invalid transaction hash: 64 hexadecimal digits are expected"
        raise ClientError(Code.INVALID_TRANSACTION_HASH, message, hash=text[:200])
    return digest


def _chosen(given: AccountStateChangeFilterInput | None) -> Filter:
    if given is None:
        return Filter()
    digest = None if given.transaction_hash is None else transaction_hash(given.transaction_hash)
    return Filter(digest, given.operation_id, given.category, given.reason)


def _account_page(info: Info, given: PageArguments, width: int, since: datetime | None, until: datetime | None) -> AccountPage:
    if since is not None and until is not None and until < since:
        raise bad_input("until must not be earlier than since")
    return AccountPage(info.context.page(given, width), since, until)
