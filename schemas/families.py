"""The families of rows that parts carry: their columns, how each column is packed, and the named rows that processors emit.

A family is a table's worth of facts about one ledger. Ledger number and close time are not repeated in rows: the message
headers say them. The sink turns families into table rows; `lumenstream decode --part` shows them as JSON.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from schemas import sep41
from schemas.market_rows import (
    ClaimableBalanceChange,
    ClaimableBalanceClaimantRow,
    ClaimableBalanceEvent,
    LiquidityPoolChange,
    LiquidityPoolShareChange,
    OfferChange,
    TradeRow,
)
from schemas.state_changes import ROW_TYPES, Category

Address = bytes


class Kind(StrEnum):
    """How a column is packed in a part (see `schemas.parts`)."""

    I64 = "i64"  # little-endian 64-bit integers
    BOOL = "bool"  # a byte each
    HASH = "hash"  # 32 bytes each
    ADDRESS = "address"  # index into the part's addresses; may be None
    WORD = "word"  # index into the part's words: text that repeats; may be None
    KEY = "key"  # index into the part's keys: bytes that repeat (UUIDs, pool ids); may be None
    BIG = "big"  # integers of any size; may be None
    ANY = "any"  # bytes, text, small integers, objects; may be None


class LedgerRow(NamedTuple):
    sequence: int
    hash: bytes
    previous_hash: bytes
    protocol_version: int
    transaction_count: int
    successful_transaction_count: int
    operation_count: int


class TransactionRow(NamedTuple):
    """`hash` is the outer one for a fee bump, `inner_hash` None unless it is one. `fee_charged` in stroops."""

    to_id: int
    hash: bytes
    inner_hash: bytes | None
    fee_charged: int
    result_code: str
    is_fee_bump: bool
    envelope_xdr: str | None
    meta_xdr: str | None


class OperationRow(NamedTuple):
    id: int
    operation_type: str
    operation_xdr: bytes
    result_code: str
    successful: bool


class TransactionAccountRow(NamedTuple):
    tx_to_id: int
    account_id: Address


class OperationAccountRow(NamedTuple):
    operation_id: int
    account_id: Address


class TrustlineAssetRow(NamedTuple):
    id: bytes  # UUID
    code: str
    issuer: Address


class TrustlineBalanceChange(NamedTuple):
    """The last change of a trustline in the ledger. `operation` is ADD, UPDATE or REMOVE; `flags` are XDR flag bits; stroops."""

    account_id: Address
    asset_id: bytes  # UUID
    operation: str
    operation_id: int
    balance: int
    limit: int
    buying_liabilities: int
    selling_liabilities: int
    flags: int


class AccountBalanceChange(NamedTuple):
    """The last change of an account in the ledger, fees and refunds included; stroops. `operation`: CREATE, UPDATE, REMOVE."""

    account_id: Address
    operation: str
    sort_key: int  # phase << 37 | tx index << 13 | op index: the highest of the ledger wins
    balance: int
    minimum_balance: int
    buying_liabilities: int
    selling_liabilities: int
    num_subentries: int


class SacBalanceChange(NamedTuple):
    """The last change of a contract's holding of an asset contract's token; raw units."""

    account_id: Address
    contract_id: Address
    contract_uuid: bytes
    operation: str
    operation_id: int
    balance: int
    is_authorized: bool
    is_clawback_enabled: bool


class SacContractRow(NamedTuple):
    id: bytes  # UUID
    contract_id: Address
    code: str
    issuer: Address


_KIND_OF_COLUMN: Final[dict[str, Kind]] = {
    "to_id": Kind.I64,
    "id": Kind.I64,
    "operation_id": Kind.I64,
    "tx_to_id": Kind.I64,
    "state_change_id": Kind.I64,
    "sort_key": Kind.I64,
    "fee_charged": Kind.I64,
    "limit": Kind.I64,
    "buying_liabilities": Kind.I64,
    "selling_liabilities": Kind.I64,
    "minimum_balance": Kind.I64,
    "num_subentries": Kind.I64,
    "sequence": Kind.I64,
    "protocol_version": Kind.I64,
    "transaction_count": Kind.I64,
    "successful_transaction_count": Kind.I64,
    "operation_count": Kind.I64,
    "bytecode_len": Kind.I64,
    "is_fee_bump": Kind.BOOL,
    "successful": Kind.BOOL,
    "is_authorized": Kind.BOOL,
    "is_clawback_enabled": Kind.BOOL,
    "hash": Kind.HASH,
    "previous_hash": Kind.HASH,
    "wasm_hash": Kind.HASH,
    "account_id": Kind.ADDRESS,
    "token_id": Kind.ADDRESS,
    "contract_id": Kind.ADDRESS,
    "issuer": Kind.ADDRESS,
    "signer_account_id": Kind.ADDRESS,
    "spender_account_id": Kind.ADDRESS,
    "sponsor_account_id": Kind.ADDRESS,
    "sponsored_account_id": Kind.ADDRESS,
    "creator_account_id": Kind.ADDRESS,
    "destination_account_id": Kind.ADDRESS,
    "from_account_id": Kind.ADDRESS,
    "to_account_id": Kind.ADDRESS,
    "result_code": Kind.WORD,
    "operation_type": Kind.WORD,
    "operation": Kind.WORD,
    "event": Kind.WORD,
    "protocol_id": Kind.WORD,
    "state_change_reason": Kind.WORD,
    "code": Kind.WORD,
    "liquidity_pool_id": Kind.WORD,
    "claimable_balance_id": Kind.WORD,
    "asset_id": Kind.KEY,
    "contract_uuid": Kind.KEY,
    "amount": Kind.BIG,
    "balance": Kind.BIG,
    "trustline_limit_old": Kind.BIG,
    "trustline_limit_new": Kind.BIG,
    **dict.fromkeys(("event_id", "trade_id", "offer_id", "price_n", "price_d", "sold_amount", "bought_amount"), Kind.I64),
    **dict.fromkeys(("reserve_a", "reserve_b", "fee_bp", "total_shares", "trustline_count", "shares"), Kind.I64),
    **dict.fromkeys(("seller_account_id", "taker_account_id", "maker_account_id"), Kind.ADDRESS),
    **dict.fromkeys(("pool_id", "balance_id", "kind", "asset", "asset_a", "asset_b"), Kind.WORD),
    **dict.fromkeys(("selling", "buying", "sold_asset", "bought_asset"), Kind.WORD),
}


class Family(NamedTuple):
    name: str
    row: type[tuple[object, ...]]
    columns: tuple[tuple[str, Kind], ...]


def _family(name: str, row: type[tuple[object, ...]], **kinds: Kind) -> Family:
    fields: tuple[str, ...] = getattr(row, "_fields")  # noqa: B009 (NamedTuple's own attribute, unknown to `tuple`)
    return Family(name, row, tuple((field, kinds.get(field) or _KIND_OF_COLUMN.get(field, Kind.ANY)) for field in fields))


LEDGERS: Final = _family("ledgers", LedgerRow)
TRANSACTIONS: Final = _family("transactions", TransactionRow)
OPERATIONS: Final = _family("operations", OperationRow)
TRANSACTIONS_ACCOUNTS: Final = _family("transactions_accounts", TransactionAccountRow)
OPERATIONS_ACCOUNTS: Final = _family("operations_accounts", OperationAccountRow)
TRUSTLINE_ASSETS: Final = _family("trustline_assets", TrustlineAssetRow, id=Kind.KEY)
TRUSTLINE_CHANGES: Final = _family("trustline_changes", TrustlineBalanceChange)
ACCOUNT_CHANGES: Final = _family("account_changes", AccountBalanceChange)
SAC_BALANCE_CHANGES: Final = _family("sac_balance_changes", SacBalanceChange)
SAC_CONTRACTS: Final = _family("sac_contracts", SacContractRow, id=Kind.KEY)
LIQUIDITY_POOL_CHANGES: Final = _family("liquidity_pool_changes", LiquidityPoolChange)
LIQUIDITY_POOL_SHARE_CHANGES: Final = _family("liquidity_pool_share_changes", LiquidityPoolShareChange)
CLAIMABLE_BALANCE_CHANGES: Final = _family("claimable_balance_changes", ClaimableBalanceChange, amount=Kind.I64, flags=Kind.I64)
CLAIMABLE_BALANCE_CLAIMANTS: Final = _family("claimable_balance_claimants", ClaimableBalanceClaimantRow)
CLAIMABLE_BALANCE_EVENTS: Final = _family("claimable_balance_events", ClaimableBalanceEvent, amount=Kind.I64)
OFFER_CHANGES: Final = _family("offer_changes", OfferChange, amount=Kind.I64, flags=Kind.I64)
TRADES: Final = _family("trades", TradeRow, offer_id=Kind.BIG)
PROTOCOL_WASMS: Final = _family("protocol_wasms", sep41.WasmRow)
PROTOCOL_CONTRACTS: Final = _family("protocol_contracts", sep41.ContractRow)
SEP41_CANDIDATE_EVENTS: Final = _family("sep41_candidate_events", sep41.CandidateEvent)

STATE_CHANGES_PREFIX: Final = "state_changes."
STATE_CHANGES: Final[dict[Category, Family]] = {
    category: _family(STATE_CHANGES_PREFIX + category.value.lower(), row) for category, row in ROW_TYPES.items()
}

FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        LEDGERS,
        TRANSACTIONS,
        OPERATIONS,
        TRANSACTIONS_ACCOUNTS,
        OPERATIONS_ACCOUNTS,
        TRUSTLINE_ASSETS,
        TRUSTLINE_CHANGES,
        ACCOUNT_CHANGES,
        SAC_BALANCE_CHANGES,
        SAC_CONTRACTS,
        *STATE_CHANGES.values(),
        LIQUIDITY_POOL_CHANGES,
        LIQUIDITY_POOL_SHARE_CHANGES,
        CLAIMABLE_BALANCE_CHANGES,
        CLAIMABLE_BALANCE_CLAIMANTS,
        CLAIMABLE_BALANCE_EVENTS,
        OFFER_CHANGES,
        TRADES,
        PROTOCOL_WASMS,
        PROTOCOL_CONTRACTS,
        SEP41_CANDIDATE_EVENTS,
    )
}
