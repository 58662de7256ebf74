"""Reads of `trades`. An account is the taker or the maker of a trade, never both (docs/decisions/0006)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from api.database import Reader
from api.paging import Page
from api.queries.parts import Listing, Window, order, timed_beyond, where, within


class TradeRow(NamedTuple):
    to_id: int
    operation_id: int
    trade_id: int
    ledger_created_at: datetime
    ledger_number: int
    ingested_at: datetime
    kind: str
    taker_account_id: bytes
    maker_account_id: bytes | None
    liquidity_pool_id: str | None
    offer_id: int | None
    sold_asset: str
    sold_amount: int
    bought_asset: str
    bought_amount: int
    price_n: int
    price_d: int


KEY: Final = ("x.to_id", "x.operation_id", "x.trade_id")
SIDES: Final = ("x.taker_account_id", "x.maker_account_id")
_FIELDS: Final = ", ".join(f"x.{name}" for name in TradeRow._fields)


def of_account(account_id: bytes, window: Window, asset: str | None) -> Listing:
    """The trades of an account on either side, those of an asset only when one is given."""
    values: dict[str, Any] = {"account": account_id}
    conditions = within(window, "x.ledger_created_at", "x.to_id", values)
    if asset is not None:
        values["asset"] = asset
        conditions.append("(x.sold_asset = %(asset)s OR x.bought_asset = %(asset)s)")
    sides = (f"SELECT {_FIELDS} FROM trades x {where([f'{side} = %(account)s', *conditions])}" for side in SIDES)
    return Listing("trades_of_account", f"({' UNION ALL '.join(sides)}) x", conditions, values)


async def page_of_account(database: Reader, listing: Listing, page: Page) -> Sequence[TradeRow]:
    """A page of `of_account`: each side in order as far as the page may need it, then both together."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*listing.conditions, *timed_beyond(page, "x.ledger_created_at", KEY, values)]
    sides = (
        f"(SELECT {_FIELDS} FROM trades x {where([f'{side} = %(account)s', *conditions])} {order(KEY, page)} LIMIT %(fetch)s)"
        for side in SIDES
    )
    statement = f"SELECT * FROM ({' UNION ALL '.join(sides)}) x {order(KEY, page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, TradeRow._make)
