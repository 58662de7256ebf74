"""What every liquidity pool holds after the ledger, and who holds how many of its shares.

A constant product pool owns reserves of two assets. Path payments trade with it, deposits and withdrawals change its shares,
which are kept in trustlines: their balance is the number of shares. Spec/processors.md 10.4; tables `liquidity_pools` and
`liquidity_pool_balances`.
"""

from __future__ import annotations

from typing import Final, cast

from lumenstream.xdr.rows import Change, Entry, Ledger, LiquidityPoolEntry, TrustLineEntry
from processors import merge, view
from schemas import assets, toid
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
        pools: list[tuple[bytes, int, Change]] = []
        shares: list[tuple[tuple[bytes, str], int, Change]] = []
        for tx in ledger.transactions:
            to_id = toid.transaction_id(ledger.header.sequence, tx.order)
            for operation_id, op in view.with_ids(to_id, tx):
                for change in op.changes:
                    _, entry_type, pre, post, _ = change
                    if entry_type == view.TRUSTLINE:
                        line = cast(TrustLineEntry, (post or cast(Entry, pre)).data)
                        if line.asset.type == assets.POOL_SHARE:
                            shares.append(((line.account_id, line.asset.code), operation_id, change))
                    elif entry_type == view.LIQUIDITY_POOL:
                        pools.append((_pool(change).pool_id, operation_id, change))
        part = Part()
        part.add(LIQUIDITY_POOL_CHANGES, (_pool_row(*last) for last in merge.last_changes(pools)))
        part.add(LIQUIDITY_POOL_SHARE_CHANGES, (_share_row(*last) for last in merge.last_changes(shares)))
        return part


def _pool(change: Change) -> LiquidityPoolEntry:
    return cast(LiquidityPoolEntry, (change.post or cast(Entry, change.pre)).data)


def _pool_row(operation_id: int, change: Change) -> LiquidityPoolChange:
    pool = _pool(change)
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
