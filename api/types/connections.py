"""Connections and edges of the reference's three lists, whose edges and nodes may be null, as there (spec/api.md 1.2)."""

from __future__ import annotations

from typing import NamedTuple

import strawberry

from api.context import Info, selected
from api.loaders import AccountShape, Key
from api.queries.accounts import AccountKey
from api.queries.parts import Parent
from api.types import change_types, operation_type
from api.types.described import described
from api.types.later import LaterOperation, LaterStateChange, LaterTransaction
from api.types.paged import Counted, PageInfo


class Place(NamedTuple):
    """Where a transaction stands in an account's list."""

    account: AccountKey
    transaction: Parent


@strawberry.type
class TransactionEdge:
    place: strawberry.Private[Place | None]
    node: LaterTransaction | None
    cursor: str

    @described("In an account's list: the operations that the account takes part in. Null in other lists.")
    async def operations(self, info: Info) -> list[LaterOperation] | None:
        if self.place is None:
            return None
        key = Key(self.place.transaction, AccountShape(self.place.account, selected(info, ())))
        return [operation_type.operation(row) for row in await info.context.loaders.operations_of_account.load(key)]

    @described("In an account's list: what the transaction changed of the account. Null in other lists.")
    async def state_changes(self, info: Info) -> list[LaterStateChange] | None:
        if self.place is None:
            return None
        key = Key(self.place.transaction, AccountShape(self.place.account, selected(info, ())))
        return [change_types.state_change(row) for row in await info.context.loaders.state_changes_of_account.load(key)]


@strawberry.type
class TransactionConnection(Counted):
    edges: list[TransactionEdge] | None
    page_info: PageInfo


@strawberry.type
class OperationEdge:
    node: LaterOperation | None
    cursor: str


@strawberry.type
class OperationConnection(Counted):
    edges: list[OperationEdge] | None
    page_info: PageInfo


@strawberry.type
class StateChangeEdge:
    node: LaterStateChange | None
    cursor: str


@strawberry.type
class StateChangeConnection(Counted):
    edges: list[StateChangeEdge] | None
    page_info: PageInfo
