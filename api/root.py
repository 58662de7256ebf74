"""The Query type (spec/api.md 1.1, 2)."""

from __future__ import annotations

import strawberry

from api import balances
from api.context import Info, selected
from api.errors import ClientError, Code
from api.paging import TIMED_CHANGE, TIMED_ID, PageArguments
from api.queries import operations, state_changes, transactions
from api.scalars import Int64
from api.types import account_type, balance_types, change_types, connections, operation_type, transaction_type
from api.types.described import described


@strawberry.type
class Query:
    @described("By the hash of the transaction or, for a fee bump, of its inner one.")
    async def transaction_by_hash(self, info: Info, hash: str) -> transaction_type.Transaction | None:
        digest = account_type.transaction_hash(hash)
        row = await transactions.by_hash(info.context.database, digest, selected(info, ()))
        if row is None:
            raise ClientError(Code.NOT_FOUND, "transaction not found", hash=hash)
        return transaction_type.transaction(row)

    @strawberry.field
    async def transactions(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> connections.TransactionConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        return transaction_type.connection(page, await transactions.listed(info.context.database, page, selected(info)))

    @described("The account with a G, C or M address, whether it was ever seen or not.")
    def account_by_address(self, address: str) -> account_type.Account | None:
        return account_type.account_at(address)

    @strawberry.field
    async def operations(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> connections.OperationConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_ID)
        rows = await operations.listed(info.context.database, page, selected(info))
        return operation_type.connection(page, rows, timed=True)

    @strawberry.field
    async def operation_by_id(self, info: Info, id: Int64) -> operation_type.Operation | None:
        row = await operations.by_id(info.context.database, id, selected(info, ()))
        if row is None:
            raise ClientError(Code.NOT_FOUND, "operation not found", id=str(id))
        return operation_type.operation(row)

    @strawberry.field
    async def state_changes(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> connections.StateChangeConnection | None:
        page = info.context.page(PageArguments(first, after, last, before), TIMED_CHANGE)
        rows = await state_changes.listed(info.context.database, page, selected(info))
        return change_types.connection(page, rows, timed=True)

    @described("What an account (G) or contract (C) holds now.")
    async def balances_by_account_address(self, info: Info, address: str) -> list[balance_types.Balance]:
        return await balances.of_address(info.context, address)

    @strawberry.field
    async def balances_by_account_addresses(self, info: Info, addresses: list[str]) -> list[balance_types.AccountBalances]:
        return await balances.of_addresses(info.context, addresses)
