"""Assets and amounts of them, as offers, trades, pools and claimable balances name them."""

from __future__ import annotations

import strawberry

from api import rendering
from api.context import Context


@strawberry.type(description="An asset of the ledger: the native one or CODE:ISSUER.")
class Asset:
    name: str = strawberry.field(description="native or CODE:ISSUER")
    token_id: str = strawberry.field(description="Address of the asset's contract.")


@strawberry.type(description="An amount of an asset.")
class AssetAmount:
    asset: Asset
    amount: str = strawberry.field(description="With seven decimals.")
    raw_amount: str = strawberry.field(description="In stroops.")


def asset(context: Context, name: str) -> Asset:
    return Asset(name=name, token_id=rendering.token_of(context.network_id, name))


def asset_amount(context: Context, name: str, stroops: int) -> AssetAmount:
    return AssetAmount(asset=asset(context, name), amount=rendering.decimal7(stroops), raw_amount=str(stroops))
