"""Offers, trades and liquidity pools, which the reference does not have. Amounts have seven decimals and, raw, are stroops."""

from __future__ import annotations

import strawberry

from api import rendering
from api.context import Context, Info
from api.paging import encode_cursor, encode_key, nanoseconds
from api.queries.market import OfferRow, PoolRow
from api.queries.parts import Parent
from api.queries.trades import TradeRow
from api.scalars import Int64, Time, UInt32
from api.types import operation_type
from api.types.asset_types import Asset, AssetAmount, asset, asset_amount
from api.types.enums import TradeKind
from api.types.later import LaterOperation, LaterTransaction

_PASSIVE = 1  # bit of offers.flags


@strawberry.type(description="An offer that is open now.")
class Offer:
    id: Int64
    id_string: str
    seller_address: str
    selling: Asset
    buying: Asset
    amount: str = strawberry.field(description="Of the asset that is sold.")
    raw_amount: str
    price: str | None = strawberry.field(description="Of one unit sold in the asset bought, rounded to seven decimals.")
    price_n: int = strawberry.field(description="price_n / price_d is the exact price.")
    price_d: int
    is_passive: bool = strawberry.field(description="It takes no offer of the same price.")
    sponsor_address: str | None
    last_modified_ledger: UInt32


@strawberry.type(description="A trade as its maker saw it: the taker got what was sold and gave what was bought.")
class Trade:
    parent: strawberry.Private[Parent]
    id_string: str = strawberry.field(description="to_id-operation_id-trade_id in decimal: unique, and the same for ever.")
    kind: TradeKind
    taker_address: str
    maker_address: str | None = strawberry.field(description="Null when the other side was a pool.")
    liquidity_pool_id: str | None
    offer_id: str | None = strawberry.field(description="The maker's offer in decimal.")
    sold: AssetAmount
    bought: AssetAmount
    price: str | None = strawberry.field(description="Of one unit sold, rounded to seven decimals.")
    price_n: str = strawberry.field(description="price_n / price_d is what was bought divided by what was sold, exactly.")
    price_d: str
    ledger_number: UInt32
    ledger_created_at: Time
    ingested_at: Time

    @strawberry.field
    async def operation(self, info: Info) -> LaterOperation | None:
        return await operation_type.load_operation(info, self.parent)

    @strawberry.field
    async def transaction(self, info: Info) -> LaterTransaction:
        return await operation_type.load_transaction(info, self.parent)


@strawberry.type(description="A constant product pool as it is now.")
class LiquidityPool:
    id: str = strawberry.field(description="In hexadecimal.")
    reserves: list[AssetAmount]
    fee_basis_points: int
    total_shares: str
    raw_total_shares: str
    trustline_count: Int64
    last_modified_ledger: UInt32


def offer(context: Context, row: OfferRow) -> Offer:
    return Offer(
        id=Int64(row.offer_id),
        id_string=str(row.offer_id),
        seller_address=rendering.address(row.seller_account_id),
        selling=asset(context, row.selling),
        buying=asset(context, row.buying),
        amount=rendering.decimal7(row.amount),
        raw_amount=str(row.amount),
        price=rendering.ratio7(row.price_n, row.price_d),
        price_n=row.price_n,
        price_d=row.price_d,
        is_passive=bool(row.flags & _PASSIVE),
        sponsor_address=rendering.address_or_none(row.sponsor_account_id),
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def trade(context: Context, row: TradeRow) -> Trade:
    return Trade(
        parent=Parent(row.operation_id, row.ledger_created_at),
        id_string=f"{row.to_id}-{row.operation_id}-{row.trade_id}",
        kind=TradeKind(row.kind),
        taker_address=rendering.address(row.taker_account_id),
        maker_address=rendering.address_or_none(row.maker_account_id),
        liquidity_pool_id=row.liquidity_pool_id,
        offer_id=None if row.offer_id is None else str(row.offer_id),
        sold=asset_amount(context, row.sold_asset, row.sold_amount),
        bought=asset_amount(context, row.bought_asset, row.bought_amount),
        price=rendering.ratio7(row.price_n, row.price_d),
        price_n=str(row.price_n),
        price_d=str(row.price_d),
        ledger_number=UInt32(row.ledger_number),
        ledger_created_at=Time(row.ledger_created_at),
        ingested_at=Time(row.ingested_at),
    )


def pool(context: Context, row: PoolRow) -> LiquidityPool:
    return LiquidityPool(
        id=row.pool_id,
        reserves=reserves(context, row),
        fee_basis_points=row.fee_bp,
        total_shares=rendering.decimal7(row.total_shares),
        raw_total_shares=str(row.total_shares),
        trustline_count=Int64(row.trustline_count),
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def reserves(context: Context, row: PoolRow) -> list[AssetAmount]:
    sides = ((row.asset_a, row.reserve_a), (row.asset_b, row.reserve_b))
    return [asset_amount(context, name, amount) for name, amount in sides]


def offer_cursor(row: OfferRow) -> str:
    return encode_cursor(row.offer_id)


def trade_cursor(row: TradeRow) -> str:
    return encode_cursor(nanoseconds(row.ledger_created_at), row.to_id, row.operation_id, row.trade_id)


def pool_cursor(row: PoolRow) -> str:
    return encode_key(row.pool_id)
