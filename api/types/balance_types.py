"""The Balance interface and its implementations, and how rows become them (spec/api.md 2.1)."""

from __future__ import annotations

import strawberry

from api import rendering
from api.queries.balances import NativeRow, SacRow, TrustlineRow
from api.scalars import UInt32
from api.types.enums import TokenType
from schemas import assets, strkey

_AUTHORIZED = 1  # XDR trustline flags, which the balance tables keep
_MAINTAIN_LIABILITIES = 2
_ALPHANUM4_CHARACTERS = 4


@strawberry.interface(description="What an account holds of one token now.")
class Balance:
    balance: str
    token_id: str = strawberry.field(description="Contract address of the token.")
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
    name: str
    symbol: str
    decimals: int


@strawberry.type
class AccountBalances:
    address: str
    balances: list[Balance]
    error: str | None = None


IMPLEMENTATIONS = (NativeBalance, TrustlineBalance, SacBalance, Sep41Balance)


def native_balance(row: NativeRow, network_id: bytes) -> NativeBalance:
    return NativeBalance(
        balance=rendering.decimal7(row.balance),
        token_id=strkey.encode(assets.contract_address(network_id, assets.NATIVE, "native", None)),
        token_type=TokenType.NATIVE,
        minimum_balance=rendering.decimal7(row.minimum_balance),
        buying_liabilities=rendering.decimal7(row.buying_liabilities),
        selling_liabilities=rendering.decimal7(row.selling_liabilities),
        last_modified_ledger=UInt32(row.last_modified_ledger),
        num_subentries=row.num_subentries,
    )


def trustline_balance(row: TrustlineRow, network_id: bytes) -> TrustlineBalance:
    short = asset_type(row.code) == assets.ALPHANUM4
    contract = assets.contract_address(network_id, asset_type(row.code), row.code, strkey.decode(row.issuer))
    return TrustlineBalance(
        balance=rendering.decimal7(row.balance),
        token_id=strkey.encode(contract),
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


def sac_balance(row: SacRow) -> SacBalance:
    """The native asset's contract has neither code nor issuer: it shows as XLM without one."""
    return SacBalance(
        balance=rendering.decimal7(int(row.balance)),
        token_id=row.contract_id,
        token_type=TokenType.SAC,
        code=row.code or "XLM",
        issuer=row.issuer or "",
        decimals=row.decimals,
        is_authorized=row.is_authorized,
        is_clawback_enabled=row.is_clawback_enabled,
        last_modified_ledger=UInt32(row.last_modified_ledger),
    )


def asset_type(code: str) -> int:
    """ALPHANUM4 or ALPHANUM12 by the code's length in bytes; a byte that is not text is written as four characters."""
    raw = code.encode("ascii").decode("unicode_escape").encode("latin-1") if "\\x" in code else code.encode()
    return assets.ALPHANUM4 if len(raw) <= _ALPHANUM4_CHARACTERS else assets.ALPHANUM12
