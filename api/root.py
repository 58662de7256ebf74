"""The Query type (spec/api.md 1.1, 2); from `ledger` on it is ours."""

from __future__ import annotations

import re
from functools import partial

import strawberry

from api import balances
from api.context import Info, ahead, selected
from api.errors import ClientError, Code, bad_input
from api.loaders import Key
from api.paging import ID, NAME, TIMED_CHANGE, TIMED_ID, PageArguments
from api.queries import ledgers, market, operations, state_changes, transactions
from api.queries.parts import Parent
from api.scalars import Int64, Time, UInt32
from api.types import (
    account_type,
    balance_types,
    change_types,
    claimable_types,
    connections,
    ledger_type,
    market_types,
    operation_type,
    paged,
    transaction_type,
)
from api.types.account_type import window_of
from api.types.described import described

_POOL_ID = re.compile("[0-9a-f]{64}")
_BALANCE_ID = re.compile("[0-9a-f]{72}")
_POOL_SHARES = "`poolShares`: with shares of liquidity pools, which clients of the reference do not know."


@strawberry.type
class Query:
    @described("By the hash of the transaction or, for a fee bump, of its inner one.")
    async def transaction_by_hash(self, info: Info, hash: str) -> transaction_type.Transaction | None:
        digest = account_type.transaction_hash(hash)
        context, fields = info.context, selected(info, ())
        shape = ahead(info, "operations", ID)
        if shape is None:
            row = await transactions.by_hash(context.database, digest, fields)
        else:
            row, children = await transactions.by_hash_with_operations(context.database, digest, fields, *shape)
            if row is not None:
                key = Key(Parent(row.to_id, row.ledger_created_at), shape)
                context.loaders.operations_of_transaction.prime(key, children)
        if row is None:
            raise ClientError(Code.NOT_FOUND, "transaction not found", hash=hash)
        return transaction_type.transaction(row)

    @strawberry.field
    async def transactions(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
    ) -> connections.TransactionConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        window = window_of(page, since, until, from_ledger, to_ledger)
        rows = await transactions.listed(info.context.database, window, selected(info))
        return transaction_type.connection(page, rows, paged.counter(info.context, transactions.whole(window)))

    @described("The account with a G, C or M address, whether it was ever seen or not.")
    def account_by_address(self, address: str) -> account_type.Account | None:
        return account_type.account_at(address)

    @strawberry.field
    async def operations(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
    ) -> connections.OperationConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        window = window_of(page, since, until, from_ledger, to_ledger)
        rows = await operations.listed(info.context.database, window, selected(info))
        counter = paged.counter(info.context, operations.whole(window))
        return operation_type.connection(page, rows, counter, timed=True)

    @strawberry.field
    async def operation_by_id(self, info: Info, id: Int64) -> operation_type.Operation | None:
        row = await operations.by_id(info.context.database, id, selected(info, ()))
        if row is None:
            raise ClientError(Code.NOT_FOUND, "operation not found", id=str(id))
        return operation_type.operation(row)

    @strawberry.field
    async def state_changes(
        self,
        info: Info,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        since: Time | None = None,
        until: Time | None = None,
        from_ledger: UInt32 | None = None,
        to_ledger: UInt32 | None = None,
    ) -> connections.StateChangeConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_CHANGE)
        window = window_of(page, since, until, from_ledger, to_ledger)
        rows = await state_changes.listed(info.context.database, window, selected(info))
        counter = paged.counter(info.context, state_changes.whole(window))
        return change_types.connection(page, rows, counter, timed=True)

    @described(f"What an account (G) or contract (C) holds now. {_POOL_SHARES}")
    async def balances_by_account_address(
        self, info: Info, address: str, pool_shares: bool = False
    ) -> list[balance_types.Balance]:
        return await balances.of_address(info.context, address, pool_shares)

    @described(f"In the order of the addresses, each of them once. {_POOL_SHARES}")
    async def balances_by_account_addresses(
        self, info: Info, addresses: list[str], pool_shares: bool = False
    ) -> list[balance_types.AccountBalances]:
        return await balances.of_addresses(info.context, addresses, pool_shares)

    @described("Null when the ledger was not ingested.")
    async def ledger(self, info: Info, sequence: UInt32) -> ledger_type.Ledger | None:
        row = await ledgers.by_sequence(info.context.database, sequence)
        return None if row is None else ledger_type.ledger(row)

    @described("The ledgers that were ingested, by sequence.")
    async def ledgers(
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
    ) -> paged.Connection[ledger_type.Ledger]:
        page = info.context.page(PageArguments(first, after, last, before), ID)
        listing = ledgers.whole(window_of(page, since, until, from_ledger, to_ledger))
        rows = await ledgers.listed(info.context.database, listing, page)
        counter = paged.counter(info.context, listing)
        return paged.connection(page, rows, ledger_type.cursor, ledger_type.ledger, counter)

    @described("By its id in hexadecimal (72 digits). Null when there is nothing left to claim.")
    async def claimable_balance(self, info: Info, id: str) -> claimable_types.ClaimableBalance | None:
        if not _BALANCE_ID.fullmatch(id):
            raise bad_input("a claimable balance's id has 72 hexadecimal digits, in lower case")
        row = await info.context.loaders.claimable_balance.load(id)
        return None if row is None else claimable_types.claimable_balance(info.context, row)

    @described("Null when it is not open.")
    async def offer(self, info: Info, id: Int64) -> market_types.Offer | None:
        row = await market.offer_by_id(info.context.database, id)
        return None if row is None else market_types.offer(info.context, row)

    @described("By its id in hexadecimal (64 digits). Null when there is none.")
    async def liquidity_pool(self, info: Info, id: str) -> market_types.LiquidityPool | None:
        if not _POOL_ID.fullmatch(id):
            raise bad_input("a pool's id has 64 hexadecimal digits, in lower case")
        row = await info.context.loaders.liquidity_pool.load(id)
        return None if row is None else market_types.pool(info.context, row)

    @described("All liquidity pools, by id.")
    async def liquidity_pools(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> paged.Connection[market_types.LiquidityPool]:
        page = info.context.key_page(PageArguments(first, after, last, before), NAME)
        listing = market.pools()
        rows = await market.page_of_pools(info.context.database, listing, page)
        node = partial(market_types.pool, info.context)
        return paged.connection(page, rows, market_types.pool_cursor, node, paged.counter(info.context, listing))
