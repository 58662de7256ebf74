"""The Ledger type: what stands in `ledgers`, and the transactions in it."""

from __future__ import annotations

import strawberry

from api.context import Info, selected
from api.loaders import ChildShape, Key
from api.paging import ID, PageArguments, encode_cursor
from api.queries import counts
from api.queries.ledgers import LedgerRow
from api.queries.parts import Parent
from api.scalars import Time, UInt32
from api.types import paged, transaction_type
from api.types.later import LaterTransactions


@strawberry.type(description="A ledger of the network that was ingested.")
class Ledger:
    parent: strawberry.Private[Parent]
    sequence: UInt32
    hash: str
    previous_hash: str
    closed_at: Time
    protocol_version: int
    transaction_count: int
    successful_transaction_count: int
    operation_count: int
    state_change_count: int
    ingested_at: Time

    @strawberry.field
    async def transactions(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> LaterTransactions:
        page = info.context.page(PageArguments(first, after, last, before), ID)
        rows = await info.context.loaders.transactions_of_ledger.load(Key(self.parent, ChildShape(page, selected(info))))
        counter = paged.child_counter(info.context, counts.TRANSACTIONS_OF_LEDGER, self.parent)
        return transaction_type.connection(page, rows, counter, timed=False)


def ledger(row: LedgerRow) -> Ledger:
    return Ledger(
        parent=Parent(row.sequence << 32, row.closed_at),
        sequence=UInt32(row.sequence),
        hash=row.hash.hex(),
        previous_hash=row.previous_hash.hex(),
        closed_at=Time(row.closed_at),
        protocol_version=row.protocol_version,
        transaction_count=row.transaction_count,
        successful_transaction_count=row.successful_transaction_count,
        operation_count=row.operation_count,
        state_change_count=row.state_change_count,
        ingested_at=Time(row.ingested_at),
    )


def cursor(row: LedgerRow) -> str:
    return encode_cursor(row.sequence)
