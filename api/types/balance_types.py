"""The Balance interface and its implementations, allowances, and how rows become them (spec/api.md 2.1, 13.3).

`balance` has seven decimals whatever the token's own number of them is, as the reference shows it; `rawBalance` is exact.
"""

from __future__ import annotations

import strawberry

from api import rendering
from api.context import Context, Info
from api.paging import encode_key
from api.queries.balances import AllowanceRow, NativeRow, PoolShareRow, SacRow, Sep41Row, TrustlineRow
from api.scalars import UInt32
from api.types import market_types
from api.types.asset_types import AssetAmount
from api.types.described import described
from api.types.enums import TokenType
from schemas import assets

_AUTHORIZED = 1  # XDR trustline flags, which the balance tables keep
_MAINTAIN_LIABILITIES = 2


@strawberry.interface(description="What an account holds of one token now.")
class Balance:
    balance: str = strawberry.field(description="With seven decimals.")
    raw_balance: str = strawberry.field(description="A whole number of the token's smallest unit.")
    token_id: str = strawberry.field(description="Contract address of the token; of pool shares, the pool's id.")
    token_type: TokenType


@strawberry.type
class NativeBalance(Balance):
    minimum_balance: str = strawberry.field(description="Reserves; selling liabilities are not part of it.")
    buying_liabilities: str
    selling_liabilities: str
    last_modified_ledger: UInt32
    num_subentries: int


@strawberry.type
class TrustlineBalance(Balance):
    code: str
    issuer: str
    type: str = strawberry.field(description="credit_alphanum4 or credit_alphanum12")
    limit: str
    buying_liabilities: str
    selling_liabilities: str
    last_modified_ledger: UInt32
    is_authorized: bool
    is_authorized_to_maintain_liabilities: bool


@strawberry.type(name="SACBalance", description="What a contract holds of a Stellar asset contract's token.")
class SacBalance(Balance):
    code: str
    issuer: str
    decimals: int
    is_authorized: bool
    is_clawback_enabled: bool
    last_modified_ledger: UInt32


@strawberry.type(name="SEP41Balance", description="What an account or contract holds of a custom token.")
class Sep41Balance(Balance):
    name: str = strawberry.field(description="Empty when the token did not say.")
    symbol: str = strawberry.field(description="Empty when the token did not say.")
    decimals: int = strawberry.field(description="The token's own, which `balance` does not follow: divide `rawBalance` by them.")
    last_modified_ledger: UInt32


@strawberry.type(description="What an account holds of a liquidity pool: `balance` is its shares.")
class LiquidityPoolBalance(Balance):
    last_modified_ledger: UInt32

    @described("What the whole pool holds.")
    async def reserves(self, info: Info) -> list[AssetAmount]:
        row = await info.context.loaders.liquidity_pool.load(self.token_id)
        return [] if row is None else market_types.reserves(info.context, row)

    @strawberry.field
    async def pool(self, info: Info) -> market_types.LiquidityPool | None:
        row = await info.context.loaders.liquidity_pool.load(self.token_id)
        return None if row is None else market_types.pool(info.context, row)


@strawberry.type(name="SEP41Allowance", description="What an account lets another one spend of a custom token.")
class Sep41Allowance:
    owner: str
    spender: str
    token_id: str
    amount: str = strawberry.field(description="A whole number of the token's smallest unit.")
    expiration_ledger: UInt32 = strawberry.field(description="The last ledger in which it may be spent.")
    last_modified_ledger: UInt32


@strawberry.type
class AccountBalances:
    address: str
    balances: list[Balance]
    error: str | None = None


IMPLEMENTATIONS = (NativeBalance, TrustlineBalance, SacBalance, Sep41Balance, LiquidityPoolBalance)


def native_balance(row: NativeRow, context: Context) -> NativeBalance:
    return NativeBalance(
        balance=rendering.decimal7(row.balance),
        raw_balance=str(row.balance),
        token_id=rendering.token_of(context.network_id, rendering.NATIVE_ASSET),
        token_type=TokenType.NATIVE,
        minimum_balance=rendering.decimal7(row.minimum_balance),
        buying_liabilities=rendering.decimal7(row.buying_liabilities),
        selling_liabilities=rendering.decimal7(row.selling_liabilities),
        last_modified_ledger=UInt32(row.last_modified_ledger),
        num_subentries=row.num_subentries,
    )


def trustline_balance(row: TrustlineRow, context: Context) -> TrustlineBalance:
    short = rendering.asset_type(row.code) == assets.ALPHANUM4
    return TrustlineBalance(
        balance=rendering.decimal7(row.balance),
        raw_balance=str(row.balance),
        token_id=rendering.token_of(context.network_id, f"{row.code}:{row.issuer}"),
        token_type=TokenType.CLASSIC,
        code=row.code,
        issuer=row.issuer,
        type="credit_alphanum4" if short else "credit_alphanum12",
        limit=rendering.decimal7(row.limit),
        buying_liabilities=rendering.decimal7(row.buying_liabilities),
        selling_liabilities=rendering.decimal7(row.selling_liabilities),
        last_modified_ledger=UInt32(row.last_modified_ledger),
        is_authorized=bool(row.flags & _AUTHORIZED),
        is_authorized_to_maintain_liabilities=bool(row.flags & _MAINTAIN_LIABILITIES),
    )


def sac_balance(row: SacRow, _context: Context) -> SacBalance:
    """The native asset's contract has neither code nor issuer: it shows as XLM without one."""
    return SacBalance(
        balance=rendering.decimal7(int(row.balance)),
        raw_balance=str(int(row.balance)),
        token_id=row.contract_id,
        token_type=TokenType.SAC,
        code=row.code or "XLM",
        issuer=row.issuer or "",
        decimals=row.decimals,
        is_authorized=row.is_authorized,
        is_clawback_enabled=row.is_clawback_enabled,
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def sep41_balance(row: Sep41Row, _context: Context) -> Sep41Balance:
    return Sep41Balance(
        balance=rendering.decimal7(int(row.balance)),
        raw_balance=str(int(row.balance)),
        token_id=row.contract_id,
        token_type=TokenType.SEP41,
        name=row.name or "",
        symbol=row.symbol or "",
        decimals=row.decimals,
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def pool_balance(row: PoolShareRow, _context: Context) -> LiquidityPoolBalance:
    return LiquidityPoolBalance(
        balance=rendering.decimal7(row.shares),
        raw_balance=str(row.shares),
        token_id=row.pool_id,
        token_type=TokenType.LIQUIDITY_POOL,
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def allowance(row: AllowanceRow) -> Sep41Allowance:
    return Sep41Allowance(
        owner=rendering.address(row.owner_id),
        spender=rendering.address(row.spender_id),
        token_id=row.contract_id,
        amount=str(int(row.amount)),
        expiration_ledger=UInt32(row.expiration_ledger),
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def allowance_cursor(row: AllowanceRow) -> str:
    return encode_key(rendering.address(row.spender_id), str(row.token))
