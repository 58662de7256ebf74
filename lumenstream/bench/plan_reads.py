"""Every read that the API sends to the database, by name, as a function of the database it goes to.

Each list comes as its first page, its last, and the pages after and before the middle; each with the filters and bounds it takes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from api.database import Reader
from api.paging import KeyPage, Page, nanoseconds
from api.queries import (
    accounts,
    balances,
    claimable_balances,
    counts,
    ledgers,
    market,
    operations,
    state_changes,
    trades,
    transactions,
)
from api.queries.accounts import AccountKey
from api.queries.parts import Listing, Parent, Window
from api.queries.state_changes import Filter
from lumenstream.bench.history import ASSET, BUSY, PARTNER, TOKEN, TRANSACTIONS, Scale, made_hash
from schemas import toid

Read = Callable[[Reader], Awaitable[object]]
Row = TypeVar("Row")

PAGE_ROWS: Final = 50
_ALL: Final = frozenset(("envelopeXdr", "operationXdr", "account", "tokenId", "amount", "keyValue", "limit"))
_KEY: Final = "8" * 64
_UUID: Final = "88888888-8888-8888-8888-888888888888"


class Recorder:
    """Remembers the statements instead of sending them."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Mapping[str, Any]]] = []

    async def fetch(self, name: str, statement: str, values: Mapping[str, Any], row: Callable[[Sequence[Any]], Row]) -> list[Row]:
        self.sent.append((statement, values))
        return []


def reads(scale: Scale) -> dict[str, Read]:
    """All reads on a database seeded to this scale."""
    middle = max(1, scale.ledgers // 2)
    return {**_single(scale, middle), **dict(_history(scale, middle)), **dict(_current())}


def _single(scale: Scale, middle: int) -> dict[str, Read]:
    within = range(middle, min(middle + 5, scale.ledgers) + 1)
    parents = [Parent(toid.transaction_id(ledger, order), scale.closed_at(ledger)) for ledger in within for order in (1, 30, 60)]
    of_operations = [Parent(parent.id + 1, parent.closed_at) for parent in parents]
    of_ledgers = [Parent(ledger << 32, scale.closed_at(ledger)) for ledger in within]
    busy, page = AccountKey(BUSY), Page(PAGE_ROWS)
    to_id = toid.transaction_id(middle, 17)
    return {
        "transaction by hash": lambda db: transactions.by_hash(db, bytes(32), _ALL),
        "transaction by hash with its operations": lambda db: transactions.by_hash_with_operations(
            db, made_hash(to_id), _ALL, page, _ALL
        ),
        "operation by id": lambda db: operations.by_id(db, to_id + 1, _ALL),
        "transactions by id": lambda db: transactions.by_ids(db, parents, _ALL),
        "operations by id": lambda db: operations.by_ids(db, of_operations, _ALL),
        "transactions of ledgers": lambda db: transactions.of_ledgers(db, of_ledgers, page, _ALL),
        "operations of transactions": lambda db: operations.of_transactions(db, parents, page, _ALL),
        "operations of an account in transactions": lambda db: operations.of_account_in_transactions(db, busy, parents, _ALL),
        "state changes of transactions": lambda db: state_changes.of_transactions(db, parents, page, _ALL),
        "state changes of operations": lambda db: state_changes.of_operations(db, of_operations, page, _ALL),
        "state changes of an account in transactions": lambda db: state_changes.of_account_in_transactions(
            db, busy, parents, _ALL
        ),
        "accounts of transactions": lambda db: accounts.of_transactions(db, parents),
        "accounts of operations": lambda db: accounts.of_operations(db, of_operations),
        "totals of transactions": lambda db: counts.of_parents(db, counts.CHANGES_OF_TRANSACTION, parents),
        "totals of transactions, operations": lambda db: counts.of_parents(db, counts.OPERATIONS_OF_TRANSACTION, parents),
        "totals of operations": lambda db: counts.of_parents(db, counts.CHANGES_OF_OPERATION, of_operations),
        "totals of ledgers": lambda db: counts.of_parents(db, counts.TRANSACTIONS_OF_LEDGER, of_ledgers),
        "ledger by sequence": lambda db: ledgers.by_sequence(db, middle),
    }


def _history(scale: Scale, middle: int) -> Iterator[tuple[str, Read]]:
    closed, to_id = scale.closed_at(middle), toid.transaction_id(middle, TRANSACTIONS // 2)
    timed = (nanoseconds(closed), to_id)
    change = (*timed, to_id + 1, 1)
    bounded = {"between ledgers": _ledgers(middle), "between times": _times(scale, middle)}
    for cursor, read, name in (
        (timed, _transactions, "transactions"),
        (timed, _operations, "operations"),
        (change, _changes, "state changes"),
        ((middle,), _ledger_list, "ledgers"),
        (timed, partial(_account_transactions, None), "an account's transactions"),
        (timed, partial(_account_transactions, AccountKey(PARTNER)), "an account's transactions with another"),
        (timed, partial(_account_operations, None), "an account's operations"),
        (timed, partial(_account_operations, AccountKey(PARTNER)), "an account's operations with another"),
        (change, partial(_account_changes, Filter()), "an account's state changes"),
        (change, partial(_account_changes, Filter(category="TRUSTLINE")), "an account's state changes of a category"),
        (change, partial(_account_changes, Filter(category="SIGNER")), "an account's state changes of a category it has not"),
        (change, partial(_account_changes, Filter(reason="UPDATE")), "an account's state changes with a reason"),
        (change, partial(_account_changes, Filter(token_ids=(TOKEN,))), "an account's state changes of a token"),
        (change, partial(_account_changes, Filter(to_muxed_id="3")), "an account's state changes to a muxed id"),
        (change, partial(_account_changes, Filter(counterparty=AccountKey(PARTNER))), "an account's state changes with another"),
        (change, partial(_events, None), "an account's claimable balance events"),
        (change, partial(_trades, None), "an account's trades"),
        (change, partial(_trades, ASSET), "an account's trades of an asset"),
    ):
        yield from _pages(name, read, cursor)
        for bound, window in bounded.items():
            yield f"{name}, {bound}", partial(read, window)
    digest = Filter(transaction_hash=bytes(32))
    yield "an account's state changes of a transaction", partial(_account_changes, digest, Window(Page(PAGE_ROWS)))
    one = Filter(operation_id=to_id + 1)
    yield "an account's state changes of an operation", partial(_account_changes, one, Window(Page(PAGE_ROWS)))
    window, busy = Window(Page(PAGE_ROWS)), AccountKey(BUSY)
    for listing in (
        transactions.whole(window),
        operations.whole(window),
        state_changes.whole(window),
        ledgers.whole(window),
        transactions.of_account(busy, window),
        operations.of_account(busy, window),
        state_changes.of_account(busy, window, Filter()),
        trades.of_account(BUSY, window, None),
        claimable_balances.events_of_account(BUSY, window),
    ):
        yield f"total of {listing.name}", partial(_total, listing)


def _pages(name: str, read: Callable[[Window, Reader], Awaitable[object]], cursor: tuple[int, ...]) -> Iterator[tuple[str, Read]]:
    for kind, page in (
        ("first", Page(PAGE_ROWS)),
        ("last", Page(PAGE_ROWS, False)),
        ("after", Page(PAGE_ROWS, True, cursor)),
        ("before", Page(PAGE_ROWS, False, cursor)),
    ):
        yield f"{name}, {kind}", partial(read, Window(page))


def _ledgers(middle: int) -> Window:
    return Window(Page(PAGE_ROWS), from_ledger=middle, to_ledger=middle + 10)


def _times(scale: Scale, middle: int) -> Window:
    return Window(Page(PAGE_ROWS), since=scale.closed_at(middle), until=scale.closed_at(middle + 10))


def _current() -> Iterator[tuple[str, Read]]:
    for kind in (balances.NATIVE, balances.TRUSTLINES, balances.SAC, balances.SEP41, balances.POOL_SHARES):
        yield f"{kind.name} of many", partial(_of_many, kind)
        key = {"uuid": (_UUID,), "text": (_KEY,)}.get(kind.order[1])
        for name, page in (("first", KeyPage(PAGE_ROWS)), ("before", KeyPage(PAGE_ROWS, False, key))):
            yield f"{kind.name}, {name}", partial(_held, kind, page)
        yield f"total of {kind.name}", partial(_total, kind.listing(BUSY))
    allowed, pending, offered, pools = (
        balances.allowances(BUSY),
        claimable_balances.pending(BUSY),
        market.offers_of_account(BUSY),
        market.pools(),
    )
    for name, read in (
        ("allowances", lambda db, page: balances.page_of_allowances(db, allowed, page, page.cursor and (PARTNER, _UUID))),
        ("claimable balances", lambda db, page: claimable_balances.page_of_pending(db, pending, page)),
        ("offers", lambda db, page: market.page_of_offers(db, offered, Page(page.limit, page.forward, page.cursor and (100,)))),
        ("liquidity pools", lambda db, page: market.page_of_pools(db, pools, page)),
    ):
        yield f"{name}, first", partial(_keyed, read, KeyPage(PAGE_ROWS))
        yield f"{name}, before", partial(_keyed, read, KeyPage(PAGE_ROWS, False, (_KEY,)))
    for listing in (allowed, pending, offered, pools):
        yield f"total of {listing.name}", partial(_total, listing)
    yield "claimants", lambda db: claimable_balances.claimants(db, [_KEY])
    yield "claimable balances by id", lambda db: claimable_balances.by_ids(db, [_KEY])
    yield "liquidity pools by id", lambda db: market.pools_by_ids(db, [_KEY])
    yield "offer by id", lambda db: market.offer_by_id(db, 7)


def _of_many(kind: balances.Kind[Any], db: Reader) -> Awaitable[object]:
    return kind.of_many(db, [BUSY, PARTNER])


def _held(kind: balances.Kind[Any], page: KeyPage, db: Reader) -> Awaitable[object]:
    return kind.page(db, BUSY, page)


def _keyed(read: Callable[[Reader, KeyPage], Awaitable[object]], page: KeyPage, db: Reader) -> Awaitable[object]:
    return read(db, page)


def _transactions(window: Window, db: Reader) -> Awaitable[object]:
    return transactions.listed(db, window, _ALL)


def _operations(window: Window, db: Reader) -> Awaitable[object]:
    return operations.listed(db, window, _ALL)


def _changes(window: Window, db: Reader) -> Awaitable[object]:
    return state_changes.listed(db, window, _ALL)


def _ledger_list(window: Window, db: Reader) -> Awaitable[object]:
    return ledgers.listed(db, ledgers.whole(window), window.page)


def _account_transactions(other: AccountKey | None, window: Window, db: Reader) -> Awaitable[object]:
    return transactions.page_of_account(db, transactions.of_account(AccountKey(BUSY), window, other), window.page, _ALL)


def _account_operations(other: AccountKey | None, window: Window, db: Reader) -> Awaitable[object]:
    return operations.page_of_account(db, operations.of_account(AccountKey(BUSY), window, other), window.page, _ALL)


def _account_changes(chosen: Filter, window: Window, db: Reader) -> Awaitable[object]:
    return state_changes.page_of_account(db, state_changes.of_account(AccountKey(BUSY), window, chosen), window.page, _ALL)


def _events(_: None, window: Window, db: Reader) -> Awaitable[object]:
    return claimable_balances.page_of_events(db, claimable_balances.events_of_account(BUSY, window), window.page)


def _trades(asset: str | None, window: Window, db: Reader) -> Awaitable[object]:
    return trades.page_of_account(db, trades.of_account(BUSY, window, asset), window.page)


def _total(listing: Listing, db: Reader) -> Awaitable[object]:
    return counts.total(db, listing)
