"""The Transaction type."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from api.context import Info, selected
from api.loaders import ChildShape, Key
from api.paging import CHANGE, ID, Page, PageArguments, encode_cursor, nanoseconds
from api.queries import counts
from api.queries.accounts import AccountKey
from api.queries.parts import Parent
from api.queries.transactions import TransactionRow
from api.scalars import Int64, Time, UInt32
from api.types import account_type, change_types, connections, operation_type, paged
from api.types.later import LaterAccount, LaterOperations, LaterStateChanges


@strawberry.type(description="A transaction of the ledger. A fee bump is one with its inner transaction.")
class Transaction:
    parent: strawberry.Private[Parent]
    hash: str
    inner_hash: str | None = strawberry.field(description="Hash of the inner transaction, null unless this is a fee bump.")
    id_string: str = strawberry.field(description="The transaction's total order id (SEP-35) in decimal.")
    envelope_xdr: str | None
    fee_charged: Int64
    fee_charged_string: str = strawberry.field(description="The fee in stroops in decimal.")
    result_code: str
    meta_xdr: str | None
    ledger_number: UInt32
    ledger_created_at: Time
    is_fee_bump: bool
    ingested_at: Time

    @strawberry.field
    async def operations(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> LaterOperations | None:
        page = info.context.page(PageArguments(first, after, last, before), ID)
        key = Key(self.parent, ChildShape(page, selected(info)))
        rows = await info.context.loaders.operations_of_transaction.load(key)
        counter = paged.child_counter(info.context, counts.OPERATIONS_OF_TRANSACTION, self.parent)
        return operation_type.connection(page, rows, counter, timed=False)

    @strawberry.field
    async def accounts(self, info: Info) -> list[LaterAccount]:
        return account_type.accounts(await info.context.loaders.accounts_of_transaction.load(Key(self.parent, None)))

    @strawberry.field
    async def state_changes(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> LaterStateChanges | None:
        page = info.context.page(PageArguments(first, after, last, before), CHANGE)
        key = Key(self.parent, ChildShape(page, selected(info)))
        rows = await info.context.loaders.state_changes_of_transaction.load(key)
        counter = paged.child_counter(info.context, counts.CHANGES_OF_TRANSACTION, self.parent)
        return change_types.connection(page, rows, counter, timed=False)


def transaction(row: TransactionRow) -> Transaction:
    return Transaction(
        parent=Parent(row.to_id, row.ledger_created_at),
        hash=row.hash.hex(),
        inner_hash=row.inner_hash.hex() if row.inner_hash else None,
        id_string=str(row.to_id),
        envelope_xdr=row.envelope_xdr,
        fee_charged=Int64(row.fee_charged),
        fee_charged_string=str(row.fee_charged),
        result_code=row.result_code,
        meta_xdr=row.meta_xdr,
        ledger_number=UInt32(row.ledger_number),
        ledger_created_at=Time(row.ledger_created_at),
        is_fee_bump=row.is_fee_bump,
        ingested_at=Time(row.ingested_at),
    )


def connection(
    page: Page, rows: Sequence[TransactionRow], counter: paged.Counter, *, account: AccountKey | None = None, timed: bool = True
) -> connections.TransactionConnection:
    """The page's connection. `account`: whose list it is. `timed`: the list's cursors begin with the close time."""
    kept, cursors, info = paged.cut(page, rows, _timed_cursor if timed else _cursor)
    edges = [
        connections.TransactionEdge(node=transaction(row), cursor=cursor, place=_place(account, row))
        for row, cursor in zip(kept, cursors, strict=True)
    ]
    return connections.TransactionConnection(edges=edges, page_info=info, counter=counter)


def _place(account: AccountKey | None, row: TransactionRow) -> connections.Place | None:
    return None if account is None else connections.Place(account, Parent(row.to_id, row.ledger_created_at))


def _cursor(row: TransactionRow) -> str:
    return encode_cursor(row.to_id)


def _timed_cursor(row: TransactionRow) -> str:
    return encode_cursor(nanoseconds(row.ledger_created_at), row.to_id)
