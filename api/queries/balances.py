"""Reads of the current-state tables: what accounts and contracts hold now."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from api.database import Reader


class NativeRow(NamedTuple):
    account_id: bytes
    balance: int
    minimum_balance: int
    buying_liabilities: int
    selling_liabilities: int
    num_subentries: int
    last_modified_ledger: int


class TrustlineRow(NamedTuple):
    account_id: bytes
    code: str
    issuer: str
    balance: int
    limit: int
    buying_liabilities: int
    selling_liabilities: int
    flags: int
    last_modified_ledger: int


class SacRow(NamedTuple):
    account_id: bytes
    contract_id: str
    code: str | None
    issuer: str | None
    decimals: int
    balance: Decimal
    is_authorized: bool
    is_clawback_enabled: bool
    last_modified_ledger: int


async def native(database: Reader, accounts: Sequence[bytes]) -> list[NativeRow]:
    statement = f"SELECT {', '.join(NativeRow._fields)} FROM native_balances WHERE account_id = ANY(%(accounts)s::bytea[])"
    return await database.fetch("native_balances", statement, {"accounts": list(accounts)}, NativeRow._make)


async def trustlines(database: Reader, accounts: Sequence[bytes]) -> list[TrustlineRow]:
    """Ordered by asset id, the order of the primary key."""
    statement = (
        "SELECT b.account_id, a.code, a.issuer, b.balance, b.trust_limit, b.buying_liabilities, b.selling_liabilities, b.flags, "
        "b.last_modified_ledger FROM trustline_balances b JOIN trustline_assets a ON a.id = b.asset_id "
        "WHERE b.account_id = ANY(%(accounts)s::bytea[]) ORDER BY b.account_id, b.asset_id"
    )
    return await database.fetch("trustline_balances", statement, {"accounts": list(accounts)}, TrustlineRow._make)


async def sac(database: Reader, contracts: Sequence[bytes]) -> list[SacRow]:
    """What contracts hold of Stellar asset contracts' tokens, ordered by the token's id."""
    statement = (
        "SELECT b.account_id, c.contract_id, c.code, c.issuer, c.decimals, b.balance, b.is_authorized, b.is_clawback_enabled, "
        "b.last_modified_ledger FROM sac_balances b JOIN contract_tokens c ON c.id = b.contract_id "
        "WHERE b.account_id = ANY(%(contracts)s::bytea[]) ORDER BY b.account_id, b.contract_id"
    )
    return await database.fetch("sac_balances", statement, {"contracts": list(contracts)}, SacRow._make)
