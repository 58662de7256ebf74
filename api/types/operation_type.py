"""The Operation type."""

from __future__ import annotations

from collections.abc import Sequence

import strawberry

from api import rendering
from api.context import Info, selected
from api.loaders import ChildShape, Key
from api.paging import CHANGE, Page, PageArguments, encode_cursor, nanoseconds
from api.queries import counts
from api.queries.operations import OperationRow
from api.queries.parts import Parent
from api.scalars import Int64, Time, UInt32
from api.types import account_type, change_types, connections, enums, paged, transaction_type
from api.types.later import LaterAccount, LaterStateChanges, LaterTransaction
from schemas import toid


@strawberry.type(description="An operation of a transaction.")
class Operation:
    parent: strawberry.Private[Parent]
    id: Int64
    id_string: str = strawberry.field(description="The id in decimal: ids exceed the exact numbers of JavaScript.")
    operation_type: enums.OperationType
    operation_xdr: str
    result_code: str
    successful: bool
    ledger_number: UInt32
    ledger_created_at: Time
    ingested_at: Time

    @strawberry.field
    async def transaction(self, info: Info) -> LaterTransaction:
        return await load_transaction(info, self.parent)

    @strawberry.field
    async def accounts(self, info: Info) -> list[LaterAccount]:
        return account_type.accounts(await info.context.loaders.accounts_of_operation.load(Key(self.parent, None)))

    @strawberry.field
    async def state_changes(
        self, info: Info, first: int | None = None, after: str | None = None, last: int | None = None, before: str | None = None
    ) -> LaterStateChanges | None:
        page = info.context.page(PageArguments(first, after, last, before), CHANGE)
        key = Key(self.parent, ChildShape(page, selected(info)))
        rows = await info.context.loaders.state_changes_of_operation.load(key)
        counter = paged.child_counter(info.context, counts.CHANGES_OF_OPERATION, self.parent)
        return change_types.connection(page, rows, counter, timed=False)


async def load_transaction(info: Info, child: Parent) -> LaterTransaction:
    """The transaction of an operation or state change, named by any id within it and the close time they share."""
    parent = Parent(toid.transaction_of(child.id), child.closed_at)
    row = await info.context.loaders.transaction.load(Key(parent, selected(info, ())))
    if row is None:
        raise LookupError(f"there is no transaction {parent.id} for {child.id}")
    return transaction_type.transaction(row)


async def load_operation(info: Info, child: Parent) -> Operation | None:
    """The operation with this id and close time."""
    row = await info.context.loaders.operation.load(Key(child, selected(info, ())))
    return None if row is None else operation(row)


def operation(row: OperationRow) -> Operation:
    return Operation(
        parent=Parent(row.id, row.ledger_created_at),
        id=Int64(row.id),
        id_string=str(row.id),
        operation_type=enums.OperationType(row.operation_type),
        operation_xdr=rendering.base64_text(row.operation_xdr),
        result_code=row.result_code,
        successful=row.successful,
        ledger_number=UInt32(row.ledger_number),
        ledger_created_at=Time(row.ledger_created_at),
        ingested_at=Time(row.ingested_at),
    )


def connection(page: Page, rows: Sequence[OperationRow], counter: paged.Counter, timed: bool) -> connections.OperationConnection:
    """The page's connection. `timed`: the list's cursors begin with the close time."""
    kept, cursors, info = paged.cut(page, rows, _timed_cursor if timed else _cursor)
    nodes = zip(kept, cursors, strict=True)
    edges = [connections.OperationEdge(node=operation(row), cursor=cursor) for row, cursor in nodes]
    return connections.OperationConnection(edges=edges, page_info=info, counter=counter)


def _cursor(row: OperationRow) -> str:
    return encode_cursor(row.id)


def _timed_cursor(row: OperationRow) -> str:
    return encode_cursor(nanoseconds(row.ledger_created_at), row.id)
