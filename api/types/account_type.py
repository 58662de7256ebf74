"""The Account type: its history by page, filter and time, and what it has now."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from uuid import UUID

import strawberry

from api import balances, rendering
from api.context import Context, Info, selected
from api.errors import ClientError, Code, bad_input
from api.paging import ALLOWANCE, BALANCE, ID, NAME, TIMED_CHANGE, TIMED_ID, Page, PageArguments
from api.queries import claimable_balances, market, operations, state_changes, trades, transactions
from api.queries.accounts import AccountKey, account_key
from api.queries.balances import allowances, page_of_allowances
from api.queries.parts import Window
from api.queries.state_changes import Filter
from api.scalars import Int64, Time, UInt32
from api.types import (
    balance_types,
    change_types,
    claimable_types,
    market_types,
    operation_type,
    paged,
    transaction_type,
)
from api.types.described import described
from api.types.later import (
    LaterAllowance,
    LaterBalance,
    LaterClaimableBalance,
    LaterClaimableBalanceEvent,
    LaterOffer,
    LaterOperations,
    LaterStateChanges,
    LaterTrade,
    LaterTransactions,
)
from schemas import strkey

_WITH_HISTORY = strkey.WITH_ID | {strkey.ACCOUNT, strkey.CONTRACT}
_BEHIND = {strkey.MUXED: strkey.ACCOUNT, strkey.MUXED_CONTRACT: strkey.CONTRACT}
_HASH_CHARACTERS = 64
_SHOWN_CHARACTERS = 200


@strawberry.input(description="All conditions given must hold. Unknown text matches nothing.")
class AccountStateChangeFilterInput:
    transaction_hash: str | None = None
    operation_id: Int64 | None = None
    category: str | None = None
    reason: str | None = None
    token_id: str | None = strawberry.field(default=None, description="Contract address of the token.")
    asset: str | None = strawberry.field(default=None, description="The token by its asset: native or CODE:ISSUER.")
    to_muxed_id: str | None = strawberry.field(
        default=None, description="Id of the muxed destination, or the memo id of a custom token, in decimal."
    )
    counterparty: str | None = strawberry.field(default=None, description="An address that takes part in the same operation.")


@strawberry.type(
    description="An account or contract. Any valid address has one, with empty lists if it was never seen. An M address "
    "has its own history, and holds what the account behind it holds."
)
class Account:
    key: strawberry.Private[AccountKey]
    address: str

    @described("What it took part in. `counterparty`: an address that takes part too.")
    async def transactions(
        self,
        info: Info,
        since: Time | None = None,
        until: Time | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
        counterparty: str | None = None,
    ) -> LaterTransactions | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        window = window_of(page, since, until, from_ledger, to_ledger)
        listing = transactions.of_account(self.key, window, _party(counterparty))
        rows = await transactions.page_of_account(info.context.database, listing, page, selected(info))
        counter = paged.counter(info.context, listing)
        return transaction_type.connection(page, rows, counter, account=self.key)

    @described("What it took part in. `counterparty`: an address that takes part too.")
    async def operations(
        self,
        info: Info,
        since: Time | None = None,
        until: Time | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
        counterparty: str | None = None,
    ) -> LaterOperations | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        window = window_of(page, since, until, from_ledger, to_ledger)
        listing = operations.of_account(self.key, window, _party(counterparty))
        rows = await operations.page_of_account(info.context.database, listing, page, selected(info))
        return operation_type.connection(page, rows, paged.counter(info.context, listing), timed=True)

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
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
    ) -> LaterStateChanges | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_CHANGE)
        window = window_of(page, since, until, from_ledger, to_ledger)
        listing = state_changes.of_account(self.key, window, chosen(info.context, filter))
        rows = await state_changes.page_of_account(info.context.database, listing, page, selected(info))
        return change_types.connection(page, rows, paged.counter(info.context, listing), timed=True)

    @described("What it holds now: native, trustlines, custom tokens, pool shares; of a contract, asset and custom tokens.")
    async def balances(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> paged.Connection[LaterBalance]:
        page = info.context.key_page(PageArguments(first, after, last, before), BALANCE)
        return await balances.page(info.context, holder(self.key), page)

    @described("What others may spend of its custom tokens, as of the newest ledger.")
    async def sep41_allowances(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> paged.Connection[LaterAllowance]:
        page = info.context.key_page(PageArguments(first, after, last, before), ALLOWANCE)
        listing = allowances(holder(self.key))
        rows = await page_of_allowances(info.context.database, listing, page, _allowance_place(page.cursor))
        counter = paged.counter(info.context, listing)
        return paged.connection(page, rows, balance_types.allowance_cursor, balance_types.allowance, counter)

    @described("The balances it may claim, now or later.")
    async def claimable_balances(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> paged.Connection[LaterClaimableBalance]:
        page = info.context.key_page(PageArguments(first, after, last, before), NAME)
        listing = claimable_balances.pending(holder(self.key))
        rows = await claimable_balances.page_of_pending(info.context.database, listing, page)
        node = partial(claimable_types.claimable_balance, info.context)
        counter = paged.counter(info.context, listing)
        return paged.connection(page, rows, claimable_types.balance_cursor, node, counter)

    @described("The claimable balances it created, claimed, or took back.")
    async def claimable_balance_events(
        self,
        info: Info,
        since: Time | None = None,
        until: Time | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> paged.Connection[LaterClaimableBalanceEvent]:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_CHANGE)
        window = window_of(page, since, until, from_ledger, to_ledger)
        listing = claimable_balances.events_of_account(holder(self.key), window)
        rows = await claimable_balances.page_of_events(info.context.database, listing, page)
        node = partial(claimable_types.event, info.context)
        counter = paged.counter(info.context, listing)
        return paged.connection(page, rows, claimable_types.event_cursor, node, counter)

    @described("Its open offers.")
    async def offers(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> paged.Connection[LaterOffer]:
        page = info.context.page(PageArguments(first, after, last, before), ID)
        listing = market.offers_of_account(holder(self.key))
        rows = await market.page_of_offers(info.context.database, listing, page)
        node = partial(market_types.offer, info.context)
        return paged.connection(page, rows, market_types.offer_cursor, node, paged.counter(info.context, listing))

    @described("Its trades, as taker or maker. `asset`: native or CODE:ISSUER, on either side.")
    async def trades(
        self,
        info: Info,
        asset: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> paged.Connection[LaterTrade]:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_CHANGE)
        window = window_of(page, since, until, from_ledger, to_ledger)
        listing = trades.of_account(holder(self.key), window, asset)
        rows = await trades.page_of_account(info.context.database, listing, page)
        node = partial(market_types.trade, info.context)
        return paged.connection(page, rows, market_types.trade_cursor, node, paged.counter(info.context, listing))


def holder(key: AccountKey) -> bytes:
    """Who holds what an address has: the account behind an M address, the contract behind a W address."""
    return bytes((_BEHIND.get(key.account_id[0], key.account_id[0]),)) + key.account_id[1:]


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
        raise ClientError(Code.INVALID_ADDRESS, text, address=address[:_SHOWN_CHARACTERS]) from error
    return Account(key=account_key(binary), address=address)


def transaction_hash(text: str) -> bytes:
    """The 32 bytes of a hash in hexadecimal. INVALID_TRANSACTION_HASH for anything else."""
    try:
        digest = bytes.fromhex(text) if len(text) == _HASH_CHARACTERS else b""
    except ValueError:
        digest = b""
    if len(digest) * 2 != _HASH_CHARACTERS:
        message = "invalid transaction hash: 64 hexadecimal digits are expected"
        raise ClientError(Code.INVALID_TRANSACTION_HASH, message, hash=text[:_SHOWN_CHARACTERS])
    return digest


def window_of(
    page: Page, since: datetime | None, until: datetime | None, from_ledger: int | None, to_ledger: int | None
) -> Window:
    """BAD_USER_INPUT for bounds with nothing between."""
    if since is not None and until is not None and until < since:
        raise bad_input("until must not be earlier than since")
    if from_ledger is not None and to_ledger is not None and to_ledger < from_ledger:
        raise bad_input("toLedger must not be less than fromLedger")
    return Window(page, since, until, from_ledger, to_ledger)


def _party(counterparty: str | None) -> AccountKey | None:
    return None if counterparty is None else account_at(counterparty).key


def chosen(context: Context, given: AccountStateChangeFilterInput | None) -> Filter:
    if given is None:
        return Filter()
    return Filter(
        transaction_hash=None if given.transaction_hash is None else transaction_hash(given.transaction_hash),
        operation_id=given.operation_id,
        category=given.category,
        reason=given.reason,
        token_ids=tuple(_token(text) for text in (given.token_id, _token_of(context, given.asset)) if text is not None),
        to_muxed_id=given.to_muxed_id,
        counterparty=_party(given.counterparty),
    )


def _token(text: str) -> bytes:
    """The stored id of a token. INVALID_ADDRESS for anything but a C address."""
    if not strkey.is_contract(text):
        raise ClientError(Code.INVALID_ADDRESS, "invalid token: a C address is expected", address=text[:_SHOWN_CHARACTERS])
    return strkey.decode(text)


def _token_of(context: Context, asset: str | None) -> str | None:
    try:
        return None if asset is None else rendering.token_of(context.network_id, asset)
    except ValueError as error:
        raise bad_input("asset must be native or CODE:ISSUER") from error


def _allowance_place(cursor: tuple[str, ...] | None) -> tuple[bytes, str] | None:
    if cursor is None:
        return None
    spender, contract = cursor
    try:
        return strkey.storage_form(strkey.decode(spender)).account_id, str(UUID(contract))
    except ValueError as error:
        raise bad_input("invalid cursor") from error
