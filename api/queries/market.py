"""Reads of what is on offer now: offers and liquidity pools. Assets are `native` or CODE:ISSUER."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from api.database import Reader
from api.paging import KeyPage, Page
from api.queries.parts import Listing, beyond, order, where


class OfferRow(NamedTuple):
    offer_id: int
    seller_account_id: bytes
    selling: str
    buying: str
    amount: int
    price_n: int
    price_d: int
    flags: int
    sponsor_account_id: bytes | None
    last_modified_ledger: int


class PoolRow(NamedTuple):
    pool_id: str
    asset_a: str
    asset_b: str
    reserve_a: int
    reserve_b: int
    fee_bp: int
    total_shares: int
    trustline_count: int
    last_modified_ledger: int


_OFFER: Final = ", ".join(f"o.{name}" for name in OfferRow._fields)
POOL: Final = ", ".join(f"l.{name}" for name in PoolRow._fields)


async def offer_by_id(database: Reader, offer_id: int) -> OfferRow | None:
    statement = f"SELECT {_OFFER} FROM offers o WHERE o.offer_id = %(id)s::bigint"
    rows = await database.fetch("offer_by_id", statement, {"id": offer_id}, OfferRow._make)
    return rows[0] if rows else None


def offers_of_account(seller: bytes) -> Listing:
    return Listing("offers_of_account", "offers o", ["o.seller_account_id = %(account)s"], {"account": seller})


async def page_of_offers(database: Reader, listing: Listing, page: Page) -> Sequence[OfferRow]:
    """A page of an account's open offers by id. The network lets an account have no more than a thousand."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = [*listing.conditions, *beyond(page, ("o.offer_id",), values)]
    statement = f"SELECT {_OFFER} FROM {listing.source} {where(conditions)} {order(('o.offer_id',), page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, OfferRow._make)


async def pools_by_ids(database: Reader, pool_ids: Sequence[str]) -> dict[str, PoolRow]:
    statement = f"SELECT {POOL} FROM liquidity_pools l WHERE l.pool_id = ANY(%(ids)s::text[])"
    rows = await database.fetch("liquidity_pools_by_id", statement, {"ids": list(pool_ids)}, PoolRow._make)
    return {row.pool_id: row for row in rows}


def pools() -> Listing:
    return Listing("liquidity_pools", "liquidity_pools l", [], {})


async def page_of_pools(database: Reader, listing: Listing, page: KeyPage) -> Sequence[PoolRow]:
    """A page of all pools by id."""
    values = {**listing.values, "fetch": page.fetch}
    conditions = list(listing.conditions)
    if page.cursor is not None:
        values["key"] = page.cursor[0]
        conditions.append(f"l.pool_id {'>' if page.forward else '<'} %(key)s")
    statement = f"SELECT {POOL} FROM {listing.source} {where(conditions)} {order(('l.pool_id',), page)} LIMIT %(fetch)s"
    return await database.fetch(listing.name, statement, values, PoolRow._make)
