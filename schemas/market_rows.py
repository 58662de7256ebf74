"""Rows of the families about liquidity pools, claimable balances, offers and trades: what the processors beyond the nine emit.

Assets are text: `native` or CODE:ISSUER. Amounts are stroops. `operation` of a change is ADD, UPDATE or REMOVE; a removed entry
shows its last state. `operation_id` 0: a network upgrade made the change, not an operation.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

Address = bytes


class ClaimableBalanceEventKind(StrEnum):
    CREATED = "CREATED"
    CLAIMED = "CLAIMED"
    CLAWED_BACK = "CLAWED_BACK"


class TradeKind(StrEnum):
    ORDERBOOK = "ORDERBOOK"
    LIQUIDITY_POOL = "LIQUIDITY_POOL"


class LiquidityPoolChange(NamedTuple):
    """The last change of a constant product pool in the ledger. `pool_id` in hex, fee in basis points."""

    pool_id: str
    operation: str
    operation_id: int
    asset_a: str
    asset_b: str
    reserve_a: int
    reserve_b: int
    fee_bp: int
    total_shares: int
    trustline_count: int


class LiquidityPoolShareChange(NamedTuple):
    """The last change of an account's shares in a pool."""

    account_id: Address
    pool_id: str
    operation: str
    operation_id: int
    shares: int


class ClaimableBalanceChange(NamedTuple):
    """The last change of a claimable balance in the ledger. `creator_account_id` is None unless this ledger created it."""

    balance_id: str  # hex of the XDR union
    operation: str
    operation_id: int
    asset: str
    amount: int
    flags: int  # 1: clawback enabled
    sponsor_account_id: Address | None
    creator_account_id: Address | None


class ClaimableBalanceClaimantRow(NamedTuple):
    """Who may claim a balance that the ledger created or changed and did not remove, and when.

    `predicate` is one of {"unconditional": true}, {"before": t} (earlier than t), {"not_before": t} (t or later), {"not": p},
    {"and": [p, q]}, {"or": [p, q]}, {"before_seconds": n} (after creation; the network makes these absolute). Unix seconds.
    """

    balance_id: str
    account_id: Address
    predicate: dict[str, Any]


class ClaimableBalanceEvent(NamedTuple):
    """A claimable balance came or went. `account_id`: who created or claimed it, or the issuer who took it back."""

    to_id: int
    operation_id: int
    event_id: int  # ordinal in the operation, from 1
    balance_id: str
    kind: str
    account_id: Address
    asset: str
    amount: int


class OfferChange(NamedTuple):
    """The last change of an offer in the ledger. Price: `price_n` / `price_d` of `buying` for one of `selling`."""

    offer_id: int
    operation: str
    operation_id: int
    seller_account_id: Address
    selling: str
    buying: str
    amount: int
    price_n: int
    price_d: int
    flags: int  # 1: passive
    sponsor_account_id: Address | None


class TradeRow(NamedTuple):
    """One exchange between the operation's source (taker) and an offer's owner or a pool (maker).

    `sold_*` is what the maker gave, `bought_*` what it got, as in the protocol's claim atoms. Price: bought / sold, reduced.
    """

    to_id: int
    operation_id: int
    trade_id: int  # ordinal in the operation, from 1
    kind: str
    taker_account_id: Address
    maker_account_id: Address | None
    liquidity_pool_id: str | None
    offer_id: int | None
    sold_asset: str
    sold_amount: int
    bought_asset: str
    bought_amount: int
    price_n: int
    price_d: int  # 0 where rounding left nothing to sell
