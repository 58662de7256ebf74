"""What every liquidity pool holds after the ledger, and who holds how many of its shares.

A constant product pool owns reserves of two assets. Path payments trade with it, deposits and withdrawals change its shares,
which are kept in trustlines: their balance is the number of shares. Spec/processors.md 10.4; tables `liquidity_pools` and
`liquidity_pool_balances`.
"""

from __future__ import annotations

from typing import Final, cast

from lumenstream.xdr.rows import Change, Entry, Ledger, LiquidityPoolEntry, TrustLineEntry
from processors import merge, view
from schemas import assets
from schemas.families import LIQUIDITY_POOL_CHANGES, LIQUIDITY_POOL_SHARE_CHANGES
from schemas.market_rows import LiquidityPoolChange, LiquidityPoolShareChange
from schemas.parts import Part


class LiquidityPools:
    """Families `liquidity_pool_changes` and `liquidity_pool_share_changes`."""

    name: Final = "liquidity_pools"
    version: Final = 1

    def __init__(self, network_id: bytes) -> None:
        """Pools look alike on every network."""

    def process(self, ledger: Ledger) -> Part:
        pools = ((pool.pool_id, at, change) for at, _, _, change, pool in view.changes_of(ledger, view.LIQUIDITY_POOL))
        shares = _of_shares(ledger)
        part = Part()
        part.add(LIQUIDITY_POOL_CHANGES, (_pool_row(*last) for last in merge.last_changes(pools)))
        part.add(LIQUIDITY_POOL_SHARE_CHANGES, (_share_row(*last) for last in merge.last_changes(shares)))
        return part


def _of_shares(ledger: Ledger) -> list[tuple[tuple[bytes, str], int, Change]]:
    """Every change of a pool-share trustline as (account and pool, operation id, change)."""
    return [
        ((line.account_id, line.asset.code), operation_id, change)
        for operation_id, _, _, change, line in view.changes_of(ledger, view.TRUSTLINE)
        if line.asset.type == assets.POOL_SHARE
    ]


def _pool_row(operation_id: int, change: Change) -> LiquidityPoolChange:
    pool = cast(LiquidityPoolEntry, (change.post or cast(Entry, change.pre)).data)
    asset_a, asset_b = pool.params.asset_a, pool.params.asset_b
    return LiquidityPoolChange(
        pool.pool_id.hex(),
        merge.operation_word(change),
        operation_id,
        assets.text(asset_a.code, asset_a.issuer),
        assets.text(asset_b.code, asset_b.issuer),
        pool.reserve_a,
        pool.reserve_b,
        pool.params.fee,
        pool.total_pool_shares,
        pool.pool_shares_trust_line_count,
    )


def _share_row(operation_id: int, change: Change) -> LiquidityPoolShareChange:
    line = cast(TrustLineEntry, (change.post or cast(Entry, change.pre)).data)
    return LiquidityPoolShareChange(line.account_id, line.asset.code, merge.operation_word(change), operation_id, line.balance)
