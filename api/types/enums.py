"""The enums of the schema (spec/api.md 1.3). Category and Reason are those of `schemas`, which this module names for GraphQL."""

from __future__ import annotations

from enum import Enum

import strawberry

from schemas.state_changes import Category, Reason

__all__ = ["Category", "ClaimableBalanceEventKind", "OperationType", "Reason", "TokenType", "TradeKind"]

STATE_CHANGE_ENUMS = (
    strawberry.enum(Category, name="StateChangeCategory", description="What kind of thing changed."),
    strawberry.enum(Reason, name="StateChangeReason", description="What happened to it."),
)


@strawberry.enum(description="The operations of the Stellar protocol.")
class OperationType(Enum):
    CREATE_ACCOUNT = "CREATE_ACCOUNT"
    PAYMENT = "PAYMENT"
    PATH_PAYMENT_STRICT_RECEIVE = "PATH_PAYMENT_STRICT_RECEIVE"
    PATH_PAYMENT_STRICT_SEND = "PATH_PAYMENT_STRICT_SEND"
    MANAGE_SELL_OFFER = "MANAGE_SELL_OFFER"
    CREATE_PASSIVE_SELL_OFFER = "CREATE_PASSIVE_SELL_OFFER"
    MANAGE_BUY_OFFER = "MANAGE_BUY_OFFER"
    SET_OPTIONS = "SET_OPTIONS"
    CHANGE_TRUST = "CHANGE_TRUST"
    ALLOW_TRUST = "ALLOW_TRUST"
    ACCOUNT_MERGE = "ACCOUNT_MERGE"
    INFLATION = "INFLATION"
    MANAGE_DATA = "MANAGE_DATA"
    BUMP_SEQUENCE = "BUMP_SEQUENCE"
    CREATE_CLAIMABLE_BALANCE = "CREATE_CLAIMABLE_BALANCE"
    CLAIM_CLAIMABLE_BALANCE = "CLAIM_CLAIMABLE_BALANCE"
    BEGIN_SPONSORING_FUTURE_RESERVES = "BEGIN_SPONSORING_FUTURE_RESERVES"
    END_SPONSORING_FUTURE_RESERVES = "END_SPONSORING_FUTURE_RESERVES"
    REVOKE_SPONSORSHIP = "REVOKE_SPONSORSHIP"
    CLAWBACK = "CLAWBACK"
    CLAWBACK_CLAIMABLE_BALANCE = "CLAWBACK_CLAIMABLE_BALANCE"
    SET_TRUST_LINE_FLAGS = "SET_TRUST_LINE_FLAGS"
    LIQUIDITY_POOL_DEPOSIT = "LIQUIDITY_POOL_DEPOSIT"
    LIQUIDITY_POOL_WITHDRAW = "LIQUIDITY_POOL_WITHDRAW"
    INVOKE_HOST_FUNCTION = "INVOKE_HOST_FUNCTION"
    EXTEND_FOOTPRINT_TTL = "EXTEND_FOOTPRINT_TTL"
    RESTORE_FOOTPRINT = "RESTORE_FOOTPRINT"


@strawberry.enum(description="How a token came to be.")
class TokenType(Enum):
    NATIVE = "NATIVE"
    CLASSIC = "CLASSIC"
    SAC = "SAC"
    SEP41 = "SEP41"
    LIQUIDITY_POOL = "LIQUIDITY_POOL"


@strawberry.enum(description="Who stood on the other side of a trade: an offer or a pool.")
class TradeKind(Enum):
    ORDERBOOK = "ORDERBOOK"
    LIQUIDITY_POOL = "LIQUIDITY_POOL"


@strawberry.enum(description="What became of a claimable balance.")
class ClaimableBalanceEventKind(Enum):
    CREATED = "CREATED"
    CLAIMED = "CLAIMED"
    CLAWED_BACK = "CLAWED_BACK"
