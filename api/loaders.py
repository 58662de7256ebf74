"""Batches of a request: what many parents of one level want of the database is read in one statement.

A key holds the parent (id, close time) and the shape of what is wanted (columns, page). Keys of one shape go together, so two
aliases of one field with different pages do not disturb each other.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Final, Generic, NamedTuple, TypeVar

from strawberry.dataloader import DataLoader

from api.database import Reader
from api.paging import Page
from api.queries import accounts, claimable_balances, counts, market, operations, state_changes, transactions
from api.queries.accounts import AccountKey
from api.queries.claimable_balances import ClaimableBalanceRow, ClaimantRow
from api.queries.market import PoolRow
from api.queries.operations import OperationRow
from api.queries.parts import Parent
from api.queries.state_changes import StateChangeRow
from api.queries.transactions import TransactionRow

MAX_BATCH: Final = 5_000

Shape = TypeVar("Shape", bound=Hashable)
Value = TypeVar("Value")


class Key(NamedTuple, Generic[Shape]):
    parent: Parent
    shape: Shape


class ChildShape(NamedTuple):
    """A page of children with these fields selected."""

    page: Page
    selected: frozenset[str]


class AccountShape(NamedTuple):
    """The children that concern one account, with these fields selected."""

    account: AccountKey
    selected: frozenset[str]


Read = Callable[[Sequence[Parent], Shape], Awaitable[Mapping[int, Value]]]


def _loader(read: Read[Shape, Value], absent: Callable[[], Value]) -> DataLoader[Key[Shape], Value]:
    """A loader that calls `read` once per shape in a batch; a parent without a result gets `absent()`."""

    async def load(keys: list[Key[Shape]]) -> list[Value | BaseException]:
        shapes: dict[Shape, list[Parent]] = defaultdict(list)
        for key in keys:
            shapes[key.shape].append(key.parent)
        found = await asyncio.gather(*(read(parents, shape) for shape, parents in shapes.items()))
        by_shape = dict(zip(shapes, found, strict=True))
        results: list[Value | BaseException] = []
        for key in keys:
            values = by_shape[key.shape]
            results.append(values[key.parent.id] if key.parent.id in values else absent())
        return results

    return DataLoader(load_fn=load, max_batch_size=MAX_BATCH)


def _named(
    read: Callable[[Sequence[str]], Awaitable[Mapping[str, Value]]], absent: Callable[[], Value]
) -> DataLoader[str, Value]:
    """A loader by name."""

    async def load(names: list[str]) -> list[Value | BaseException]:
        found = await read(names)
        return [found[name] if name in found else absent() for name in names]

    return DataLoader(load_fn=load, max_batch_size=MAX_BATCH)


def _zero() -> int:
    return 0


def _none() -> None:
    return None


class Loaders:
    """The loaders of one request, each made when first used."""

    def __init__(self, database: Reader) -> None:
        self._database = database

    @cached_property
    def operations_of_transaction(self) -> DataLoader[Key[ChildShape], list[OperationRow]]:
        async def read(parents: Sequence[Parent], shape: ChildShape) -> Mapping[int, list[OperationRow]]:
            return await operations.of_transactions(self._database, parents, shape.page, shape.selected)

        return _loader(read, list)

    @cached_property
    def state_changes_of_transaction(self) -> DataLoader[Key[ChildShape], list[StateChangeRow]]:
        async def read(parents: Sequence[Parent], shape: ChildShape) -> Mapping[int, list[StateChangeRow]]:
            return await state_changes.of_transactions(self._database, parents, shape.page, shape.selected)

        return _loader(read, list)

    @cached_property
    def state_changes_of_operation(self) -> DataLoader[Key[ChildShape], list[StateChangeRow]]:
        async def read(parents: Sequence[Parent], shape: ChildShape) -> Mapping[int, list[StateChangeRow]]:
            return await state_changes.of_operations(self._database, parents, shape.page, shape.selected)

        return _loader(read, list)

    @cached_property
    def accounts_of_transaction(self) -> DataLoader[Key[None], list[AccountKey]]:
        async def read(parents: Sequence[Parent], shape: None) -> Mapping[int, list[AccountKey]]:
            return await accounts.of_transactions(self._database, parents)

        return _loader(read, list)

    @cached_property
    def accounts_of_operation(self) -> DataLoader[Key[None], list[AccountKey]]:
        async def read(parents: Sequence[Parent], shape: None) -> Mapping[int, list[AccountKey]]:
            return await accounts.of_operations(self._database, parents)

        return _loader(read, list)

    @cached_property
    def transaction(self) -> DataLoader[Key[frozenset[str]], TransactionRow | None]:
        async def read(parents: Sequence[Parent], shape: frozenset[str]) -> Mapping[int, TransactionRow | None]:
            return {**await transactions.by_ids(self._database, parents, shape)}

        return _loader(read, _none)

    @cached_property
    def operation(self) -> DataLoader[Key[frozenset[str]], OperationRow | None]:
        async def read(parents: Sequence[Parent], shape: frozenset[str]) -> Mapping[int, OperationRow | None]:
            return {**await operations.by_ids(self._database, parents, shape)}

        return _loader(read, _none)

    @cached_property
    def transactions_of_ledger(self) -> DataLoader[Key[ChildShape], list[TransactionRow]]:
        async def read(parents: Sequence[Parent], shape: ChildShape) -> Mapping[int, list[TransactionRow]]:
            return await transactions.of_ledgers(self._database, parents, shape.page, shape.selected)

        return _loader(read, list)

    @cached_property
    def operations_of_account(self) -> DataLoader[Key[AccountShape], list[OperationRow]]:
        async def read(parents: Sequence[Parent], shape: AccountShape) -> Mapping[int, list[OperationRow]]:
            return await operations.of_account_in_transactions(self._database, shape.account, parents, shape.selected)

        return _loader(read, list)

    @cached_property
    def state_changes_of_account(self) -> DataLoader[Key[AccountShape], list[StateChangeRow]]:
        async def read(parents: Sequence[Parent], shape: AccountShape) -> Mapping[int, list[StateChangeRow]]:
            return await state_changes.of_account_in_transactions(self._database, shape.account, parents, shape.selected)

        return _loader(read, list)

    @cached_property
    def total(self) -> DataLoader[Key[counts.Children], int]:
        async def read(parents: Sequence[Parent], shape: counts.Children) -> Mapping[int, int]:
            return await counts.of_parents(self._database, shape, parents)

        return _loader(read, _zero)

    @cached_property
    def liquidity_pool(self) -> DataLoader[str, PoolRow | None]:
        async def read(pool_ids: Sequence[str]) -> Mapping[str, PoolRow | None]:
            return {**await market.pools_by_ids(self._database, pool_ids)}

        return _named(read, _none)

    @cached_property
    def claimable_balance(self) -> DataLoader[str, ClaimableBalanceRow | None]:
        async def read(balance_ids: Sequence[str]) -> Mapping[str, ClaimableBalanceRow | None]:
            return {**await claimable_balances.by_ids(self._database, balance_ids)}

        return _named(read, _none)

    @cached_property
    def claimants(self) -> DataLoader[str, list[ClaimantRow]]:
        async def read(balance_ids: Sequence[str]) -> Mapping[str, list[ClaimantRow]]:
            return await claimable_balances.claimants(self._database, balance_ids)

        return _named(read, list)
